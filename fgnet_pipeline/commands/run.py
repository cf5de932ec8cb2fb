"""`fgnet run`, `fgnet predict` and `fgnet agglomerate`: compute blocks."""

from __future__ import annotations

from typing import Any

import typer

from fgnet_pipeline.commands.options import ConfigFile, DryRun, Overrides, Redo, Workers, Yes, configured, extra
from fgnet_pipeline.commands.quiet import is_told


def run_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    redo: Redo = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Compute everything that is not done yet: raw -> affinities -> segmentation."""
    from fgnet_pipeline.stages.registry import stage_names

    _execute(stage_names(), configured(config, set_, workers), redo, dry_run, yes)


def predict_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    redo: Redo = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Compute only the affinities: raw -> affinities. run_predict.py does the same."""
    from fgnet_pipeline.execution.run import PREDICT

    _execute(PREDICT, configured(config, set_, workers), redo, dry_run, yes)


def agglomerate_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    redo: Redo = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Compute all stages after the affinities: affinities -> segmentation. run_agglomerate.py does the same.

    PyTorch is not needed.
    """
    from fgnet_pipeline.execution.processes.fork_server import start_early

    if not dry_run:
        start_early(config, extra(set_, workers))
    resolved = configured(config, set_, workers)
    from fgnet_pipeline.stages.registry import stages_after

    _execute(stages_after("predict"), resolved, redo, dry_run, yes)


def _execute(stages: tuple[str, ...], config: Any, redo: str | None, dry_run: bool, yes: bool) -> None:
    from fgnet_pipeline.commands.progress_bars import Bars
    from fgnet_pipeline.execution import run as runner
    from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas

    forgo_pandas()
    if dry_run:
        _print_plan(config, stages, redo, yes)
        return
    with Bars() as bars:
        runner.run(config, stages, redo, bars, bars.say, small_region=yes)


def _print_plan(config: Any, stages: tuple[str, ...], redo: str | None, yes: bool) -> None:
    from fgnet_pipeline.execution import run as runner
    from fgnet_pipeline.execution.region import check_region
    from fgnet_pipeline.execution.resume import check_fresh, left
    from fgnet_pipeline.stages.registry import from_stage_on

    if not config.schedule.is_local:
        from fgnet_pipeline.execution.cluster.lookup import cluster_of

        cluster_of(config)  # refuses an unknown system
    job = runner.open_planned(config, stages, redo)
    names = runner.tasks_of(job.plan, stages)
    check_region(job, small_region=yes)
    check_fresh(job, names, redo)
    for sentence in filter(is_told, runner.opening(job)):
        typer.echo(sentence)
    for name in names:
        state, task = left(job, name), job.plan.tasks[name]
        again = redo is not None and task.stage in from_stage_on(redo)
        todo = int((state.active if again else state.todo).sum())
        shape = "x".join(map(str, task.grid.block_shape))
        typer.echo(f"{name:14s} {todo} of {int(state.active.sum())} blocks of {shape} voxels to compute")
