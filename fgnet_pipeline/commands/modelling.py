"""Networks: train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigFile, Overrides, say


def train_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Threads (machine.threads).")] = None,
    preview: Annotated[Path | None, typer.Option(help="Only draw augmented training patches into this PNG.")] = None,
) -> None:
    """Train a model; an interrupted training resumes."""
    from ..training import TrainConfig, train, write_preview

    threads = [] if workers is None else [f"machine.threads={workers}"]
    resolved = TrainConfig.load(config, [*(set_ or []), *threads])
    if preview is not None:
        write_preview(resolved, preview)
        return
    train(resolved, progress=lambda s: say(f"iteration {s.iteration}  loss {s.loss:.4f}  {s.seconds:.2f} s"))
