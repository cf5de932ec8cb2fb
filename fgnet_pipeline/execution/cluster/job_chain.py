"""The ``array`` backend: a chain of job arrays, one a task, that needs no server.

1. The driver freezes what is to do in a submission (:mod:`fgnet_pipeline.execution.cluster.submission`).
2. Every task becomes one job array, which Slurm starts when the array before has ended well.
3. With ``schedule.slurm.grow`` a second array of the same shares, with more time and memory, starts where the first did
   not end well; the next task starts after whichever of the two did.
4. A last job sees that everything is done.

Slurm keeps the order; if it kills the rest of a chain, submitting again does what is left.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fgnet_pipeline.core.cluster_config import SlurmStage
from fgnet_pipeline.core.errors import BlocksFailedError, InputError, PipelineError
from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.execution.cluster import slurm
from fgnet_pipeline.execution.cluster.submission import (
    Bits,
    Share,
    Submission,
    SubmittedJob,
    path_of,
    read_submission,
    record_job,
    submitted_jobs,
)
from fgnet_pipeline.execution.resume import finish, left
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stage_of

FINISH = "finish"
#: How long Slurm may be silent before waiting for jobs is given up; the jobs go on.
SILENCE_SECONDS = 1800.0


@dataclass(frozen=True)
class Step:
    """One task of a chain; ``second`` goes on where ``first`` did not end well."""

    task: str
    table: str
    blocks: int
    first: slurm.Array
    second: slurm.Array | None


@dataclass(frozen=True)
class Chain:
    """A submission and its arrays, in the order in which they run."""

    submission: Submission
    path: Path
    steps: tuple[Step, ...]


def chain_of(job: Job, spec: WorkerSpec, todo: dict[str, Bits]) -> Chain:
    """The chain that computes ``todo`` (name of a task -> for each of its blocks whether it is to do)."""
    work = {}
    for name, bits in todo.items():
        workers = job.config.schedule.workers_of(stage_of(job.plan.tasks[name]).schedule)
        work[name] = Share(job.plan.blocks(name), bits, min(workers, int(bits.sum())))
    path = path_of(job.output.progress.root.absolute(), spec.run)
    steps = [_step(job, name, share, path) for name, share in work.items()]
    return Chain(Submission(spec, work), path, (*steps, _last_step(job, path)) if steps else ())


def _step(job: Job, name: str, share: Share, path: Path) -> Step:
    stage = stage_of(job.plan.tasks[name]).schedule
    asked = job.config.schedule.slurm.of(stage)
    comment = f"{name}: {share.count} blocks in {share.shares} shares, one for each element of the array"
    words = ["worker", str(path), "--task", name]

    def array(asked: SlurmStage, comment: str) -> slurm.Array:
        return slurm.build(asked, f"fgnet-{name}", share.shares, job.output.logs.absolute(), words, comment)

    second = array(slurm.grown(asked), comment + "; what is left of them") if asked.grow is not None else None
    return Step(name, _table(job, stage), share.count, array(asked, comment), second)


def _last_step(job: Job, path: Path) -> Step:
    stage = stage_of(list(job.plan.tasks.values())[-1]).schedule
    asked = job.config.schedule.slurm.of(stage).model_copy(update={"gpus": None})
    words = ["worker", str(path), "--finish"]
    comment = "sees that every block has its record"
    array = slurm.build(asked, f"fgnet-{FINISH}", 1, job.output.logs.absolute(), words, comment)
    return Step(FINISH, _table(job, stage), 0, array, None)


def _table(job: Job, stage: str) -> str:
    own = job.config.schedule.slurm.own(stage)
    return f"schedule.slurm.{stage}" if own not in (None, SlurmStage()) else "schedule.slurm"


def check(chain: Chain) -> None:
    """Ask Slurm whether it would take every array; nothing is submitted or written.

    Raises:
        InputError: no sbatch, no answer, or a value that Slurm refuses.
    """
    seen = set()
    for step in chain.steps:
        for array in (step.first, step.second):
            asked = tuple(a for a in array.arguments if not a.startswith("--job-name=")) if array else None
            if array and asked not in seen:
                slurm.check(array, step.table)
                seen.add(asked)


def send(chain: Chain, job: Job) -> list[SubmittedJob]:
    """Write the submission and submit its arrays.

    Raises:
        SlurmError: sbatch refused one; those before it have been cancelled.
    """
    progress = job.output.progress.root
    job.output.logs.mkdir(parents=True, exist_ok=True)
    chain.submission.write(progress)
    sent: list[SubmittedJob] = []

    def submit(step: Step, array: slurm.Array, after: str) -> str:
        number = slurm.submit(array, *dependency(after))
        sent.append(SubmittedJob(step.task, number, array.elements, step.blocks, array is step.second))
        record_job(progress, chain.submission.spec.run, sent[-1])
        return number

    try:
        in_order(chain, submit)
    except BaseException:
        slurm.cancel([one.job for one in sent])
        raise
    return sent


def in_order(chain: Chain, submit: Callable[[Step, slurm.Array, str], str]) -> None:
    """Call ``submit(step, array, dependency)``, which gives the id of the job, for every array in turn."""
    after = ""
    for step in chain.steps:
        first = submit(step, step.first, after)
        after = f"afterok:{first}"
        if step.second is not None:
            second = submit(step, step.second, f"afternotok:{first}")
            after = f"afterok:{first}?afterok:{second}"


def dependency(after: str) -> list[str]:
    """Options that make a job wait; Slurm removes one that can never start."""
    return [f"--dependency={after}", "--kill-on-invalid-dep=yes"] if after else []


@dataclass(frozen=True)
class Shown:
    """What would be submitted: the words of the command, and the script that it gets on standard input."""

    task: str
    elements: int
    blocks: int
    command: list[str]
    script: str


def shown(chain: Chain) -> list[Shown]:
    """Every array of ``chain``; where the id of an earlier job belongs, its name stands in capitals."""
    found: list[Shown] = []

    def show(step: Step, array: slurm.Array, after: str) -> str:
        found.append(Shown(step.task, array.elements, step.blocks, array.command(*dependency(after)), array.script))
        return f"{step.task.upper()}{'-SECOND' if array is step.second else ''}"

    in_order(chain, show)
    return found


@dataclass(frozen=True)
class JobState:
    """A submitted job and how its elements are: state in Slurm's words -> number of elements."""

    task: str
    job: str
    second: bool
    states: dict[str, int]
    reasons: tuple[str, ...]

    @property
    def alive(self) -> bool:
        return any(state in slurm.ALIVE for state in self.states)


def job_states(jobs: list[SubmittedJob]) -> list[JobState]:
    """The state of every job; elements that Slurm has forgotten are ``GONE``.

    Raises:
        SlurmError: Slurm does not answer.
    """
    known: dict[str, list[slurm.Element]] = {}
    for element in slurm.remembered(job.job for job in jobs):
        known.setdefault(element.job, []).append(element)
    return [_state_of(job, known.get(job.job, [])) for job in jobs]


def _state_of(job: SubmittedJob, elements: list[slurm.Element]) -> JobState:
    states = Counter(element.state for element in elements)
    if len(elements) < job.elements:
        states[slurm.GONE] = job.elements - len(elements)
    waits = {f"waits: {e.reason}" for e in elements if e.state == "PENDING" and e.reason in slurm.HOPELESS}
    ends = {slurm.REASONS[e.state] for e in elements if e.state in slurm.REASONS and not _was_not_needed(e)}
    return JobState(job.task, job.job, job.second, dict(states), tuple(sorted(ends) + sorted(waits)))


def _was_not_needed(element: slurm.Element) -> bool:
    return element.reason == "DependencyNeverSatisfied"


def wait(jobs: list[SubmittedJob], poll_seconds: float, report: Callable[[str], None]) -> str | None:
    """Wait until none of ``jobs`` is queued or running; returns why elements ended badly, or None.

    Raises:
        SlurmError: Slurm has not answered for half an hour.
    """
    silent_since, before, troubles = time.monotonic(), "", list[str]()
    while True:
        try:
            states = job_states(jobs)
        except slurm.SlurmError as error:
            if time.monotonic() - silent_since > SILENCE_SECONDS:
                raise
            report(f"waiting for Slurm: {error}")
        else:
            silent_since = time.monotonic()
            for line in (line for state in states for line in describe(state)):
                if line not in troubles:
                    report(line)
                    troubles.append(line)
            if not any(state.alive for state in states):
                return "\n".join(troubles) or None
            now = summary(states)
            if now != before:
                report(now)
            before = now
        time.sleep(poll_seconds)


def summary(states: list[JobState]) -> str:
    """One line: the jobs whose elements run or wait for nothing but a place."""
    parts = []
    for state in states:
        counts = {name: n for name, n in state.states.items() if name in slurm.ALIVE}
        if counts:
            parts.append(f"{state.task} " + " ".join(f"{n} {name.lower()}" for name, n in sorted(counts.items())))
    return "jobs: " + ", ".join(parts)


def describe(state: JobState) -> list[str]:
    """A sentence for every reason why elements of a job ended badly or cannot start."""
    return [f"{state.task} (job {state.job}): {reason}" for reason in state.reasons]


def refuse_while_alive(job: Job) -> None:
    """Refuse to begin anew while jobs of the latest submission are queued or running.

    Raises:
        InputError: they are; the sentence names them. SlurmError: Slurm does not answer.
    """
    progress = job.output.progress
    jobs = [job for job in submitted_jobs(progress.root, progress.driver()) if not job.server]
    alive = [state.job for state in job_states(jobs) if state.alive]
    if alive:
        raise InputError(
            "output.path",
            job.output.path,
            f"no earlier submission that is still queued or running (jobs {', '.join(alive)})",
            f"wait for it, or end it with: scancel {' '.join(alive)}",
        )


def finish_submission(path: Path) -> str:
    """What the last job does: see that every block of the submission has its record.

    Raises:
        BlocksFailedError: some have not. PipelineError: a newer run has begun.
    """
    submission = read_submission(path)
    job = submission.spec.open_job()
    if job.output.progress.driver() != submission.spec.run:
        raise PipelineError(f"a newer run has begun since {path} was submitted")
    missing = {name: int(left(job, name).todo.sum()) for name in submission.work}
    if any(missing.values()):
        text = ", ".join(f"{name} {count}" for name, count in missing.items() if count)
        raise BlocksFailedError(f"blocks that are not done: {text}; submit again to compute them")
    finish(job)
    return f"every block of {job.output.path} is done"
