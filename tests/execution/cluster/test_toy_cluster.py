"""A cluster of another distribution, by one file: the interface is enough to submit, watch, finish and serve."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from cluster_tools import assert_same_after_prediction, wait_for, write_after_prediction
from installed import install_source
from pipeline_tools import CHECKOUT, Command, Refused, fgnet, state_of

from fgnet_pipeline.execution.cluster.lookup import systems

SOURCE = CHECKOUT / "tests" / "execution" / "cluster" / "toy"
TOY = ("--set", "schedule.cluster=toy")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which the toy is installed, and no other cluster's commands are found."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "jobs").mkdir()
    path = str(Path(sys.executable).parent)
    return {**install_source(SOURCE, folder), "TOY_CLUSTER": str(folder / "jobs"), "PATH": path}


@pytest.fixture
def toy_here(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy is installed in this process, and in those that it starts, until the test ends."""
    for name in ("PYTHONPATH", "TOY_CLUSTER", "PATH"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.syspath_prepend(environment["PYTHONPATH"].split(os.pathsep)[0])
    systems.cache_clear()
    yield
    systems.cache_clear()


def test_there_is_no_such_cluster_if_it_is_not_installed(local: Path, tmp_path: Path, refused: Refused) -> None:
    config = write_after_prediction(tmp_path, local, backend="array")
    said = refused("submit", config, *TOY)
    assert re.search(r"schedule\.cluster = 'toy': expected one of [\w, ]*slurm", said)
    assert not (tmp_path / "out.zarr").exists()


def test_what_is_asked_before_anything_is_written(
    local: Path, tmp_path: Path, toy_here: None, command: Command, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_after_prediction(tmp_path, local, backend="array")
    shown = document(command("submit", config, *TOY, "--dry-run", "--json"))["jobs"]
    assert [job["command"][:-1] for job in shown[:3]] == [
        ["toy"],
        ["toy", "--after-failure-of=FRAGMENTS"],
        ["toy", "--after=FRAGMENTS", "--after=FRAGMENTS-SECOND"],
    ]
    plan = document(command("plan", config, *TOY, "--json"))
    assert {stage["memory_limit_bytes"] for stage in plan["stages"]} == {3 * 2**30}
    monkeypatch.setenv("TOY_CLUSTER", str(tmp_path / "none"))
    assert "TOY_CLUSTER" in refused("submit", config, *TOY)
    assert not (tmp_path / "out.zarr").exists()


def document(done: tuple[object, str, str]) -> dict[str, Any]:
    """What a command printed that succeeded."""
    code, said, told = done
    assert code == 0, told
    return json.loads(said)


def test_submitted_watched_and_finished(
    local: Path, expected: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    config = write_after_prediction(tmp_path, local, backend="array")
    sent = document(command("submit", config, *TOY, "--json"))["jobs"]
    tasks = ["fragments", "fragments", "edges", "agglomerate-0", "lut-0", "relabel", "finish"]
    assert [job["task"] for job in sent] == tasks
    code, _, told = command("submit", config, *TOY)
    assert code == 2
    assert f"$TOY_CLUSTER/{sent[-1]['job']}/cancel" in told

    def status() -> dict[str, Any]:
        return document(command("status", config, *TOY, "--json"))

    wait_for(lambda: not status()["running"], "the jobs to end")
    found = status()
    assert {(job["task"], job["second"]): job["states"] for job in found["jobs"]} == {
        ("fragments", False): {"COMPLETED": 2},
        ("fragments", True): {"CANCELLED": 2},  # it was not needed
        ("edges", False): {"COMPLETED": 1},
        ("agglomerate-0", False): {"COMPLETED": 1},
        ("lut-0", False): {"COMPLETED": 1},
        ("relabel", False): {"COMPLETED": 1},
        ("finish", False): {"COMPLETED": 1},
    }
    assert sum(stage["left"] for stage in found["stages"]) == 0
    assert_same_after_prediction(expected, tmp_path / "out.zarr")
    assert document(command("submit", config, *TOY, "--json"))["jobs"] == []


def test_workers_that_take_blocks_from_a_driver(
    local: Path, expected: Path, tmp_path: Path, environment: dict[str, str], toy_here: None, command: Command
) -> None:
    config = write_after_prediction(tmp_path, local, backend="slurm")
    code, _, said = command("run", config, *TOY)
    assert code == 0, said
    assert_same_after_prediction(expected, tmp_path / "out.zarr")
    logs = state_of(tmp_path / "out.zarr") / "logs"
    jobs = {path: json.loads(path.read_text()) for path in Path(environment["TOY_CLUSTER"]).glob("*/job.json")}
    ours = [
        path.parent for path, (name, folder, *_) in jobs.items() if (name, folder) == ("fgnet-fragments", str(logs))
    ]
    # A fast element may take all blocks before another one starts.
    assert sum(len(list(job.glob("*.state"))) for job in ours) >= 2, "two elements were asked for"
    assert list(logs.glob("fgnet-fragments-*_*.log")), "an element took blocks"


FORBIDDEN = """
    import os, sys

    class NoCluster:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("fgnet_pipeline.execution.cluster"):
                raise ImportError(f"{name} is forbidden here")
            if name == "fgnet_pipeline.stages.edges":
                open(os.path.join(os.environ["SEEN"], str(os.getpid())), "w").close()

    sys.meta_path.insert(0, NoCluster())
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_local_run_passes_through_no_code_of_a_cluster(
    local: Path, expected: Path, tmp_path: Path, environment: dict[str, str], workers: int
) -> None:
    """In the driver, in the process that workers are forked from, and so in workers, none of it can be imported."""
    (tmp_path / "site").mkdir()
    (tmp_path / "seen").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(dedent(FORBIDDEN))
    paths = f"{tmp_path / 'site'}:{environment['PYTHONPATH']}"
    forbidding = {**environment, "PYTHONPATH": paths, "SEEN": str(tmp_path / "seen")}
    config = write_after_prediction(tmp_path, local)
    others = (("status",), ("plan",), ("verify",)) if workers else ()
    for command in (("run", "--workers", workers), *others):
        fgnet(command[0], config, *command[1:], env=forbidding)
        if command[0] == "run":
            seen = len(list((tmp_path / "seen").iterdir()))
            assert seen == (2 if workers else 1), "the processes in which the import is forbidden"
    assert_same_after_prediction(expected, tmp_path / "out.zarr")
    refused = fgnet("submit", config, env=forbidding, check=False)
    assert "is forbidden here" in refused.stderr
