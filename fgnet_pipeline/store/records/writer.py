"""Appends the records of one worker to files of its own, so that no two writers share a file and none needs a lock."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from pathlib import Path

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.store.atomic_files import flush_to_disk
from fgnet_pipeline.store.records.record import Failure, Record, to_line

FLUSH_SECONDS = 0.5


class RecordWriter:
    """Appends the records of one worker.

    A record is written only after its data are flushed to disk. This happens in batches in a thread, so that a killed
    worker loses at most the blocks of the last second. Call `close`, or use the writer in a `with`, to flush
    the last batch.

    Args:
        root: the folder `progress` of an output.
        stage: name of the task.
        log: path of the worker's log, which its failures name.
        label: the begin of the names of its files.

    Attributes:
        error: why an earlier batch could not be written; None if all could.
    """

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
        """Queue `record`. It is written once `files`, which hold the data of the block, are on disk.

        Raises:
            OSError: an earlier batch could not be written (full or read-only disk).
        """
        with self._lock:
            if self.error is not None:
                raise self.error
            self._pending.append((record, files))

    def fail(self, stage: str, block: Vector, error: str) -> None:
        """Note that `block` could not be computed because of `error`."""
        failure = Failure(stage, block, error, self._log, time.time())
        with contextlib.suppress(OSError):
            append_lines(self._failed, [to_line(failure)])

    def flush(self) -> None:
        """Flush the data of all queued records to disk, then append the records, then flush the records.

        Raises:
            OSError: the data or the records could not be written.
        """
        with self._lock:
            batch, self._pending = self._pending, []
            if not batch:
                return
            try:
                flush_to_disk({path for _, files in batch for path in files})
                append_lines(self._done, [to_line(record) for record, _ in batch])
            except OSError as error:
                self.error = error
                raise

    def _flush_regularly(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            with contextlib.suppress(OSError):
                self.flush()

    def close(self) -> None:
        """Flush the last batch.

        Raises:
            OSError: a batch could not be written.
        """
        self._closing.set()
        self._flusher.join()
        self.flush()
        if self.error is not None:
            raise self.error

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def append_lines(path: Path, lines: list[str]) -> None:
    """Append whole lines to a file, which is made if it does not exist, and flush them to disk."""
    text = "".join(f"{line}\n" for line in lines).encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            text = b"\n" + text  # or the unfinished line of a killed writer would swallow the first line
        view = memoryview(text)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
