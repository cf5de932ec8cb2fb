"""An output is not written to while submitted jobs work on it. Code of a cluster is imported only if there are jobs."""

from __future__ import annotations

from contextlib import suppress

from fgnet_pipeline.execution.submitted_jobs import independent_jobs
from fgnet_pipeline.stages.job import Job


def refuse_while_submitted(job: Job) -> None:
    """Refuse to write to an output while jobs of its latest run are queued or running.

    A cluster that does not answer is passed over: its jobs see that a newer run has begun, and stop unharmed.

    Raises:
        InputError: There are such jobs; the sentence names them.
    """
    if not independent_jobs(job):
        return
    from fgnet_pipeline.execution.cluster.interface import ClusterError
    from fgnet_pipeline.execution.cluster.job_states import refuse_while_alive

    with suppress(ClusterError):
        refuse_while_alive(job)
