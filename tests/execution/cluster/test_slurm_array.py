"""Job arrays on a real Slurm: whatever happens to them, submitting again ends in the bytes of a local run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_tools import (
    BLOCKS,
    SLOW_CONTEXT,
    assert_same_after_prediction,
    wait_for,
    write_after_prediction,
)
from pipeline_tools import assert_same_output, fgnet, records, standard_config, state_of
from slurm_cluster import Cluster

from fgnet_pipeline.core.cluster_config import ClusterTables
from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.cluster.job_states import JobState
from fgnet_pipeline.execution.cluster.job_states import job_states as states_of
from fgnet_pipeline.execution.cluster.slurm import SlurmCluster
from fgnet_pipeline.execution.cluster.submit import submit
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.execution.submitted_jobs import SubmittedJob
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.records.progress import Progress


def from_affinities(folder: Path, local: Path, *overrides: str) -> Config:
    """Everything after prediction, as job arrays."""
    path = write_after_prediction(folder, local, backend="array")
    return load_config(path, ["schedule.slurm.poll_seconds=0.5", *overrides])


def job_states(jobs: list[SubmittedJob]) -> list[JobState]:
    """The states of jobs, as Slurm knows them."""
    return states_of(SlurmCluster(ClusterTables()), jobs)


def wait_for_end(jobs: list[SubmittedJob]) -> None:
    wait_for(lambda: not any(state.alive for state in job_states(jobs)), "the jobs to end")


def stopped_worker(out: Path, share: int) -> int:
    """Wait until the worker of a share of fragments has recorded something, and stop it in its tracks."""
    files = state_of(out) / "progress" / "fragments"
    wait_for(lambda: share_of(out, share), f"records of share {share}")
    pid = int(next(files.glob(f"done-run*-share{share}-*")).stem.rsplit("-", 2)[1])
    os.kill(pid, signal.SIGSTOP)
    return pid


def keep_stopped(pid: int) -> None:
    """As a block that takes longer than the walltime: the worker gets no time to heed a signal but SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.02)


def share_of(out: Path, share: int) -> list[tuple[int, ...]]:
    found = []
    for path in (state_of(out) / "progress" / "fragments").glob(f"done-run*-share{share}-*"):
        whole_lines = path.read_text().split("\n")[:-1]
        found += [tuple(json.loads(line)["block"]) for line in whole_lines]
    return found


@pytest.fixture(scope="module", autouse=True)
def ends_at_the_walltime(cluster: Cluster, local: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    """A chain whose first element is stopped mid-share until its walltime ends, while other tests run."""
    folder = tmp_path_factory.mktemp("walltime")
    overrides = ["schedule.slurm.fragments.time=1", "schedule.slurm.grow=10", "schedule.slurm.signal_seconds=1"]
    config = from_affinities(folder, local, *overrides, "schedule.workers=1")
    _, jobs = submit(config)
    pid = stopped_worker(folder / "out.zarr", 0)
    threading.Thread(target=keep_stopped, args=(pid,), daemon=True).start()
    yield folder / "out.zarr", jobs


def test_array_from_raw_equals_local(cluster: Cluster, local: Path, tmp_path: Path) -> None:
    raw = local.parent / "raw.zarr"
    config = standard_config(tmp_path, str(raw), block_shape=[16, 16, 16], backend="array", workers=1)
    options = [
        "--set",
        "agglomerate.leaf_blocks=8",
        "--set",
        f"fragments.context={SLOW_CONTEXT}",
        "--set",
        "schedule.slurm.poll_seconds=0.5",
    ]
    sent = json.loads(fgnet("submit", config, *options, "--json").stdout)
    assert [job["task"] for job in sent["jobs"]] == [
        "predict", "fragments", "edges", "agglomerate-0", "lut-0", "relabel", "finish"
    ]  # fmt: skip
    jobs = [SubmittedJob(**job) for job in sent["jobs"]]
    wait_for_end(jobs)
    assert all(state.states == {"COMPLETED": 1} for state in job_states(jobs))
    assert_same_output(local, tmp_path / "out.zarr")
    assert json.loads(fgnet("submit", config, *options, "--json").stdout)["jobs"] == []


def test_held_requeued_and_without_a_controller(cluster: Cluster, local: Path, expected: Path, tmp_path: Path) -> None:
    config, out = from_affinities(tmp_path, local), tmp_path / "out.zarr"
    _, jobs = submit(config)
    fragments, edges = jobs[0].job, jobs[1].job
    cluster.command("scontrol", "hold", edges)
    stopped_worker(out, 0)
    before = set(share_of(out, 0))
    other = stopped_worker(out, 1)
    cluster.command("scontrol", "requeue", f"{fragments}_0")
    cluster.wait_for_state(edges, "PENDING")
    held = [reason for state in job_states(jobs) for reason in state.reasons]
    assert held in (["waits: JobHeldUser"], ["waits: JobHeldAdmin"])  # the latter where root holds it
    with pytest.raises(InputError, match=f"scancel .*{edges}"):
        submit(config)
    with pytest.raises(InputError, match="still queued or running"):
        run(from_affinities(tmp_path, local, "schedule.backend=local"))
    cluster.kill_controller()
    os.kill(other, signal.SIGCONT)
    wait_for(lambda: len(set(share_of(out, 1))) == BLOCKS // 2, "the other element, which needs no controller")
    cluster.start_controller()
    cluster.command("scontrol", "release", edges)
    cluster.wait_for_state(f"{fragments}_0", "PENDING")
    cluster.command("scontrol", "update", f"JobId={fragments}_0", "StartTime=now")  # and not after two minutes
    wait_for_end(jobs)
    # A controller that dies may forget the requeue; what is left then can be done by any backend.
    run(from_affinities(tmp_path, local, "schedule.backend=local", "schedule.workers=0"))
    blocks = [tuple(r["block"]) for r in records(out, "fragments")]
    assert before and len(blocks) == len(set(blocks)) == BLOCKS, "what was recorded is not computed again"
    assert_same_after_prediction(expected, out)


def test_scancel_stops_cleanly_and_a_second_submission_does_what_is_left(
    cluster: Cluster, local: Path, expected: Path, tmp_path: Path
) -> None:
    config, out = from_affinities(tmp_path, local), tmp_path / "out.zarr"
    _, jobs = submit(config)
    stopped_worker(out, 0)
    cluster.command("scancel", f"{jobs[0].job}_0")
    wait_for_end(jobs)
    states = {state.task: state for state in job_states(jobs)}
    assert states["fragments"].states["CANCELLED"] == 1 and states["fragments"].reasons == ("cancelled",)
    assert states["edges"].states == {"CANCELLED": 1} and states["edges"].reasons == ()
    done = {tuple(r["block"]) for r in records(out, "fragments")}
    assert len(done) < BLOCKS
    run(config)
    again = [tuple(r["block"]) for r in records(out, "fragments")]
    assert len(again) == len(set(again)) == BLOCKS, "what was finished is not computed again"
    assert_same_after_prediction(expected, out)


def test_a_block_that_fails_is_named(cluster: Cluster, local: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(local / "affinities", tmp_path / "affinities")
    chunk = tmp_path / "affinities" / "c" / "0" / "2" / "1" / "1"
    assert chunk.exists()
    config = from_affinities(tmp_path, tmp_path, "schedule.workers=1", "schedule.retries=0")
    _, jobs = submit(config)
    cluster.command("scontrol", "hold", jobs[0].job)
    chunk.write_bytes(b"damage")  # after the checks, which read so small a volume whole
    cluster.command("scontrol", "release", jobs[0].job)
    wait_for_end(jobs)
    assert "ended with an error" in next(state for state in job_states(jobs) if state.task == "fragments").reasons[0]
    failures = Progress(state_of(tmp_path / "out.zarr") / "progress").failures("fragments")
    assert failures and all("checksum do not match" in Path(failure.log).read_text() for failure in failures.values())


def test_walltime_that_ends_mid_share(cluster: Cluster, expected: Path, ends_at_the_walltime: tuple) -> None:
    out, jobs = ends_at_the_walltime
    second = jobs[1]
    assert second.second and second.task == "fragments"
    wait_for_end(jobs)
    states = {(state.task, state.second): state for state in job_states(jobs)}
    assert states["fragments", False].states == {"TIMEOUT": 1}
    assert "walltime exceeded" in states["fragments", False].reasons[0]
    assert states["fragments", True].states == {"COMPLETED": 1}
    assert "TimeLimit=00:10:00" in cluster.command("scontrol", "show", "job", second.job)
    blocks = share_of(out, 0)
    assert len(blocks) == len(set(blocks)) == BLOCKS
    assert_same_after_prediction(expected, out)
