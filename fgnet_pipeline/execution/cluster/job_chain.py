"""The chain of the `array` backend: one job array per task, in the order of the data flow, without a server.

1. The driver freezes what is to do in a submission (`fgnet_pipeline.execution.cluster.submission`).
2. Every task becomes one job array, which the cluster starts after the array before has ended well.
3. If the stage's resources may grow, a second array of the same shares, with more time and memory, starts after the
   first did not end well. The next task starts after whichever of the two ended well.
4. A last job sees that everything is done.

The cluster keeps the order. If it removes the rest of a chain, another submission does what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fgnet_pipeline.execution.block_runner import WorkerSpec
from fgnet_pipeline.execution.cluster.interface import After, Cluster, JobArray, Request
from fgnet_pipeline.execution.cluster.lookup import cluster_of
from fgnet_pipeline.execution.cluster.submission import Bits, Share, Submission, path_of
from fgnet_pipeline.execution.submitted_jobs import SubmittedJob, record_job
from fgnet_pipeline.execution.work import Work
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stage_of

FINISH = "finish"


@dataclass(frozen=True)
class Step:
    """One task of a chain.

    Attributes:
        task: its name.
        blocks: how many are to do.
        first: the array.
        second: the array with more time and memory that goes on if `first` does not end well; None without one.
    """

    task: str
    blocks: int
    first: JobArray
    second: JobArray | None


@dataclass(frozen=True)
class Chain:
    """A submission and its arrays.

    Attributes:
        submission: what workers are told.
        path: the file that it is written to.
        steps: in the order in which they run; none if nothing is left to do.
        cluster: that the arrays are for.
    """

    submission: Submission
    path: Path
    steps: tuple[Step, ...]
    cluster: Cluster

    @property
    def arrays(self) -> list[JobArray]:
        """All arrays, in the order in which they are submitted."""
        return [array for step in self.steps for array in (step.first, step.second) if array is not None]


def chain_of(job: Job, spec: WorkerSpec, todo: dict[str, Bits]) -> Chain:
    """Make the chain that computes some blocks; nothing is written.

    Args:
        job: with its plan.
        spec: what workers are told.
        todo: name of a task -> whether each of its blocks is to do, bool (z, y, x); at least one per task.
    """
    cluster, work = cluster_of(job.config), Work(job, spec, todo)
    shares = {name: Share(job.plan.blocks(name), bits, work.workers_of(name)) for name, bits in todo.items()}
    path = path_of(job.output.progress.root.absolute(), spec.run)
    steps = [_step(cluster, job, name, share, path) for name, share in shares.items()]
    submission = Submission(spec, shares)
    return Chain(submission, path, (*steps, _last_step(cluster, job, path)) if steps else (), cluster)


def _step(cluster: Cluster, job: Job, name: str, share: Share, path: Path) -> Step:
    request = Request(
        stage=stage_of(job.plan.tasks[name]).schedule,
        name=f"fgnet-{name}",
        elements=share.shares,
        logs=job.output.logs.absolute(),
        words=("worker", str(path), "--task", name),
        comment=f"{name}: {share.count} blocks in {share.shares} shares, one for each element of the array",
    )
    second = None
    if cluster.grows(request.stage):
        second = cluster.build(replace(request, more=True, comment=request.comment + "; what is left of them"))
    return Step(name, share.count, cluster.build(request), second)


def _last_step(cluster: Cluster, job: Job, path: Path) -> Step:
    request = Request(
        stage=stage_of(list(job.plan.tasks.values())[-1]).schedule,
        name=f"fgnet-{FINISH}",
        elements=1,
        logs=job.output.logs.absolute(),
        words=("worker", str(path), "--finish"),
        comment="sees that every block has its record",
        gpus=False,
    )
    return Step(FINISH, 0, cluster.build(request), None)


def send(chain: Chain, job: Job) -> list[SubmittedJob]:
    """Write the submission and submit its arrays.

    Returns:
        The jobs, in the order in which they run; each is recorded as soon as it is submitted.

    Raises:
        ClusterError: The cluster did not take one; those before it have been cancelled.
    """
    progress = job.output.progress.root
    job.output.logs.mkdir(parents=True, exist_ok=True)
    chain.submission.write(progress)
    sent: list[SubmittedJob] = []

    def submit(step: Step, array: JobArray, after: tuple[After, ...]) -> str:
        number = chain.cluster.submit(array, after)
        sent.append(SubmittedJob(step.task, number, array.elements, step.blocks, array is step.second))
        record_job(progress, chain.submission.spec.run, sent[-1])
        return number

    try:
        _in_order(chain, submit)
    except BaseException:
        chain.cluster.cancel([one.job for one in sent])
        raise
    return sent


def _in_order(chain: Chain, submit: Callable[[Step, JobArray, tuple[After, ...]], str]) -> None:
    """Call `submit` for every array in turn; it returns the id of the job, which later conditions name."""
    after: tuple[After, ...] = ()
    for step in chain.steps:
        first = submit(step, step.first, after)
        after = (After(first, ok=True),)
        if step.second is not None:
            second = submit(step, step.second, (After(first, ok=False),))
            after = (*after, After(second, ok=True))


@dataclass(frozen=True)
class Shown:
    """What would be submitted.

    Attributes:
        task: name of the task.
        elements: of the array.
        blocks: of all elements.
        command: words of the command that submits.
        script: what the command is given on standard input.
    """

    task: str
    elements: int
    blocks: int
    command: list[str]
    script: str


def shown(chain: Chain) -> list[Shown]:
    """Every array of a chain; where the id of an earlier job belongs, its task stands in capitals."""
    found: list[Shown] = []

    def show(step: Step, array: JobArray, after: tuple[After, ...]) -> str:
        command = chain.cluster.command(array, after)
        found.append(Shown(step.task, array.elements, step.blocks, command, array.script))
        return f"{step.task.upper()}{'-SECOND' if array is step.second else ''}"

    _in_order(chain, show)
    return found
