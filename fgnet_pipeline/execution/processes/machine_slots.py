"""A number of places that processes of one machine share, given back by the kernel when a holder dies."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SHORTEST_WAIT, LONGEST_WAIT = 0.001, 0.02


class Slots:
    """Places, each of them a byte of a file that its holder keeps locked.

    POSIX record locks belong to a process: they end with it, however it ends, and are not inherited. Threads of one
    process share its place.

    Args:
        path: of the file; it is made if there is none.
        count: how many places.
    """

    def __init__(self, path: str, count: int) -> None:
        self.count = count
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._holders = 0
        self._place = 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Wait for a place and keep it for the block of the `with`."""
        with self._lock:
            if self._holders == 0:
                self._place = self._wait()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._place)

    def _wait(self) -> int:
        wait, first = SHORTEST_WAIT, os.getpid() % self.count
        while True:
            for offset in range(self.count):
                place = (first + offset) % self.count
                try:
                    fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                    return place
                except OSError:
                    continue
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
