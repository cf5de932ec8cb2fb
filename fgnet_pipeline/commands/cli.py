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

from fgnet_pipeline.commands.demo import demo_command
from fgnet_pipeline.commands.entry import INTERRUPT_SENTENCE, INTERRUPTED
from fgnet_pipeline.commands.evaluate import evaluate_command
from fgnet_pipeline.commands.import_ import import_command
from fgnet_pipeline.commands.inspect import inspect_command
from fgnet_pipeline.commands.model_describe import describe_command
from fgnet_pipeline.commands.plan import plan_command
from fgnet_pipeline.commands.run import agglomerate_command, predict_command, run_command
from fgnet_pipeline.commands.status import status_command
from fgnet_pipeline.commands.submit import submit_command
from fgnet_pipeline.commands.sweep import sweep_command
from fgnet_pipeline.commands.train import train_command
from fgnet_pipeline.commands.verify import verify_command
from fgnet_pipeline.commands.worker import worker_command
from fgnet_pipeline.core.errors import InputError, PipelineError

CONTEXT = {"help_option_names": ["-h", "--help"]}
COMMANDS: dict[str, Callable[..., None]] = {
    "run": run_command,
    "predict": predict_command,
    "agglomerate": agglomerate_command,
    "submit": submit_command,
    "worker": worker_command,
    "plan": plan_command,
    "status": status_command,
    "verify": verify_command,
    "evaluate": evaluate_command,
    "sweep": sweep_command,
    "inspect": inspect_command,
    "import": import_command,
    "train": train_command,
    "demo": demo_command,
}
GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "model": {"describe": describe_command},
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
    guarded(lambda: _single(predict_command))


def run_agglomerate() -> NoReturn:
    """The ``run_agglomerate.py`` script."""
    guarded(lambda: _single(agglomerate_command))


def _single(command: Callable[..., None]) -> None:
    script = typer.Typer(pretty_exceptions_enable=False, context_settings=CONTEXT)
    script.command()(command)
    script()
