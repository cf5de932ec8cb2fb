"""The list of jobs that a submission sent to a cluster: `progress/submission-RUN.jobs.jsonl`, one job per line.

A local run reads it to see that it disturbs nobody. Nothing here imports code of a cluster unless there are jobs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.stages.job import Job


@dataclass(frozen=True)
class SubmittedJob:
    """One job of a submission.

    Attributes:
        task: name of the task.
        job: the cluster's id.
        elements: how many the array has.
        blocks: of the whole array.
        second: whether the job goes on, with more time and memory, after a first array that did not finish.
        server: whether the elements take blocks from a driver, without which they are of no use.
    """

    task: str
    job: str
    elements: int
    blocks: int
    second: bool = False
    server: bool = False


def record_job(progress: Path, run: int, job: SubmittedJob) -> None:
    """Note a job as soon as it is submitted."""
    with _path(progress, run).open("a") as stream:
        stream.write(json.dumps(asdict(job)) + "\n")


def submitted_jobs(progress: Path, run: int | None) -> list[SubmittedJob]:
    """Read the jobs of one run.

    Args:
        progress: the output's folder of records.
        run: number of the driver's run; None before the first.

    Returns:
        The jobs in the order in which they were submitted; none if the run submitted none.

    Raises:
        DamageError: The list cannot be read.
    """
    if run is None:
        return []
    path = _path(progress, run)
    try:
        return [SubmittedJob(**json.loads(line)) for line in path.read_text().splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise DamageError(f"{path} cannot be read ({error})") from error


def independent_jobs(job: Job) -> list[SubmittedJob]:
    """The jobs of the output's latest run that need no driver."""
    progress = job.output.progress
    return [one for one in submitted_jobs(progress.root, progress.driver()) if not one.server]


def _path(progress: Path, run: int) -> Path:
    return progress / f"submission-{run}.jobs.jsonl"
