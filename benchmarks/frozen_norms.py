"""Give a model constant statistics in its norms, and measure what that does to its speed.

    python benchmarks/frozen_norms.py nano-fib25 --data SAMPLE --to frozen.safetensors
    python benchmarks/accuracy.py nano-fib25 frozen.safetensors --data SAMPLE --out OUT

The statistics are means over tiles at random places of sections 0 to 139 of `fib25`, which `nano-fib25` was trained on
(`fgnet.frozen`); nothing is trained. The first table says how much statistics differ from tile to tile: the deviation
of a group's mean, in deviations of its values, and that of its deviation as a share of it. The second one has seconds
per tile of the refined branch and the guides, of both models in turns, the median of the turns. accuracy.py scores the
weights that are written.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import fgnet
import numpy as np
import torch
import zarr
from fgnet import normalise
from fgnet.cpu_kernels import KernelSteps
from fgnet.frozen import frozen
from fgnet.network import FGNet
from fgnet.predictor import NetworkPredictor, load_network
from fgnet.training.checkpoints import export
from fgnet.weights import locate, read_recommended, read_trained_on
from throughput import clock
from torch import Tensor, nn

from fgnet_pipeline.stages.tile_network import IMPLEMENTATION, arithmetic_of

#: Sections of `fib25` that the shipped weights were trained on.
TRAINED = 140


def tiles(data: Path, geometry: fgnet.Geometry, count: int) -> Iterator[Tensor]:
    """Normalised tiles (1, 1, z, y, x) at random places."""
    raw = zarr.open_array(data / "fib25.zarr" / "raw", mode="r")[:TRAINED]
    values, rng = normalise.apply(raw, *normalise.constants(raw, geometry.normalisation)), np.random.default_rng(0)
    for _ in range(count):
        begin = [int(rng.integers(0, n - t + 1)) for n, t in zip(values.shape, geometry.tile, strict=True)]
        part = values[tuple(slice(b, b + t) for b, t in zip(begin, geometry.tile, strict=True))]
        yield torch.from_numpy(np.ascontiguousarray(part))[None, None]


@torch.no_grad()
def spread(network: FGNet, given: list[Tensor]) -> None:
    """Print how statistics of the norms differ from tile to tile, the least and the greatest over norms."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def noted(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(norm, nn.GroupNorm)
            groups = inputs[0][0].double().reshape(norm.num_groups, -1)
            found.setdefault(name, []).append((groups.mean(1), groups.std(1)))

        return noted

    norms = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.GroupNorm) and not n.startswith("coarse")]
    hooks = [norm.register_forward_pre_hook(hook(name)) for name, norm in norms]
    for tile in given:
        network.refine(tile, network.guides(tile))
    for handle in hooks:
        handle.remove()
    print("| norms of | deviation of means | deviation of deviations |\n|---|---|---|")
    for part in ("fine.stem", "fine.down", "fine.guide", "fine.blocks", "decoder"):
        rows = []
        for name in (n for n in found if n.startswith(part)):
            means, deviations = (torch.stack(values) for values in zip(*found[name], strict=True))
            rows.append([float(v) for v in ((means.std(0) / deviations.mean(0)).mean(),
                                            (deviations.std(0) / deviations.mean(0)).mean())])  # fmt: skip
        low, high = np.min(rows, axis=0), np.max(rows, axis=0)
        print(f"| `{part}` | {low[0]:.1%} to {high[0]:.1%} | {low[1]:.1%} to {high[1]:.1%} |")


def seconds(networks: dict[str, FGNet], geometry: fgnet.Geometry, mode: str, device: str, turns: int) -> None:
    """Print seconds per tile as stage predict computes it, of all networks in turns."""
    steps = KernelSteps(arithmetic_of(IMPLEMENTATION)["kernels"])
    predictors = {
        name: NetworkPredictor(network.to(device), geometry, mode, device, 1, steps)
        for name, network in networks.items()
    }
    tile, taken = torch.randn(geometry.tile, device=device), {name: [] for name in networks}  # type: ignore[var-annotated]
    for turn in range(turns + 1):
        for name, predictor in predictors.items():
            begin = clock(device)
            predictor.on_device(tile, [(turn, z) for z in range(geometry.tile[0])])
            taken[name].append(clock(device) - begin)
    print("| model | seconds per tile |\n|---|---|")
    for name, values in taken.items():
        print(f"| {name} | {median(values[1:]):.3f} |")  # the first one compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a shipped name or exported weights")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sample")
    parser.add_argument("--to", type=Path, required=True, help="file for the new weights")
    parser.add_argument("--tiles", type=int, default=24, help="whose statistics are kept")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, geometry = load_network(locate(options.model)).eval(), fgnet.read_geometry(options.model)
    given = list(tiles(options.data, geometry, options.tiles))
    spread(network, given)
    constant = frozen(network, given)
    export(
        options.to,
        constant,
        constant.state_dict(),
        geometry,
        recommended=read_recommended(options.model),
        trained_on=read_trained_on(options.model),
    )
    seconds(
        {options.model: network, "with constant statistics": constant}, geometry, "exact", options.device, options.turns
    )


if __name__ == "__main__":
    main()
