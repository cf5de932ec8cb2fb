"""`fgnet train`: train weights on labelled volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_pipeline.commands.options import ConfigFile, Overrides, say
from fgnet_pipeline.core.durations import duration

if TYPE_CHECKING:
    from fgnet.training.loop import Step


def train_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Number of threads (machine.threads).")
    ] = None,
    preview: Annotated[Path | None, typer.Option(help="Only draw augmented training patches into this PNG.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Train although the data look wrong: what is refused becomes a warning.")
    ] = False,
) -> None:
    """Train a model. If a training was interrupted, the same command resumes it."""
    from fgnet_pipeline.core.user_paths import check_file_to_write
    from fgnet_pipeline.training.config import TrainConfig
    from fgnet_pipeline.training.train import train

    if preview is not None:
        check_file_to_write(preview, "--preview")
    threads = [] if workers is None else [f"machine.threads={workers}"]
    resolved = TrainConfig.load(config, [*(set_ or []), *threads])
    if preview is not None:
        from fgnet_pipeline.training.preview import write_preview

        write_preview(resolved, preview)
        return
    train(resolved, _progress_line(resolved.optimise.iterations), say, accepted=yes)


def _progress_line(total: int) -> Callable[[Step], None]:
    """Make a function that prints a line per step: iteration, loss, learning rate, seconds and the time left.

    The time left follows from a running mean of the seconds per step.

    Args:
        total: number of iterations.
    """
    mean = 0.0

    def tell(step: Step) -> None:
        nonlocal mean
        mean = 0.95 * mean + 0.05 * step.seconds if mean else step.seconds
        left = duration(mean * (total - step.iteration - 1))
        figures = f"loss {step.loss:.4f}  rate {step.rate:.2e}  {step.seconds:.2f} s"
        say(f"iteration {step.iteration + 1} of {total}  {figures}  {left} left")

    return tell
