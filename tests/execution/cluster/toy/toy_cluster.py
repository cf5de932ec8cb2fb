"""A cluster of one machine: elements are processes, jobs are folders below the folder that TOY_CLUSTER names."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from fgnet_pipeline.core.cluster_config import ClusterTables
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.cluster.interface import (
    After,
    Cluster,
    ClusterError,
    ClusterSystem,
    Element,
    JobArray,
    Request,
    State,
)

POLL_SECONDS = 0.1


class ToyCluster(Cluster):
    """Every job has a keeper, a process that waits for the job's conditions and runs its elements one by one."""

    name = "toy"
    title = "The toy"
    watch_command = "ls $TOY_CLUSTER"
    host_key = "TOY_HOST"
    memory_key = "TOY_MEMORY"
    missing = "TOY_CLUSTER is not set"
    host = "127.0.0.1"
    poll_seconds = 0.5

    def __init__(self, schedule: ClusterTables) -> None:
        self._root = Path(os.environ.get("TOY_CLUSTER", "nowhere"))

    def is_installed(self) -> bool:
        return self._root.is_dir()

    def grows(self, stage: str) -> bool:
        return stage == "fragments"

    def memory_limit(self, stage: str) -> int | None:
        return 3 * 2**30

    def build(self, request: Request) -> JobArray:
        words = [sys.executable, "-m", "fgnet_pipeline", *request.words]
        script = f"# {request.comment}\nexec {shlex.join(words)}\n"
        return JobArray(request.name, request.elements, "TOY", (str(request.logs),), script)

    def check(self, arrays: Iterable[JobArray]) -> None:
        if list(arrays) and not self.is_installed():
            raise InputError("TOY_CLUSTER", str(self._root), "a folder", "make it")

    def command(self, array: JobArray, after: Sequence[After] = ()) -> list[str]:
        return ["toy", *(f"--{'after' if one.ok else 'after-failure-of'}={one.job}" for one in after), *array.arguments]

    def submit(self, array: JobArray, after: Sequence[After] = ()) -> str:
        try:
            job = str(len(list(self._root.iterdir())))
            folder = self._root / job
            folder.mkdir()
        except OSError as error:
            raise ClusterError(f"the toy is broken: {error}") from error
        conditions = [(one.job, one.ok) for one in after]
        (folder / "job.json").write_text(json.dumps([array.name, array.arguments[0], array.script, conditions]))
        for index in range(array.elements):
            _write(folder / f"{index}.state", State.PENDING)
        with (folder / "keeper.log").open("w") as log:
            command = [sys.executable, __file__, str(folder)]
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return job

    def states(self, jobs: Iterable[str], remembered: bool = False) -> list[Element]:
        return [element for job in jobs for element in _elements(self._root / job)]

    def cancel(self, jobs: Sequence[str], waiting_only: bool = False) -> None:
        for job in jobs:
            (self._root / job / ("cancel-waiting" if waiting_only else "cancel")).touch()

    def own_number(self) -> int | None:
        return int(os.environ["TOY_ELEMENT"]) if "TOY_ELEMENT" in os.environ else None

    def own_log(self, logs: Path) -> str:
        return os.environ.get("TOY_LOG", "")

    def how_to_end(self, jobs: Sequence[str]) -> str:
        return f"touch {' '.join(f'$TOY_CLUSTER/{job}/cancel' for job in jobs)}"


CLUSTER = ClusterSystem(ToyCluster.name, ToyCluster)


def _write(path: Path, state: State) -> None:
    """Write whole or not at all: others read at any time."""
    partial = path.with_suffix(".partial")
    partial.write_text(state)
    partial.rename(path)


def _elements(folder: Path) -> list[Element]:
    files = sorted(folder.glob("*.state"), key=lambda path: int(path.stem))
    return [Element(folder.name, int(path.stem), State(path.read_text())) for path in files]


def _may_start(folder: Path, conditions: list[tuple[str, bool]]) -> bool | None:
    """Whether one of the conditions holds; None if it is not known yet."""
    ended = []
    for job, ok in conditions:
        states = [element.state for element in _elements(folder.parent / job)]
        ended.append(not any(state.alive for state in states))
        if ended[-1] and all(state is State.DONE for state in states) == ok:
            return True
    return None if not all(ended) else not conditions


def keep(folder: Path) -> None:
    """The body of a keeper."""
    name, logs, script, conditions = json.loads((folder / "job.json").read_text())
    while (start := _may_start(folder, conditions)) is None and not (folder / "cancel").exists():
        time.sleep(POLL_SECONDS)
    for element in _elements(folder):
        path = folder / f"{element.index}.state"
        if not start or any((folder / word).exists() for word in ("cancel", "cancel-waiting")):
            _write(path, State.CANCELLED)
            continue
        _write(path, State.RUNNING)
        log = f"{logs}/{name}-{folder.name}_{element.index}.log"
        environment = {**os.environ, "TOY_ELEMENT": str(element.index), "TOY_LOG": log}
        with open(log, "w") as stream:
            process = subprocess.Popen(["/bin/sh", "-c", script], env=environment, stdout=stream, stderr=stream)
        while process.poll() is None:
            if (folder / "cancel").exists():
                process.terminate()
            time.sleep(POLL_SECONDS)
        cancelled = (folder / "cancel").exists()
        _write(path, State.CANCELLED if cancelled else State.FAILED if process.returncode else State.DONE)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
