"""The command line: the list of commands, and the exit codes.

Exit codes: 0 if everything is done, 1 if blocks failed or damage was found, 2 for bad input, 130 after an interrupt.
With `--json`, standard output holds one JSON document, and all other text goes to standard error.
"""

from __future__ import annotations

import logging
import platform
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any, NoReturn

import typer

from fgnet_pipeline.commands.demo import demo_command
from fgnet_pipeline.commands.evaluate import evaluate_command
from fgnet_pipeline.commands.export import export_command
from fgnet_pipeline.commands.import_ import import_command
from fgnet_pipeline.commands.init import init_command
from fgnet_pipeline.commands.inspect import inspect_command
from fgnet_pipeline.commands.last_resort import FaultError, last_resort
from fgnet_pipeline.commands.model_describe import describe_command
from fgnet_pipeline.commands.plan import plan_command
from fgnet_pipeline.commands.quiet import quietable
from fgnet_pipeline.commands.report import report_command
from fgnet_pipeline.commands.run import agglomerate_command, predict_command, run_command
from fgnet_pipeline.commands.segments import segments_command
from fgnet_pipeline.commands.status import status_command
from fgnet_pipeline.commands.submit import submit_command
from fgnet_pipeline.commands.sweep import sweep_command
from fgnet_pipeline.commands.train import train_command
from fgnet_pipeline.commands.upgrade import upgrade_command
from fgnet_pipeline.commands.verify import verify_command
from fgnet_pipeline.commands.view import view_command
from fgnet_pipeline.commands.worker import worker_command
from fgnet_pipeline.core.errors import InputError, PipelineError
from fgnet_pipeline.core.signals import INTERRUPT_SENTENCE, INTERRUPTED
from fgnet_pipeline.core.version import __version__
from fgnet_pipeline.execution.processes.standard_streams import output_error

#: Settings of all commands for Click.
CONTEXT = {"help_option_names": ["-h", "--help"]}
#: Name -> function. `fgnet --help` lists the commands in this order.
COMMANDS: dict[str, Callable[..., None]] = {
    "init": init_command,
    "run": run_command,
    "predict": predict_command,
    "agglomerate": agglomerate_command,
    "submit": submit_command,
    "worker": worker_command,
    "plan": plan_command,
    "status": status_command,
    "verify": verify_command,
    "upgrade": upgrade_command,
    "evaluate": evaluate_command,
    "sweep": sweep_command,
    "segments": segments_command,
    "inspect": inspect_command,
    "report": report_command,
    "view": view_command,
    "export": export_command,
    "import": import_command,
    "train": train_command,
    "demo": demo_command,
}
#: Name of a group -> its commands.
GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "model": {"describe": describe_command},
}

Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, help="Print the versions of fgnet, Python and PyTorch, and end."),
]

app = typer.Typer(
    help="Segment neurons in volume electron microscopy: raw to one global segmentation, block by block.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
for name, command in COMMANDS.items():
    app.command(name)(quietable(command))
for group, members in GROUPS.items():
    _group = typer.Typer(help=f"Commands of {group}.", no_args_is_help=True, context_settings=CONTEXT)
    for name, command in members.items():
        _group.command(name)(quietable(command))
    app.add_typer(_group, name=group)


@app.callback(invoke_without_command=True)
def _before_the_command(version: Version = False) -> None:
    if version:
        typer.echo(versions())
        raise typer.Exit


def versions() -> str:
    """The versions of this package and of what its results depend on most; nothing of it is imported."""
    try:
        torch = f"PyTorch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        torch = "no PyTorch"
    return f"fgnet {__version__} (Python {platform.python_version()}, {torch})"


def guarded(command: Callable[[], Any]) -> NoReturn:
    """Run a command, and end the process.

    A `PipelineError` or an interrupt becomes one sentence on standard error and an exit code. For any other error the
    sentence names the log that holds the traceback (`fgnet_pipeline.commands.last_resort`). If standard output cannot
    be written, the command fails.
    """
    try:
        code = _exit_code_of(command)
    except PipelineError as error:
        kind = "error" if isinstance(error, InputError) else "failed"
        typer.echo(f"{kind}: {error}", err=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException as error:  # also the panics of libraries in Rust, which are no `Exception`
        code = _unforeseen(error)
    _forget_reads()  # also after code 0: a command may go on without what could not be read
    if code == INTERRUPTED:
        typer.echo(INTERRUPT_SENTENCE, err=True)
        sys.exit(code)
    if (unwritten := output_error()) is not None:
        code = _unprinted(unwritten)
    sys.exit(code)


def _exit_code_of(command: Callable[[], Any]) -> int | str | None:
    """Run a command of typer, which ends with SystemExit; its exit code."""
    try:
        command()
    except SystemExit as ended:
        return ended.code
    return 0


def _unforeseen(error: BaseException) -> int:
    """Say what happened, and return the exit code."""
    if isinstance(error, OSError) and (unwritten := output_error()) is not None:
        return _unprinted(unwritten)
    fault = error.fault if isinstance(error, FaultError) else last_resort(error)
    typer.echo(fault.sentence, err=True)
    return fault.exit_code


def _unprinted(error: OSError) -> int:
    if not isinstance(error, BrokenPipeError):  # whoever reads has seen enough
        typer.echo(f"failed: standard output cannot be written ({error.strerror})", err=True)
    return 1


def _forget_reads() -> None:
    """Otherwise Python and asyncio would print lines, or tracebacks, for every read of Zarr that has not ended."""
    logging.getLogger("asyncio").disabled = True
    warnings.simplefilter("ignore")


def main() -> NoReturn:
    """Run the `fgnet` command."""
    guarded(lambda: app(standalone_mode=True))


def run_predict() -> NoReturn:
    """Run the script `run_predict.py`."""
    guarded(lambda: _single(predict_command))


def run_agglomerate() -> NoReturn:
    """Run the script `run_agglomerate.py`."""
    guarded(lambda: _single(agglomerate_command))


def _single(command: Callable[..., None]) -> None:
    script = typer.Typer(pretty_exceptions_enable=False, context_settings=CONTEXT)
    script.command()(quietable(command))
    script()
