"""The slurm backend on a real Slurm: a driver with daisy's server, workers that connect back from job arrays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_tools import (
    BLOCKS,
    PATIENCE,
    assert_same_after_prediction,
    wait_for,
    write_after_prediction,
)
from pipeline_tools import records, state_of
from slurm_cluster import Cluster

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.execution.submitted_jobs import submitted_jobs
from fgnet_pipeline.stages.configuration import load_config


def configured(folder: Path, local: Path) -> Path:
    path = write_after_prediction(folder, local, backend="slurm")
    path.write_text(path.read_text() + '[schedule.slurm]\nhost = "127.0.0.1"\npoll_seconds = 0.5\n')
    return path


@pytest.fixture
def driver(cluster: Cluster, local: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A driver in a process of its own, killed at the end."""
    command = [sys.executable, "-m", "fgnet_pipeline", "run", str(configured(tmp_path, local))]
    with (tmp_path / "driver.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


def goes_on(process: subprocess.Popen[bytes]) -> Callable[[], bool]:
    return lambda: process.poll() is None


def workers_of(out: Path) -> list[int]:
    files = (state_of(out) / "progress" / "fragments").glob("done-*-*-*.jsonl")
    return [int(path.stem.rsplit("-", 2)[1]) for path in files]


def signal_all(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def jobs_of(out: Path) -> list[str]:
    return [job.job for job in submitted_jobs(state_of(out) / "progress", 1)]


def test_a_cancelled_worker_is_replaced_and_one_that_never_starts_holds_up_nothing(
    cluster: Cluster, expected: Path, tmp_path: Path, driver: subprocess.Popen[bytes]
) -> None:
    out = tmp_path / "out.zarr"
    wait_for(lambda: jobs_of(out), "the first job", goes_on(driver))
    first = jobs_of(out)[0]
    # Both stand still until the replacement is held, or they would have finished the stage before.
    for count in (1, 2):
        # On a busy machine both may have begun between two looks.
        wait_for(lambda count=count: len(workers_of(out)) >= count, "a worker's records", goes_on(driver))
        signal_all(workers_of(out), signal.SIGSTOP)
    cluster.command("scontrol", "update", "NodeName=" + cluster.host, "State=DRAIN", "Reason=test")
    cluster.command("scancel", f"{first}_0")
    wait_for(lambda: len(jobs_of(out)) > 1, "a replacement", goes_on(driver))
    held = jobs_of(out)[1]
    cluster.command("scontrol", "hold", held)
    cluster.command("scontrol", "update", "NodeName=" + cluster.host, "State=RESUME")
    signal_all(workers_of(out), signal.SIGCONT)
    assert driver.wait(PATIENCE) == 0, (tmp_path / "driver.log").read_text()
    assert cluster.state(held) == "CANCELLED"
    assert_same_after_prediction(expected, out)


def test_a_driver_that_is_asked_to_stop_cancels_its_workers(
    cluster: Cluster, expected: Path, tmp_path: Path, driver: subprocess.Popen[bytes]
) -> None:
    out = tmp_path / "out.zarr"
    wait_for(lambda: workers_of(out), "a worker's records", goes_on(driver))
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(PATIENCE) == 130
    wait_for(lambda: not cluster.command("squeue", "--noheader", f"--jobs={jobs_of(out)[0]}").strip(), "an empty queue")
    before = len(records(out, "fragments"))
    assert 0 < before < BLOCKS
    run(local_again(tmp_path))
    assert len(records(out, "fragments")) == BLOCKS
    assert_same_after_prediction(expected, out)


def test_a_killed_driver_and_a_controller_that_is_away(
    cluster: Cluster, expected: Path, tmp_path: Path, driver: subprocess.Popen[bytes]
) -> None:
    out = tmp_path / "out.zarr"
    wait_for(lambda: workers_of(out), "a worker's records", goes_on(driver))
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    again = subprocess.Popen([sys.executable, "-m", "fgnet_pipeline", "run", str(tmp_path / "config.toml")])
    try:
        wait_for(lambda: submitted_jobs(state_of(out) / "progress", 2), "jobs of the second driver", goes_on(again))
        again.send_signal(signal.SIGSTOP)  # or it would submit more while the controller's state is saved
        cluster.kill_controller()
        again.send_signal(signal.SIGCONT)
        time.sleep(2)  # some looks at a queue that does not answer
        cluster.start_controller()
        assert again.wait(PATIENCE) == 0
    finally:
        again.kill()
        again.wait()
    found = [tuple(record["block"]) for record in records(out, "fragments")]
    assert set(found) == {tuple(record["block"]) for record in records(expected, "fragments")}
    assert_same_after_prediction(expected, out)


def local_again(folder: Path) -> Config:
    return load_config(folder / "config.toml", ["schedule.backend=local", "schedule.workers=0"])
