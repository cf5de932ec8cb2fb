"""How submitted jobs are: their states, the reasons of bad ends, and waiting for the last of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.cluster.interface import Cluster, ClusterError, Element, State
from fgnet_pipeline.execution.cluster.lookup import cluster_of
from fgnet_pipeline.execution.submitted_jobs import SubmittedJob, independent_jobs
from fgnet_pipeline.stages.job import Job

#: How long (s) a cluster may be silent before waiting for jobs, or for elements, is given up; the jobs go on.
SILENCE_SECONDS = 1800.0


@dataclass(frozen=True)
class JobState:
    """A submitted job and how its elements are.

    Attributes:
        task: name of the task.
        job: id of the job.
        second: whether it is the second array of the task.
        states: state -> number of elements.
        reasons: sentences on why elements ended badly, then on why others cannot start.
    """

    task: str
    job: str
    second: bool
    states: dict[State, int]
    reasons: tuple[str, ...]

    @property
    def alive(self) -> bool:
        """Whether an element is queued or running."""
        return any(state.alive for state in self.states)


def job_states(cluster: Cluster, jobs: list[SubmittedJob]) -> list[JobState]:
    """The state of every job; elements that the cluster has forgotten are `State.GONE`.

    Raises:
        ClusterError: The cluster does not answer.
    """
    known: dict[str, list[Element]] = {}
    for element in cluster.states([job.job for job in jobs], remembered=True):
        known.setdefault(element.job, []).append(element)
    return [_state_of(job, known.get(job.job, [])) for job in jobs]


def _state_of(job: SubmittedJob, elements: list[Element]) -> JobState:
    states = Counter(element.state for element in elements)
    if len(elements) < job.elements:
        states[State.GONE] = job.elements - len(elements)
    reasons = {(element.state.alive, element.reason) for element in elements if element.reason}
    return JobState(job.task, job.job, job.second, dict(states), tuple(reason for _, reason in sorted(reasons)))


def wait(cluster: Cluster, jobs: list[SubmittedJob], report: Callable[[str], None]) -> str | None:
    """Wait until none of the jobs is queued or running.

    Args:
        cluster: that runs the jobs.
        jobs: to wait for.
        report: told what is queued and running, and why elements ended badly.

    Returns:
        Why elements ended badly, one line per reason; None if none did.

    Raises:
        ClusterError: The cluster has not answered for half an hour.
    """
    silent_since, before, troubles = time.monotonic(), "", list[str]()
    while True:
        try:
            states = job_states(cluster, jobs)
        except ClusterError as error:
            if time.monotonic() - silent_since > SILENCE_SECONDS:
                raise
            report(f"waiting for {cluster.title}: {error}")
        else:
            silent_since = time.monotonic()
            for line in (line for state in states for line in _sentences(state)):
                if line not in troubles:
                    report(line)
                    troubles.append(line)
            if not any(state.alive for state in states):
                return "\n".join(troubles) or None
            now = _summary(states)
            if now != before:
                report(now)
            before = now
        time.sleep(cluster.poll_seconds)


def _summary(states: list[JobState]) -> str:
    """One line: the jobs with elements that are queued or running."""
    parts = []
    for job in states:
        counts = [f"{count} {state.lower()}" for state, count in sorted(job.states.items()) if state.alive]
        if counts:
            parts.append(f"{job.task} {' '.join(counts)}")
    return "jobs: " + ", ".join(parts)


def _sentences(state: JobState) -> list[str]:
    return [f"{state.task} (job {state.job}): {reason}" for reason in state.reasons]


def refuse_while_alive(job: Job) -> None:
    """Refuse to begin anew while jobs of the latest submission are queued or running.

    Raises:
        InputError: There are such jobs; the sentence names them.
        ClusterError: The cluster does not answer.
    """
    jobs = independent_jobs(job)
    if not jobs:
        return
    cluster = cluster_of(job.config)
    alive = [state.job for state in job_states(cluster, jobs) if state.alive]
    if alive:
        raise InputError(
            "output.path",
            job.output.path,
            f"no earlier submission that is still queued or running (jobs {', '.join(alive)})",
            f"wait for it, or end it with: {cluster.how_to_end(alive)}",
        )
