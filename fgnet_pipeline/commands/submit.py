"""`fgnet submit`: submit a run to a cluster as a chain of job arrays."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_pipeline.commands.options import ConfigFile, Json, Overrides, Redo, Yes, configured, say

if TYPE_CHECKING:
    from fgnet_pipeline.execution.cluster.job_chain import Chain

#: The configuration may name another backend for fgnet run; this command always submits arrays.
ARRAY = "schedule.backend=array"


def submit_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Greatest number of elements per array.")
    ] = None,
    redo: Redo = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands and scripts, but write nothing.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Submit everything that is not done as a chain of job arrays on the cluster, and return."""
    from fgnet_pipeline.execution.cluster.lookup import cluster_of
    from fgnet_pipeline.execution.cluster.submit import planned_chain, submit

    resolved = configured(config, [*(set_ or []), ARRAY], workers)
    if dry_run:
        _print_chain(planned_chain(resolved, redo=redo, report=say, small_region=yes), as_json)
        return
    job, jobs = submit(resolved, redo=redo, report=say, small_region=yes)
    if as_json:
        run_number = job.output.progress.driver() if jobs else None
        document = {"output": job.output.path, "run": run_number, "jobs": [asdict(one) for one in jobs]}
        typer.echo(json.dumps(document))
        return
    for one in jobs:
        note = "  if the one before does not finish" if one.second else ""
        typer.echo(f"{one.task:14s} job {one.job}  {one.blocks} blocks, {one.elements} elements{note}")
    watch = f"watch: fgnet status CONFIG, or {cluster_of(resolved).watch_command}"
    say(watch if jobs else "nothing is left to compute")


def _print_chain(chain: Chain, as_json: bool) -> None:
    from fgnet_pipeline.execution.cluster.job_chain import shown

    if not chain.cluster.is_installed():
        say(f"{chain.cluster.missing}: {chain.cluster.title} was not asked whether it would take these")
    arrays = shown(chain)
    if as_json:
        typer.echo(json.dumps({"submission": str(chain.path), "jobs": [asdict(array) for array in arrays]}))
        return
    for array in arrays:
        typer.echo(f"{shlex.join(array.command)} <<'SCRIPT'\n{array.script}SCRIPT\n")
    if not arrays:
        say("nothing is left to compute")
