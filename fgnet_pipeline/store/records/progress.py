"""The folder of done records, failures, fingerprints and the number of the run.

A block is done if and only if its latest record has the key that the plan (`fgnet_pipeline.core.plan`) computes
for it now. Records are appended, one file per worker, without locks; an unfinished last line is skipped. Before a run
overwrites a finished block, it withdraws the block's record by a record without a key.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector
from fgnet_pipeline.store.atomic_files import read_json, write_json
from fgnet_pipeline.store.records.columns import open_record_file
from fgnet_pipeline.store.records.latest import Latest
from fgnet_pipeline.store.records.record import Failure, documents, is_complete, withdrawal
from fgnet_pipeline.store.records.writer import append_lines

LINES_AT_ONCE = 10_000
Signature = tuple[tuple[str, int], ...]


class Progress:
    """The records below `output.path/progress`.

    Args:
        root: that folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def done_files(self, stage: str, label: str = "") -> list[Path]:
        """The files that hold the records of `stage`, of workers with that `label` only, sorted by name."""
        return sorted(self.root.glob(f"{stage}/done-{label}*.jsonl"))

    def records(self, stage: str, label: str = "") -> Iterator[dict[str, Any]]:
        """All records and withdrawals in `done_files` as JSON objects, in no order."""
        for path in self.done_files(stage, label):
            yield from (record for record in _documents_in(path) if is_complete(record))

    def latest(self, stage: str, blocks: Box) -> Latest:
        """The latest record of every block of the index box `blocks`, as arrays: made for millions of blocks."""
        return Latest(self.root / stage, blocks).update()

    def signature(self, stage: str) -> Signature:
        """Names and sizes of the files of records: equal as long as no record of `stage` is added or removed."""
        return tuple((path.name, path.stat().st_size) for path in self.done_files(stage))

    def withdraw(self, stage: str, blocks: Iterable[Vector], run: int, time: float = 0.0) -> None:
        """Withdraw the records of `blocks`.

        Args:
            stage: name of the task.
            blocks: indices, zyx.
            run: records of earlier runs are withdrawn.
            time: seconds since 1970; records of `run` itself are withdrawn if they are older. 0 withdraws none.
        """
        path = self.root / stage / f"done-withdrawn-{run}.jsonl"
        lines = (withdrawal(stage, block, run, time) for block in blocks)
        while batch := list(itertools.islice(lines, LINES_AT_ONCE)):
            append_lines(path, batch)

    def failures(self, stage: str) -> dict[Vector, Failure]:
        """Block -> its latest failure since the last start of a driver."""
        found: dict[Vector, Failure] = {}
        for path in sorted(self.root.glob(f"{stage}/failed-*.jsonl")):
            for line in _documents_in(path):
                z, y, x = line["block"]
                failure = Failure(**(line | {"block": (z, y, x)}))
                if failure.block not in found or found[failure.block].time <= failure.time:
                    found[failure.block] = failure
        return found

    def refuse(self, stage: str, run: int, error: InputError) -> None:
        """Note that a worker of a run cannot begin with `stage`, as far as the disk takes the note."""
        value = error.value if isinstance(error.value, str | int | float | list | None) else str(error.value)
        with contextlib.suppress(OSError):
            write_json(self.root / stage / "refused.json", {**vars(error), "value": value, "run": run})

    def refusal(self, stage: str) -> InputError | None:
        """The latest note of `refuse` in the latest run; None without one."""
        found = read_json(self.root / stage / "refused.json")
        if not isinstance(found, dict) or found["run"] != self.driver():
            return None
        return InputError(found["field"], found["value"], found["expected"], found["remedy"])

    def forget_failures(self) -> None:
        """Remove the failures and refusals of all tasks."""
        for path in itertools.chain(self.root.glob("*/failed-*.jsonl"), self.root.glob("*/refused.json")):
            path.unlink(missing_ok=True)

    def forget(self, stage: str) -> None:
        """Remove every record of `stage`."""
        for path in self.done_files(stage):
            path.unlink(missing_ok=True)

    def fingerprint(self, stage: str) -> dict[str, Any] | None:
        """What the stored results of `stage` were made with; None if it never ran."""
        found = read_json(self.root / stage / "fingerprint.json")
        return found if isinstance(found, dict) else None

    def set_fingerprint(self, stage: str, fingerprint: dict[str, Any]) -> None:
        """Store what the results of `stage` are made with from now on."""
        write_json(self.root / stage / "fingerprint.json", fingerprint)

    def inputs(self, stage: str) -> dict[str, Any] | None:
        """What `set_inputs` noted; None without a note."""
        found = read_json(self.root / stage / "inputs.json")
        return found if isinstance(found, dict) else None

    def set_inputs(self, stage: str, inputs: dict[str, Any]) -> None:
        """Note where the inputs of `stage` lie whose identities its fingerprint has."""
        write_json(self.root / stage / "inputs.json", inputs)

    def set_driver(self) -> int:
        """Announce a new driver; workers of an older one then write nothing more.

        Returns:
            The number of its run, which is larger than that of every run before.
        """
        run = 1 + max([self.driver() or 0, *self._runs_on_record()])
        document = {"run": run, "host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        write_json(self.root / "driver.json", document)
        return run

    def _runs_on_record(self) -> Iterator[int]:
        """The run of the first record of every file, for the case that driver.json was lost."""
        for path in self.root.glob("*/done-*.jsonl"):
            yield next((int(line["run"]) for line in _documents_in(path) if is_complete(line)), 0)

    def driver(self) -> int | None:
        """The number of the latest run; None before the first."""
        document = read_json(self.root / "driver.json")
        return int(document["run"]) if isinstance(document, dict) else None


def _documents_in(path: Path) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError), open_record_file(path) as stream:
        yield from documents(stream)
