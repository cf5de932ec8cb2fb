"""What a model costs: parameters, and floating-point operations an output voxel in every mode.

Everything is counted on torch's meta device: no memory is taken and nothing is computed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from fgnet.config import PRESETS, NetworkConfig, preset
from fgnet.errors import ModelError
from fgnet.geometry import Geometry, Triple
from fgnet.network import FGNet
from fgnet.weights import MODES, TOYS, in_mode, locate, names, read_geometry, read_network

PAPER_TILE: Triple = (16, 256, 256)
NANO_TILE: Triple = (96, 96, 96)


class LinspaceOnCpu(TorchFunctionMode):
    """sam2's Hiera reads numbers out of a linspace while it is built, which meta tensors do not have."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def shape_only(config: NetworkConfig) -> FGNet:
    """The network without memory for its weights."""
    with torch.device("meta"), LinspaceOnCpu():
        return FGNet(config).eval()


def default_geometry(config: NetworkConfig) -> Geometry:
    """The geometry of a preset without trained weights: the paper's for its tile, three quarters of it for nano."""
    if config.name == "nano":
        return Geometry(NANO_TILE, (72, 72, 72), (8, 8, 8), (10.0, 10.0, 10.0), architecture="nano")
    return Geometry(PAPER_TILE, (8, 128, 128), (0, 0, 0), (40.0, 4.0, 4.0), architecture=config.name)


def _flop(function: Any, *arguments: Any) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(*arguments)
    return int(counter.get_total_flops())


def flop_per_output_voxel(network: FGNet, geometry: Geometry, mode: str) -> float:
    """Operations (a multiply-add counts two) an output voxel, far from a volume's borders.

    `reference` encodes every section anew in every tile; the other modes once for each xy tile, whatever the overlap
    in z.
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
    """Architecture and geometry of a preset, a shipped name or a file."""
    if name in PRESETS:
        config = preset(name)
        return config, default_geometry(config)
    shipped = [n for n in names() if n not in TOYS]
    if name not in shipped and not Path(name).is_file():
        expected = f"one of {', '.join((*PRESETS, *shipped))}, or a file"
        raise ModelError("model", name, expected, "correct the name or the path")
    return read_network(locate(name)), read_geometry(name)


def describe(name: str) -> dict[str, Any]:
    """See `describe_network`; `tiny`, `small`, `base_plus`, `large`, `nano`, a shipped name or a .safetensors file."""
    return describe_network(name, *resolve(name))


def describe_network(name: str, config: NetworkConfig, geometry: Geometry) -> dict[str, Any]:
    """Parameters, tile, context and cost of an architecture at a geometry; `name` is only repeated.

    Returns plain numbers, strings, lists and dicts. `context`: the farthest raw voxel on either side that a written
    voxel can depend on, since every tile that covers it is read whole.
    `receptive_shape`: the raw that one output can depend on, which is the whole tile, as the norms couple it.
    """
    inference = dataclasses.replace(config, auxiliary=())
    network = shape_only(inference)
    modes = {}
    for mode in MODES:
        shaped = in_mode(geometry, mode)
        modes[mode] = {
            "flop_per_output_voxel": flop_per_output_voxel(network, shaped, mode),
            "tile": list(shaped.tile),
            "stride": list(shaped.stride),
            "margin": list(shaped.margin),
        }
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
        "modes": modes,
    }
