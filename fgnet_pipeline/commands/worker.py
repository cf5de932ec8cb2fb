"""`fgnet worker`: compute the blocks of one element of a job array."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgnet_pipeline.commands.options import say


def worker_command(
    submission: Annotated[
        Path, typer.Argument(metavar="SUBMISSION", help="File written by fgnet submit: progress/submission-RUN.json.")
    ],
    task: Annotated[str | None, typer.Option(help="Task whose blocks are computed.")] = None,
    share: Annotated[
        int | None, typer.Option(help="Number of the share. Default: the number of this array element.")
    ] = None,
    connect: Annotated[Path | None, typer.Option(help="Take blocks from the driver that this file names.")] = None,
    finish: Annotated[bool, typer.Option("--finish", help="Check that every block is done.")] = False,
) -> None:
    """Run one element of a job array. The scripts of `fgnet submit` call it."""
    from fgnet_pipeline.commands.last_resort import faults_logged_in

    # The temporary folder of a node is out of reach for the user: the log goes beside the other logs of the output.
    with faults_logged_in(submission.parent.parent / "logs"):
        say(_work(submission, task, share, connect, finish))


def _work(submission: Path, task: str | None, share: int | None, connect: Path | None, finish: bool) -> str:
    """Do what the options ask for; a sentence that says what was done."""
    from fgnet_pipeline.core.errors import InputError
    from fgnet_pipeline.execution.cluster.array_element import finish_submission, run_share
    from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas

    forgo_pandas()
    if finish:
        return finish_submission(submission)
    if task is None:
        raise InputError("--task", None, "the name of a task", "give it, or --finish")
    if connect is not None:
        from fgnet_pipeline.execution.cluster.driver_workers import serve_driver

        return f"{task}: computed {serve_driver(submission, task, connect)} blocks"
    return f"{task}: computed {run_share(submission, task, share)} blocks"
