"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, see docs/reference/configuration.md.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a key of the configuration; repeatable."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Worker processes, a total over all stages; 0 = serial, in this process."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and say what would be computed; write nothing.")
]
Redo = Annotated[
    str | None,
    typer.Option("--redo", metavar="STAGE", help="Replace the results of this stage and of all stages after it."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def configured(config: Path, overrides: list[str] | None, workers: int | None) -> Any:
    """The validated configuration (`fgnet_pipeline.core.config.Config`)."""
    from fgnet_pipeline.stages.configuration import load_config

    return load_config(config, extra(overrides, workers))


def extra(overrides: list[str] | None, workers: int | None) -> list[str]:
    """All overrides; ``--workers`` comes last and wins."""
    return [*(overrides or []), *([] if workers is None else [f"schedule.workers={workers}"])]


def say(sentence: str) -> None:
    """For people: to standard error, so that standard output stays one JSON document."""
    typer.echo(sentence, err=True)
