"""Measure where the refined branch of the network spends its time, operation by operation.

    python benchmarks/fge_profile.py --model tiny            # the paper's fine-grained encoder, decoder and head
    python benchmarks/fge_profile.py --model nano --precision bfloat16
    python benchmarks/fge_profile.py --alternatives          # single operations, each in several forms

Weights and guides are random, and the section encoder does not run. Times are milliseconds of processor time of one
thread. With --alternatives each row is one form of an operation, so that forms of one operation can be compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from fgnet.blocks import Conv3d
from fgnet.config import PRESETS, preset
from fgnet.describing import default_geometry
from fgnet.network import FGNet, channels_last
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

LAST = torch.channels_last_3d


def milliseconds(function: Callable[[], object], rounds: int = 3) -> float:
    """Processor time of the fastest of several calls."""
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        function()
        found.append(time.process_time() - begin)
    return 1e3 * min(found)


def inputs(name: str, dtype: torch.dtype) -> tuple[FGNet, Tensor, list[Tensor]]:
    """A network with random weights, one tile, and guides of its shapes."""
    config = preset(name)
    tile = default_geometry(config).tile
    network = channels_last(FGNet(config)).eval().to(dtype)
    x = torch.randn(1, 1, *tile, dtype=dtype).contiguous(memory_format=LAST)
    shapes = ((tile[0], tile[1] // s, tile[2] // s) for s in (4, 8, 16))
    guides = [torch.randn(1, config.guide_channels, *s, dtype=dtype).contiguous(memory_format=LAST) for s in shapes]
    return network, x, guides


def profile_branch(name: str, dtype: torch.dtype, rows: int) -> None:
    """The branch as it is and with torch's own choice of convolution, and a table of its operations."""
    network, x, guides = inputs(name, dtype)
    ours, torchs = Conv3d.forward, nn.Conv3d.forward
    found: dict[str, list[float]] = {"as it is": [], "torch's choice": []}
    for _ in range(2):
        for label, forward in zip(found, (ours, torchs), strict=True):
            Conv3d.forward = forward  # type: ignore[method-assign,assignment]
            found[label].append(milliseconds(lambda: network.refine(x, guides), 1))
    Conv3d.forward = ours  # type: ignore[method-assign]
    for label, values in found.items():
        print(f"{name}, {dtype}: refined branch of one tile, {label}: {min(values):.0f} ms")
    with profile(activities=[ProfilerActivity.CPU]) as record:
        network.refine(x, guides)
    print(record.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows, max_name_column_width=36))


def depthwise_by_sections(x: Tensor, weight: Tensor) -> Tensor:
    """A depthwise 3D convolution as a sum of 2D ones, each shifted by its place in z."""
    batch, channels, depth, *_ = x.shape
    flat = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    middle = weight.shape[2] // 2
    padding = (weight.shape[3] // 2, weight.shape[4] // 2)

    def plane(k: int) -> Tensor:
        return F.conv2d(flat, weight[:, :, k], padding=padding, groups=channels).unflatten(0, (batch, depth))

    total = plane(middle)
    for k in range(weight.shape[2]):
        shift = k - middle
        if shift < 0:
            total[:, -shift:] += plane(k)[:, :shift]
        elif shift > 0:
            total[:, :-shift] += plane(k)[:, shift:]
    return total.transpose(1, 2)


def forms(channels: int, shape: tuple[int, int, int]) -> dict[str, Callable[[], object]]:
    """Depthwise convolution, padding, norm and 1x1x1 convolution of one size, each in the forms tried."""
    plain = torch.randn(1, channels, *shape)
    last = plain.contiguous(memory_format=LAST)
    depthwise = torch.randn(channels, 1, 3, 7, 7)
    kernel = torch.randn(channels, channels, 3, 3, 3).contiguous(memory_format=LAST)
    norm = nn.GroupNorm(8, channels)
    conv = Conv3d(channels, 16, 1, bias=False)
    narrow = conv.weight.data = conv.weight.data.contiguous(memory_format=LAST)
    return {
        "depthwise 3x7x7, contiguous": lambda: F.conv3d(plain, depthwise, padding=(1, 3, 3), groups=channels),
        "depthwise 3x7x7, channels last": lambda: F.conv3d(last, depthwise, padding=(1, 3, 3), groups=channels),
        "depthwise 3x7x7, sum of 2D": lambda: depthwise_by_sections(last, depthwise),
        "3x3x3, zeros": lambda: F.conv3d(last, kernel, padding=1),
        "3x3x3, replicated edge": lambda: F.conv3d(F.pad(last, (1,) * 6, mode="replicate"), kernel),
        "GroupNorm, contiguous": lambda: norm(plain),
        "GroupNorm, channels last": lambda: norm(last),
        "1x1x1 to 16, torch's choice": lambda: F.conv3d(last, narrow),
        "1x1x1 to 16, oneDNN": lambda: conv(last),
    }


def alternatives() -> None:
    """Every form at two of the paper's sizes."""
    for channels, shape in ((16, (16, 256, 256)), (64, (16, 128, 128))):
        for label, function in forms(channels, shape).items():
            spent = milliseconds(function)
            print(f"{channels} channels, {'x'.join(map(str, shape))}: {label:32s} {spent:8.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=PRESETS, default="tiny")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--alternatives", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with torch.inference_mode():
        if options.alternatives:
            alternatives()
        else:
            profile_branch(options.model, getattr(torch, options.precision), options.rows)


if __name__ == "__main__":
    main()
