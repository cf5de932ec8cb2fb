"""The command line: the list of commands, and exit codes.

Exit code 0 done, 1 blocks failed or damage found, 2 bad input. With ``--json`` standard output holds one JSON document
and everything else goes to standard error.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from fgnet_pipeline.commands import demo_command as demonstrating
from fgnet_pipeline.commands import evaluate as scoring
from fgnet_pipeline.commands import import_ as importing
from fgnet_pipeline.commands import plan as planning
from fgnet_pipeline.commands import run as running
from fgnet_pipeline.commands import status as watching
from fgnet_pipeline.commands import submit as clustering
from fgnet_pipeline.commands import train as modelling
from fgnet_pipeline.commands import verify as verifying
from fgnet_pipeline.commands.entry import INTERRUPT_SENTENCE, INTERRUPTED
from fgnet_pipeline.core.errors import InputError, PipelineError

CONTEXT = {"help_option_names": ["-h", "--help"]}
COMMANDS: dict[str, Callable[..., None]] = {
    "run": running.run_command,
    "predict": running.predict_command,
    "agglomerate": running.agglomerate_command,
    "submit": clustering.submit_command,
    "worker": clustering.worker_command,
    "plan": planning.plan_command,
    "status": watching.status_command,
    "verify": verifying.verify_command,
    "evaluate": scoring.evaluate_command,
    "sweep": scoring.sweep_command,
    "inspect": watching.inspect_command,
    "import": importing.import_command,
    "train": modelling.train_command,
    "demo": demonstrating.demo_command,
}
GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "model": {"describe": modelling.describe_command},
}

app = typer.Typer(
    help="Raw electron microscopy to one global segmentation, block by block.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
for name, command in COMMANDS.items():
    app.command(name)(command)
for group, members in GROUPS.items():
    _group = typer.Typer(help=f"Commands of {group}.", no_args_is_help=True, context_settings=CONTEXT)
    for name, command in members.items():
        _group.command(name)(command)
    app.add_typer(_group, name=group)


def guarded(command: Callable[[], Any]) -> NoReturn:
    """Run a command; errors meant for the user become one sentence and an exit code."""
    try:
        command()
    except PipelineError as error:
        kind = "error" if isinstance(error, InputError) else "failed"
        typer.echo(f"{kind}: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # what typer makes of an interrupt
            _interrupted()
        raise
    sys.exit(0)


def _interrupted() -> NoReturn:
    # Python and asyncio would name all of Zarr's reads that are under way.
    logging.getLogger("asyncio").disabled = True
    warnings.simplefilter("ignore")
    typer.echo(INTERRUPT_SENTENCE, err=True)
    sys.exit(INTERRUPTED)


def main() -> NoReturn:
    """The ``fgnet`` command."""
    guarded(lambda: app(standalone_mode=True))


def run_predict() -> NoReturn:
    """The ``run_predict.py`` script."""
    guarded(lambda: _single(running.predict_command))


def run_agglomerate() -> NoReturn:
    """The ``run_agglomerate.py`` script."""
    guarded(lambda: _single(running.agglomerate_command))


def _single(command: Callable[..., None]) -> None:
    script = typer.Typer(pretty_exceptions_enable=False, context_settings=CONTEXT)
    script.command()(command)
    script()
