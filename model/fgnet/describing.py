"""What a model costs: parameters, and floating-point operations per output voxel in every mode.

Everything is counted on torch's meta device, which takes no memory and computes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from fgnet.config import PRESETS, NetworkConfig, preset
from fgnet.errors import ModelError, did_you_mean
from fgnet.geometry import Geometry, Triple
from fgnet.network import FGNet
from fgnet.weights import MODES, TOYS, in_mode, locate, names, read_geometry, read_network

PAPER_TILE: Triple = (16, 256, 256)
NANO_TILE: Triple = (96, 96, 96)
SECTIONS_TILE: Triple = (16, 160, 160)


class LinspaceOnCpu(TorchFunctionMode):
    """Makes linspace on the CPU: sam2's Hiera reads its numbers while it is built, and meta tensors hold none."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def shape_only(config: NetworkConfig) -> FGNet:
    """The network on the meta device, in evaluation mode: shapes of its weights without memory for them."""
    with torch.device("meta"), LinspaceOnCpu():
        return FGNet(config).eval()


def default_geometry(config: NetworkConfig) -> Geometry:
    """The geometry of a preset without trained weights: the paper's tile with half of it as stride, or that of nano."""
    if config.name == "nano":
        return Geometry(NANO_TILE, (72, 72, 72), (8, 8, 8), (10.0, 10.0, 10.0), architecture="nano")
    if config.name == "nano-sections":
        return Geometry(SECTIONS_TILE, (12, 128, 128), (2, 16, 16), (40.0, 8.0, 8.0), architecture=config.name)
    return Geometry(PAPER_TILE, (8, 128, 128), (0, 0, 0), (40.0, 4.0, 4.0), architecture=config.name)


def _flop(function: Any, *arguments: Any) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(*arguments)
    return int(counter.get_total_flops())


def flop_per_output_voxel(network: FGNet, geometry: Geometry, mode: str) -> float:
    """Floating-point operations per output voxel far from a volume's borders; a multiply-add counts two.

    `reference` encodes every section in every tile; the other modes encode a section once per xy tile, however tiles
    overlap in z.

    Args:
        network: on the meta device, see `shape_only`.
        geometry: of the mode, see `fgnet.weights.in_mode`.
        mode: one of `fgnet.weights.MODES`.
    """
    depth = geometry.tile[0]
    volume = torch.zeros((1, 1, *geometry.tile), device="meta")
    guides: list[Tensor] = network.guides(volume)
    encode, refine = _flop(network.guides, volume), _flop(network.refine, volume, guides)
    stride = geometry.stride
    tiles = 1 / (stride[0] * stride[1] * stride[2])
    if mode == "reference":
        return (encode + refine + _flop(network.coarse_logits, guides, volume.shape[2:])) * tiles
    return encode / depth / (stride[1] * stride[2]) + refine * tiles


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def resolve(name: str) -> tuple[NetworkConfig, Geometry]:
    """Architecture and geometry of a preset, a shipped name or a file.

    Raises:
        ModelError: nothing of that name, or a model without a network.
    """
    if name in PRESETS:
        config = preset(name)
        return config, default_geometry(config)
    shipped = [n for n in names() if n not in TOYS]
    if name not in shipped and not Path(name).is_file():
        known = (*PRESETS, *shipped)
        remedy = did_you_mean(name, known, "correct the name or the path")
        raise ModelError("model", name, f"one of {', '.join(known)}, or a file", remedy)
    return read_network(locate(name)), read_geometry(name)


def describe(name: str) -> dict[str, Any]:
    """What a model costs, see `describe_network`.

    Args:
        name: a preset, a shipped name or a `.safetensors` file, of which the header is read.

    Raises:
        ModelError: nothing of that name, or a model without a network.
    """
    return describe_network(name, *resolve(name))


def describe_network(name: str, config: NetworkConfig, geometry: Geometry) -> dict[str, Any]:
    """Parameters, tile, context and cost of an architecture at a geometry.

    Args:
        name: repeated in the result.
        config: the architecture.
        geometry: of the mode `exact`.

    Returns:
        Plain numbers, strings, lists and dicts; shapes zyx in voxels, `voxel_size` zyx in nm. `context`: the
        distance of the farthest raw voxel on either side that a written voxel can depend on, since every tile that
        covers it is read whole. `receptive_shape`: the raw that one output can depend on: the whole tile, because the
        norms couple its voxels.
    """
    network = shape_only(config.without_training())
    return {
        "name": name,
        "architecture": config.name,
        "guidance": config.guidance,
        "parameters": _parameters(network),
        "encoder_parameters": _parameters(network.encoder),
        "tile": list(geometry.tile),
        "context": [t - m - 1 for t, m in zip(geometry.tile, geometry.margin, strict=True)],
        "receptive_shape": list(geometry.tile),
        "voxel_size": list(geometry.voxel_size),
        "neighbourhood": [list(n) for n in geometry.neighbourhood],
        "modes": {mode: _cost(network, in_mode(geometry, mode), mode) for mode in MODES},
    }


def _cost(network: FGNet, geometry: Geometry, mode: str) -> dict[str, Any]:
    """What one mode costs, and how it places tiles."""
    return {
        "flop_per_output_voxel": flop_per_output_voxel(network, geometry, mode),
        "tile": list(geometry.tile),
        "stride": list(geometry.stride),
        "margin": list(geometry.margin),
    }
