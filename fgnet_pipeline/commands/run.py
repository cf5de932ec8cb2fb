"""`fgnet run`, `fgnet predict` and `fgnet agglomerate`: compute blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from fgnet_pipeline.commands.options import ConfigFile, DryRun, Overrides, Redo, Workers, Yes, configured, extra
from fgnet_pipeline.commands.quiet import is_told


def _command(stages_to_run: Callable[[], tuple[str, ...]], text: str, early: bool = False) -> Callable[..., None]:
    """A command that computes some stages.

    Args:
        stages_to_run: gives the names of the stages.
        text: what `--help` says.
        early: whether the process that workers are forked from starts before the configuration is checked. It must not
            if workers need modules that only the configuration names.
    """

    def command(
        config: ConfigFile,
        set_: Overrides = None,
        workers: Workers = None,
        redo: Redo = None,
        dry_run: DryRun = False,
        yes: Yes = False,
    ) -> None:
        if early and not dry_run:
            from fgnet_pipeline.execution.processes.fork_server import start_early

            start_early(config, extra(set_, workers))
        resolved = configured(config, set_, workers)
        _execute(stages_to_run(), resolved, redo, dry_run, yes)

    command.__doc__ = text
    return command


def _all_stages() -> tuple[str, ...]:
    from fgnet_pipeline.stages.registry import stage_names

    return stage_names()


def _predict() -> tuple[str, ...]:
    from fgnet_pipeline.execution.run import PREDICT

    return PREDICT


def _after_predict() -> tuple[str, ...]:
    from fgnet_pipeline.stages.registry import stages_after

    return stages_after("predict")


run_command = _command(_all_stages, "Compute everything that is not done yet: raw -> affinities -> segmentation.")
predict_command = _command(_predict, "Compute only the affinities: raw -> affinities. run_predict.py does the same.")
agglomerate_command = _command(
    _after_predict,
    "Compute all stages after the affinities: affinities -> segmentation. run_agglomerate.py does the same.\n\n"
    "PyTorch is not needed.",
    early=True,
)


def _execute(stages: tuple[str, ...], config: Any, redo: str | None, dry_run: bool, yes: bool) -> None:
    from fgnet_pipeline.commands.progress_bars import Bars
    from fgnet_pipeline.execution import run as runner

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
