"""Arguments and options that several commands share, and the configuration that they select."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_pipeline.commands.quiet import is_told

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file (docs/reference/configuration.md).")]
Result = Annotated[
    str, typer.Argument(metavar="CONFIG|OUTPUT", help="TOML file of a run, or the folder or URL of its output.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a key of the configuration. May be repeated."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Number of worker processes, shared by all stages. 0 computes in this process."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and print what would be computed, but write nothing.")
]
Redo = Annotated[
    str | None,
    typer.Option("--redo", metavar="STAGE", help="Replace the results of this stage and of all later stages."),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Accept a region of interest that is shorter than the model's context.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def configured(config: Path, overrides: list[str] | None, workers: int | None) -> Any:
    """Load and check a configuration.

    Args:
        config: path of the TOML file.
        overrides: values of `--set`.
        workers: value of `--workers`; None if it was not given.

    Returns:
        A `fgnet_pipeline.core.config.Config`. The type is not imported here, so that `fgnet --help` stays fast.

    Raises:
        InputError: a file, key or value that does not fit.
    """
    from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas
    from fgnet_pipeline.stages.configuration import load_config

    forgo_pandas()
    return load_config(config, extra(overrides, workers))


def configured_result(place: str, overrides: list[str] | None, workers: int | None) -> Any:
    """Load and check the configuration of a result that is to be looked at.

    Args:
        place: path of the TOML file, or path or URL of the output.
        overrides: values of `--set`.
        workers: value of `--workers`; None if it was not given.

    Returns:
        A `fgnet_pipeline.core.config.Config`.

    Raises:
        InputError: a file, key or value that does not fit, or no output.
    """
    from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas
    from fgnet_pipeline.stages.configuration import load_result

    forgo_pandas()
    return load_result(place, extra(overrides, workers))


def extra(overrides: list[str] | None, workers: int | None) -> list[str]:
    """All overrides. `--workers` comes last, so it overrides `--set schedule.workers`."""
    return [*(overrides or []), *([] if workers is None else [f"schedule.workers={workers}"])]


def say(sentence: str) -> None:
    """Print a sentence for people on standard error, so that standard output stays one JSON document.

    With `--quiet`, only a warning is printed.
    """
    if is_told(sentence):
        typer.echo(sentence, err=True)
