"""Networks: train, model describe."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgnet_pipeline.commands.options import ConfigFile, Json, Overrides, say

if TYPE_CHECKING:
    from fgnet.training.loop import Step


def train_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Threads (machine.threads).")] = None,
    preview: Annotated[Path | None, typer.Option(help="Only draw augmented training patches into this PNG.")] = None,
) -> None:
    """Train a model; an interrupted training resumes."""
    from fgnet_pipeline.training.train import TrainConfig, train, write_preview

    threads = [] if workers is None else [f"machine.threads={workers}"]
    resolved = TrainConfig.load(config, [*(set_ or []), *threads])
    if preview is not None:
        write_preview(resolved, preview)
        return
    train(resolved, progress=_progress_line(resolved.optimise.iterations))


def _progress_line(total: int) -> Callable[[Step], None]:
    """Says iteration, loss, learning rate, seconds and the time left, from a running mean of the seconds."""
    mean = 0.0

    def tell(step: Step) -> None:
        nonlocal mean
        mean = 0.95 * mean + 0.05 * step.seconds if mean else step.seconds
        left = timedelta(seconds=round(mean * (total - step.iteration - 1)))
        figures = f"loss {step.loss:.4f}  rate {step.rate:.2e}  {step.seconds:.2f} s"
        say(f"iteration {step.iteration + 1} of {total}  {figures}  left {left}")

    return tell


def describe_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="tiny, small, base_plus, large, nano, a shipped name, a .safetensors file or a TOML configuration.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Parameters, operations an output voxel in every mode, tile, context and receptive shape of a model."""
    from fgnet_pipeline.training.describe_model import describe_model

    found = describe_model(name)
    typer.echo(json.dumps(found) if as_json else _table(found))


def _table(found: dict[str, Any]) -> str:
    size = "x".join(f"{v:g}" for v in found["voxel_size"])
    lines = [
        f"{found['name']}: {found['architecture']}, guidance {found['guidance']}, voxels of {size} nm",
        f"parameters       {found['parameters'] / 1e6:.2f} M",
        f"of the encoder   {found['encoder_parameters'] / 1e6:.2f} M",
    ]
    lines += [f"{key.replace('_', ' '):16s} {found[key]}" for key in ("tile", "context", "receptive_shape")]
    for mode, values in found["modes"].items():
        flop = f"{values['flop_per_output_voxel'] / 1e6:.3f} MFLOP/voxel"
        lines.append(f"mode {mode:11s} {flop}, tile {values['tile']}, stride {values['stride']}")
    return "\n".join(lines)
