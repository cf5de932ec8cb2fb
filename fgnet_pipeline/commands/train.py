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

    from fgnet_pipeline.training.config import TrainConfig


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
    resolved = with_samples(TrainConfig.load(config, [*(set_ or []), *threads]))
    if preview is not None:
        from fgnet_pipeline.training.preview import write_preview

        write_preview(resolved, preview)
        return
    train(resolved, _progress_line(resolved.optimise.iterations), say, accepted=yes)


def with_samples(config: TrainConfig, folder: Path = Path("demo")) -> TrainConfig:
    """A configuration of a training whose volumes are paths: the demo's sample is found or fetched if it is named.

    Args:
        config: volumes may be named as `sample:fib25/raw` and `sample:fib25/labels`.
        folder: takes what is fetched; that of the demo, so that it is fetched once.

    Raises:
        InputError: another sample or array, or the sample cannot be had.
    """
    from fgnet_pipeline.core.errors import InputError
    from fgnet_pipeline.datasets.demo_sample import find_sample
    from fgnet_pipeline.training.config import SAMPLE

    known = {f"{SAMPLE}fib25/{name}": name for name in ("raw", "labels")}
    tables = config.model_dump(mode="json")
    found = None
    for kind in ("volumes", "validation"):
        for i, volume in enumerate(tables["data"][kind]):
            for key in ("raw", "labels"):
                if not volume[key].startswith(SAMPLE):
                    continue
                if volume[key] not in known:
                    field = f"data.{kind}.{i}.{key}"
                    raise InputError(field, volume[key], f"one of {', '.join(known)}", "choose one, or give a path")
                found = found or find_sample(folder, Path.cwd(), phantom_is_fine=False)
                volume[key] = str((found.path / known[volume[key]]).resolve())
    if found is None:
        return config
    say(found.sentence)
    return type(config).validated(tables)


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
