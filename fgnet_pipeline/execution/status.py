"""How far a job is, read off its records: the same for every backend, while the job runs and afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.execution.last_run import changed_values
from fgnet_pipeline.execution.resume import compare, failed_blocks, voxels_where
from fgnet_pipeline.execution.submitted_jobs import submitted_jobs
from fgnet_pipeline.stages.job import open_job
from fgnet_pipeline.stages.registry import plan_job, stage_names
from fgnet_pipeline.store.arrays import use_threads
from fgnet_pipeline.store.atomic_files import read_json
from fgnet_pipeline.store.driver_lock import is_held
from fgnet_pipeline.store.records.latest import Latest, Totals
from fgnet_pipeline.store.records.record import Failure

if TYPE_CHECKING:
    from fgnet_pipeline.execution.cluster.job_states import JobState


@dataclass(frozen=True)
class StageStatus:
    """Progress of one stage; a value is None if nothing was recorded.

    Attributes:
        stage: its name.
        blocks: that have work.
        done: of them.
        failed: of those that are not done, how many failed last.
        left: that are not done.
        voxels_per_second: of wall time in the latest run.
        seconds_left: at that rate.
        seconds_per_block: that a worker spends on a block, mean of all records.
        peak_memory: bytes, of the largest worker.
        hosts: that blocks were computed on.
    """

    stage: str
    blocks: int
    done: int
    failed: int
    left: int
    voxels_per_second: float | None
    seconds_left: float | None
    seconds_per_block: float | None
    peak_memory: int | None
    hosts: tuple[str, ...]


@dataclass(frozen=True)
class FailedBlock:
    """A block that is not done and failed last.

    Attributes:
        stage: name of the task.
        block: index in the task's grid, zyx.
        log: file that holds the details.
        error: last line of the traceback.
    """

    stage: str
    block: list[int]
    log: str
    error: str


@dataclass(frozen=True)
class Status:
    """How far a job is.

    Attributes:
        stages: progress of every stage that is part of the plan.
        failures: blocks that failed last.
        running: whether a driver holds the output, or jobs of the latest run are queued or running.
        driver: number, host, process and start of the latest run; None before the first.
        jobs: of the latest run, as far as the cluster remembers them.
        unseen: whether there are such jobs, but the cluster does not answer.
        changed: values in which the configuration differs from that of the latest run, one clause per value.
    """

    stages: tuple[StageStatus, ...]
    failures: tuple[FailedBlock, ...]
    running: bool
    driver: dict[str, Any] | None = None
    jobs: tuple[JobState, ...] = ()
    unseen: bool = False
    changed: tuple[str, ...] = ()

    @property
    def left(self) -> int:
        """Blocks of all stages that are not done."""
        return sum(stage.left for stage in self.stages)

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more: everything is done, or neither a driver nor a job works on it."""
        return self.left == 0 or not (self.running or self.unseen)

    def to_dict(self) -> dict[str, Any]:
        """The status as a JSON document."""
        return asdict(self)


class Watch:
    """Looks at one job again and again; a look reads only what was recorded since the last, and writes nothing.

    Args:
        config: a validated configuration.

    Raises:
        InputError: Bad input, or results of another configuration.
    """

    def __init__(self, config: Config) -> None:
        use_threads(config.schedule.threads)
        self.job = open_job(config)
        self._progress = self.job.output.progress
        plan_job(self.job)
        plan = self.job.plan
        self._latest = {name: Latest(self._progress.root / name, plan.blocks(name)) for name in plan.tasks}

    def look(self) -> Status:
        """The status now."""
        # First whether it runs: what a driver does before it ends is then seen by this look.
        running = is_held(self._progress.root / "lock")
        stages, failures = [], []
        for stage in stage_names():
            names = [task.name for task in self.job.plan.tasks.values() if task.stage == stage]
            if names:
                found, failed = self._stage(stage, names)
                stages.append(found)
                failures += failed
        jobs = self._jobs()
        running = running or any(job.alive for job in jobs or ())
        driver = read_json(self._progress.root / "driver.json")
        changed = tuple(changed_values(self.job))
        return Status(tuple(stages), tuple(failures), running, driver, jobs or (), jobs is None, changed)

    def looks(self, interval: float) -> Iterator[Status]:
        """A status every `interval` seconds; the last is the first that has ended."""
        while not (status := self.look()).ended:
            yield status
            time.sleep(interval)
        yield status

    def _jobs(self) -> tuple[JobState, ...] | None:
        """The jobs of the latest run; None if the cluster does not answer: the records are there without it."""
        jobs = submitted_jobs(self._progress.root, self._progress.driver())
        if not jobs:
            return ()
        from fgnet_pipeline.execution.cluster.interface import ClusterError
        from fgnet_pipeline.execution.cluster.job_states import job_states
        from fgnet_pipeline.execution.cluster.lookup import cluster_of

        try:
            return tuple(job_states(cluster_of(self.job.config), jobs))
        except ClusterError:
            return None

    def _stage(self, stage: str, names: list[str]) -> tuple[StageStatus, list[FailedBlock]]:
        blocks, done, voxels, failed = 0, 0, 0, []
        totals = [self._latest[name].update().totals for name in names]
        for name in names:
            state = compare(self.job, name, self._latest[name])
            blocks += int(state.active.sum())
            done += int(state.done.sum())
            voxels += voxels_where(self.job, name, state.todo)
            failed += [_described(name, failure) for failure in failed_blocks(self.job, name, state.todo)]
        rate = _rate(totals)
        seconds = voxels / rate if rate and voxels else (0.0 if voxels == 0 else None)
        recorded = sum(t.blocks for t in totals)
        found = StageStatus(
            stage, blocks, done, len(failed), blocks - done, rate, seconds,
            sum(t.seconds for t in totals) / recorded if recorded else None,
            max(t.peak_memory for t in totals) or None,
            tuple(sorted(set().union(*(t.hosts for t in totals)))),
        )  # fmt: skip
        return found, failed


def _rate(totals: list[Totals]) -> float | None:
    """Voxels per second of wall time in the latest run that recorded anything."""
    latest = max((run for t in totals for run in t.runs), default=None)
    spans = [t.runs[latest] for t in totals if latest in t.runs] if latest is not None else []
    voxels, begin, end = sum(s.voxels for s in spans), [s.begin for s in spans], [s.end for s in spans]
    return voxels / (max(end) - min(begin)) if voxels and max(end) > min(begin) else None


def _described(name: str, failure: Failure) -> FailedBlock:
    lines = failure.error.strip().splitlines()
    return FailedBlock(name, list(failure.block), failure.log, lines[-1] if lines else "")
