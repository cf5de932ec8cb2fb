"""Submitting a configuration to a cluster: what would be sent, what is sent, and waiting for it."""

from __future__ import annotations

import socket
from collections.abc import Callable

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.cluster.interface import Cluster
from fgnet_pipeline.execution.cluster.job_chain import Chain, chain_of, send
from fgnet_pipeline.execution.cluster.job_states import refuse_while_alive, wait
from fgnet_pipeline.execution.cluster.lookup import cluster_of
from fgnet_pipeline.execution.driver import again, all_left, announce, checked, driving, spec_of, summary
from fgnet_pipeline.execution.failures import require_done
from fgnet_pipeline.execution.last_run import announcement
from fgnet_pipeline.execution.resume import finish
from fgnet_pipeline.execution.submitted_jobs import SubmittedJob
from fgnet_pipeline.stages.job import Job


def check(job: Job, names: list[str], redo: str | None) -> None:
    """Ask the cluster whether it would take what is to do; nothing is written.

    Args:
        job: with its plan.
        names: the tasks that are about to run.
        redo: the stage from which on results are to be replaced, or None.

    Raises:
        InputError: The cluster is not installed, does not answer, or refuses something.
    """
    cluster = cluster_of(job.config)
    if job.config.schedule.takes_blocks_from_driver:
        _check_host(cluster)
    cluster.check(_would_be_chain(job, names, redo).arrays)


def planned_chain(
    config: Config,
    stages: tuple[str, ...] | None = None,
    redo: str | None = None,
    report: Callable[[str], None] = lambda _: None,
    small_region: bool = True,
) -> Chain:
    """Make the chain that `submit` would submit, after the same checks; nothing is written.

    A cluster that is not installed here is not asked. See `submit` for the arguments.
    """
    job, names = checked(config, stages, redo, small_region=small_region)
    _announce(job, report)
    if not config.schedule.is_local and cluster_of(config).is_installed():
        check(job, names, redo)
    return _would_be_chain(job, names, redo)


def submit(
    config: Config,
    stages: tuple[str, ...] | None = None,
    redo: str | None = None,
    report: Callable[[str], None] = lambda _: None,
    small_region: bool = True,
) -> tuple[Job, list[SubmittedJob]]:
    """Submit what is not done as a chain of job arrays, and return.

    Args:
        config: a validated configuration.
        stages: names of stages; None: all.
        redo: replace the results of this stage and of all after it.
        report: told in sentences.
        small_region: whether a region of interest that is shorter than the model's context is accepted.

    Returns:
        The job, and the submitted jobs; none if nothing is left.

    Raises:
        InputError: Bad input, or jobs of an earlier submission are still alive; nothing has been written.
        ClusterError: The cluster does not answer, or did not take a job.
    """
    job, names = checked(config, stages, redo, small_region=small_region)
    if not config.schedule.is_local:
        check(job, names, redo)
    _announce(job, report)
    return job, _submit(job, names, redo, report)


def submit_and_wait(job: Job, names: list[str], redo: str | None, report: Callable[[str], None]) -> None:
    """Submit what is not done, and wait until no job is alive; an interrupt leaves the jobs to themselves.

    Raises:
        BlocksFailedError: The records do not say that everything is done.
        ClusterError: The cluster has not answered for half an hour; the jobs go on.
    """
    jobs = _submit(job, names, redo, report)
    if jobs:
        report(f"submitted {len(jobs)} jobs; they go on without this command, and fgnet status shows them")
    require_done(job, names, wait(cluster_of(job.config), jobs, report))


def _announce(job: Job, report: Callable[[str], None]) -> None:
    for sentence in announcement(job):
        report(sentence)


def _check_host(cluster: Cluster) -> None:
    """See that the driver can listen at the address at which workers on the nodes are to reach it."""
    if cluster.host is None:
        return
    try:
        socket.create_server((cluster.host, 0)).close()
    except OSError as error:
        raise InputError(cluster.host_key, cluster.host, f"a name or address of this machine ({error})",
                         "`hostname -I` lists its addresses") from error  # fmt: skip


def _would_be_chain(job: Job, names: list[str], redo: str | None) -> Chain:
    todo = {name: bits for name, bits in again(job, names, redo).items() if bits.any()}
    return chain_of(job, spec_of(job, 1 + (job.output.progress.driver() or 0)), todo)


def _submit(job: Job, names: list[str], redo: str | None, report: Callable[[str], None]) -> list[SubmittedJob]:
    refuse_while_alive(job)
    with driving(job, names, redo):
        remaining = all_left(job, names)
        report(summary(remaining))
        if not any(state.todo.any() for state in remaining.values()):
            finish(job)
            return []
        work = announce(job, remaining)
        return send(chain_of(job, work.spec, work.todo), job)
