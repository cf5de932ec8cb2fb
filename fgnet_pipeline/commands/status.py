"""`fgnet status`: show the progress of a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result
from fgnet_pipeline.commands.tables import table, terminal_columns
from fgnet_pipeline.core.durations import duration

if TYPE_CHECKING:
    from fgnet_pipeline.execution.status import StageStatus, Status, Watch

#: Of the table.
TITLES = ("stage", "blocks", "done", "failed", "left", "time left", "Mvoxel/s", "s/block", "peak MiB", "hosts")
#: Number of failed blocks that are printed. The JSON document lists all of them.
FAILURES_PRINTED = 10


def status_command(
    config: Result,
    set_: Overrides = None,
    workers: Workers = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Update the progress until everything is done, or until nothing computes it."),
    ] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two updates.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Show the progress of every stage: blocks done, failed and left, voxels per second, and the time left."""
    from fgnet_pipeline.execution.status import Watch

    watch = Watch(configured_result(config, set_, workers))
    if not follow:
        found = watch.look()
    elif as_json or not sys.stdout.isatty():
        found = _follow(watch, interval, lambda status: None if as_json else typer.echo(_progress_line(status)))
    else:
        found = _redraw(watch, interval)
        return
    typer.echo(json.dumps(found.to_dict()) if as_json else "\n".join(_lines_of(found)))


def _follow(watch: Watch, interval: float, show: Callable[[Status], None]) -> Status:
    """Call `show` with each status until the run has ended. The last status is returned and not shown."""
    for status in watch.looks(interval):
        if status.ended:
            break
        show(status)
    return status


def _redraw(watch: Watch, interval: float) -> Status:
    """Redraw one table on a terminal until the run has ended."""
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        for status in watch.looks(interval):
            live.update(Text("\n".join(_lines_of(status)), no_wrap=True), refresh=True)
    return status


def _progress_line(status: Status) -> str:
    """One line for a log: the blocks done of every unfinished stage."""
    parts = [
        f"{s.stage} {s.done}/{s.blocks}" + (f" ({s.failed} failed)" if s.failed else "")
        for s in status.stages
        if s.left
    ]
    return ", ".join(parts)


def _lines_of(status: Status) -> list[str]:
    lines = table(TITLES, [_row(stage) for stage in status.stages], columns=terminal_columns())
    for job in status.jobs:
        states = ", ".join(f"{count} {state.lower()}" for state, count in sorted(job.states.items()))
        lines.append(f"job {job.job:8s} {job.task}{' (second)' if job.second else ''}: {states}"
                     + "".join(f"; {reason}" for reason in job.reasons))  # fmt: skip
    for f in status.failures[:FAILURES_PRINTED]:
        lines.append(f"failed: {f.stage} block {f.block}: {f.error}" + (f" (log: {f.log})" if f.log else ""))
    if len(status.failures) > FAILURES_PRINTED:
        lines.append(f"failed: {len(status.failures) - FAILURES_PRINTED} more, --json lists them all")
    if status.changed:
        lines.append(f"changed since the latest run: {'; '.join(status.changed)}; the next run makes results again "
                     "that depend on it")  # fmt: skip
    return [*lines, _driver_line(status)]


def _row(s: StageStatus) -> list[str]:
    rate = "-" if s.voxels_per_second is None else f"{s.voxels_per_second / 1e6:.3g}"
    left = "-" if s.seconds_left is None else duration(s.seconds_left)
    seconds = "-" if s.seconds_per_block is None else f"{s.seconds_per_block:.3g}"
    memory = "-" if s.peak_memory is None else f"{s.peak_memory / 2**20:.0f}"
    return [s.stage, *map(str, (s.blocks, s.done, s.failed, s.left)), left, rate, seconds, memory, str(len(s.hosts))]


def _driver_line(status: Status) -> str:
    if status.driver is None:
        return "no run has begun"
    where = f"run {status.driver['run']}, process {status.driver.get('pid')} on {status.driver.get('host')}"
    return f"{where}, {'is running' if status.running else 'has ended'}"
