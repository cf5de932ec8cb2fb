"""Done records: which blocks are finished, append-only, one file a worker, no locks.

A record is one JSON line. It is written only after what it vouches for has been flushed to disk; flushing happens in
batches, so a killed worker loses at most the last second of finished blocks. A torn last line is passed over.
A block is done iff its latest record carries the key that the plan computes for it now (see ``plan.py``). Latest is by
the number of the run, which every driver raises by one, so that no clock can change it. Before a run overwrites a
finished block, it withdraws the block's record with one that has no key.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.geometry import Box, Vector
from fgnet_pipeline.store.atomic_files import flush_to_disk, read_json, write_json
from fgnet_pipeline.store.records.columns import documents
from fgnet_pipeline.store.records.latest import Latest

FLUSH_SECONDS = 0.5
LINES_AT_ONCE = 10_000
Signature = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What was done: ``read`` is the clipped read region (voxels), ``key`` the identity of region, inputs and stage."""

    stage: str
    block: Vector
    read: list[list[int]]
    key: str
    inputs: str
    checksum: str
    nonzero: int
    voxels: int
    seconds: float
    finished: float
    host: str
    peak_memory: int
    run: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A block that raised: the tail of its traceback and the log that holds the rest."""

    stage: str
    block: Vector
    error: str
    log: str
    time: float


class Progress:
    """The records below ``output.path/progress``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def records(self, stage: str, label: str = "") -> Iterator[dict[str, Any]]:
        """All records of ``stage`` (of workers with that ``label``), in no order; a torn line is passed over."""
        for path in sorted(self.root.glob(f"{stage}/done-{label}*.jsonl")):
            yield from (record for record in _lines(path) if is_complete(record))

    def latest(self, stage: str, blocks: Box) -> Latest:
        """The latest record of every block of the index box ``blocks``, for millions of them."""
        return Latest(self.root / stage, blocks).update()

    def signature(self, stage: str) -> Signature:
        """Equal as long as no record of ``stage`` has been added or dropped: names and sizes of its files."""
        return tuple((path.name, path.stat().st_size) for path in sorted(self.root.glob(f"{stage}/done-*.jsonl")))

    def withdraw(self, stage: str, blocks: Iterable[Vector], run: int, time: float = 0.0) -> None:
        """Withdraw the records of ``blocks`` that runs up to ``run`` wrote before ``time`` (of this run: none)."""
        path = self.root / stage / f"done-withdrawn-{run}.jsonl"
        lines = (json.dumps({"stage": stage, "block": b, "key": "", "run": run, "finished": time}) for b in blocks)
        while batch := list(itertools.islice(lines, LINES_AT_ONCE)):
            _append(path, batch)

    def failures(self, stage: str) -> dict[Vector, Failure]:
        """Block -> its latest failure since the last start of a driver."""
        found: dict[Vector, Failure] = {}
        for path in sorted(self.root.glob(f"{stage}/failed-*.jsonl")):
            for line in _lines(path):
                z, y, x = line["block"]
                failure = Failure(**(line | {"block": (z, y, x)}))
                if failure.block not in found or found[failure.block].time <= failure.time:
                    found[failure.block] = failure
        return found

    def forget_failures(self) -> None:
        for path in self.root.glob("*/failed-*.jsonl"):
            path.unlink(missing_ok=True)

    def forget(self, stage: str) -> None:
        """Drop every record of ``stage``."""
        for path in self.root.glob(f"{stage}/done-*.jsonl"):
            path.unlink(missing_ok=True)

    def fingerprint(self, stage: str) -> dict[str, Any] | None:
        """What the stored results of ``stage`` were made with; None where it never ran."""
        found = read_json(self.root / stage / "fingerprint.json")
        return found if isinstance(found, dict) else None

    def set_fingerprint(self, stage: str, fingerprint: dict[str, Any]) -> None:
        write_json(self.root / stage / "fingerprint.json", fingerprint)

    def set_driver(self) -> int:
        """Announce a new driver; workers of an older one then write nothing more. Returns the number of its run."""
        run = 1 + max([self.driver() or 0, *self._runs_on_record()])
        document = {"run": run, "host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        write_json(self.root / "driver.json", document)
        return run

    def _runs_on_record(self) -> Iterator[int]:
        """The first record of every file, in case that driver.json was lost."""
        for path in self.root.glob("*/done-*.jsonl"):
            yield next((int(line["run"]) for line in _lines(path) if is_complete(line)), 0)

    def driver(self) -> int | None:
        """The number of the latest run."""
        document = read_json(self.root / "driver.json")
        return int(document["run"]) if isinstance(document, dict) else None


def is_complete(document: Any) -> bool:
    """Whether a line has what a record, or the withdrawal of one, is read for: a flipped byte may still be JSON."""
    if not isinstance(document, dict) or not isinstance(document.get("block"), list) or len(document["block"]) != 3:
        return False
    numbers = [*document["block"], document.get("run"), document.get("finished")]
    return isinstance(document.get("key"), str) and all(isinstance(n, int | float) for n in numbers)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
        yield from documents(stream)


class RecordWriter:
    """Appends the records of one worker; call :meth:`close` (or use as a context manager) to flush the last."""

    def __init__(self, root: Path, stage: str, log: str, label: str = "") -> None:
        folder = root / stage
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{label}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._done, self._failed, self._log = folder / f"done-{name}", folder / f"failed-{name}", log
        self._pending: list[tuple[Record, list[Path]]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._flusher = threading.Thread(target=self._flush_regularly, daemon=True)
        self._flusher.start()
        self.error: OSError | None = None

    def add(self, record: Record, files: list[Path]) -> None:
        """Queue ``record``; it is written once ``files`` are on disk.

        Raises:
            OSError: an earlier batch could not be written (full or read-only disk).
        """
        with self._lock:
            if self.error is not None:
                raise self.error
            self._pending.append((record, files))

    def fail(self, stage: str, block: Vector, error: str) -> None:
        """Note that ``block`` raised ``error``."""
        failure = Failure(stage, block, error, self._log, time.time())
        with contextlib.suppress(OSError):
            _append(self._failed, [json.dumps(asdict(failure))])

    def flush(self) -> None:
        """Flush the data of all queued records to disk, then append the records, then flush these."""
        with self._lock:
            batch, self._pending = self._pending, []
            if not batch:
                return
            try:
                flush_to_disk({path for _, files in batch for path in files})
                _append(self._done, [json.dumps(asdict(record)) for record, _ in batch])
            except OSError as error:
                self.error = error
                raise

    def _flush_regularly(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            with contextlib.suppress(OSError):
                self.flush()

    def close(self) -> None:
        self._closing.set()
        self._flusher.join()
        self.flush()
        if self.error is not None:
            raise self.error

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _append(path: Path, lines: list[str]) -> None:
    """Append whole lines with one write and flush them."""
    text = "".join(f"{line}\n" for line in lines).encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            text = b"\n" + text  # what a killed writer began must not swallow the first line
        view = memoryview(text)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
