"""The workers of one task on the nodes of a cluster, for the ``slurm`` backend: elements of job arrays, kept in number.

Elements that end (walltime, lost node, scancel) are replaced while there are blocks left; those that still wait in the
queue when there are none are cancelled, so one that never starts holds up nothing. One thread asks squeue for all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fgnet_pipeline.execution.cluster import slurm

#: How long Slurm may be silent before its elements are given up.
SILENCE_SECONDS = 1800.0
#: How long a new job may be missing from the queue before it counts as ended.
APPEARS_SECONDS = 60.0
#: How long elements may take to write their last records once there are no blocks left.
LEAVING_SECONDS = 120.0


class Elements:
    """Keeps up to ``workers`` elements alive until :meth:`stop`, or until one finds that no blocks are left.

    Args:
        array: gives the job array of a number of elements; its argument says whether they get more memory.
        workers: how many at most. poll_seconds: between two looks at the queue.
        limit: how many elements may end badly, without a block finished in between, before it gives up.
        submitted: told of the id and the number of elements of every job.
    """

    def __init__(
        self,
        array: Callable[[int, bool], slurm.Array],
        workers: int,
        poll_seconds: float,
        limit: int,
        submitted: Callable[[str, slurm.Array], None],
    ) -> None:
        self._array, self._workers, self._poll, self._limit = array, workers, poll_seconds, limit
        self._submitted = submitted
        self._sent: dict[tuple[str, int], float] = {}
        self._ended: dict[tuple[str, int], str] = {}
        self._left = workers
        self._finished = 0
        self._bad = 0
        self._taken = 0.0
        self._more_memory = False
        self._stop = threading.Event()

    def progress(self, finished: int, left: int) -> None:
        """Tell how many blocks are finished and left."""
        if finished > self._finished:
            self._finished, self._bad = finished, 0
        self._left = left

    def stop(self) -> None:
        """Have :meth:`run` cancel what is alive and return."""
        self._stop.set()

    def run(self) -> None:
        """Submit, watch and replace elements.

        Raises:
            SlurmError: too many ended without a block finished, sbatch refused, or Slurm is silent.
        """
        try:
            while not self._stop.is_set() and not self._is_done():
                self._replace()
                self._stop.wait(self._poll)
                self._look()
        finally:
            self._leave()

    def _alive(self) -> list[tuple[str, int]]:
        return [element for element in self._sent if element not in self._ended]

    def _is_done(self) -> bool:
        return "COMPLETED" in self._ended.values()

    def _replace(self) -> None:
        if self._bad > self._limit:
            reasons = ", ".join(sorted({state for state in self._ended.values() if state != "COMPLETED"}))
            raise slurm.SlurmError(f"{self._bad} workers ended without finishing a block ({reasons}); see logs/")
        wanted = min(self._workers, max(1, self._left)) - len(self._alive())
        if wanted > 0:
            self._submit(self._array(wanted, self._more_memory))

    def _submit(self, array: slurm.Array) -> None:
        try:
            job = slurm.submit(array)
        except slurm.SlurmError:
            # The first must be taken; later the controller may be away, and what runs goes on.
            if not self._sent or time.monotonic() - self._taken > SILENCE_SECONDS:
                raise
            return
        self._taken = time.monotonic()
        self._sent.update({(job, index): self._taken for index in range(array.elements)})
        self._submitted(job, array)

    def _look(self) -> None:
        """Ask for the states of all elements; a controller that does not answer is waited for."""
        silent_since = time.monotonic()
        while True:
            try:
                found = {(e.job, e.index): e.state for e in slurm.elements({job for job, _ in self._sent})}
                break
            except slurm.SlurmError:
                if time.monotonic() - silent_since > SILENCE_SECONDS:
                    raise
                if self._stop.wait(self._poll):
                    return
        for element in self._alive():
            state = found.get(element)
            young = time.monotonic() - self._sent[element] < APPEARS_SECONDS
            if state not in slurm.ALIVE and not (state is None and young):
                self._end(element, state or slurm.GONE)

    def _end(self, element: tuple[str, int], state: str) -> None:
        self._ended[element] = state
        self._bad += state != "COMPLETED"
        self._more_memory |= state == "OUT_OF_MEMORY"

    def _leave(self) -> None:
        """Cancel what waits at once; what runs has its last records to write, unless it is told to stop."""
        jobs = sorted({job for job, _ in self._alive()})
        slurm.cancel(jobs, "--state=PENDING")
        give_up = time.monotonic() + LEAVING_SECONDS
        while self._alive() and self._is_done() and not self._stop.is_set() and time.monotonic() < give_up:
            self._stop.wait(min(self._poll, 1.0))
            with suppress(slurm.SlurmError):
                self._look()
        slurm.cancel(sorted({job for job, _ in self._alive()}))
