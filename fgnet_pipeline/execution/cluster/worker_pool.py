"""The workers of one task on the nodes of a cluster that take blocks from a driver, kept in number.

The workers are elements of job arrays. Elements that end (walltime, lost node, cancelled) are replaced while there are
blocks left. Elements that still wait in the queue when no block is left are cancelled, so an element that never starts
holds up nothing. One thread asks the cluster about all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fgnet_pipeline.execution.cluster.interface import Cluster, ClusterError, JobArray, State
from fgnet_pipeline.execution.cluster.job_states import SILENCE_SECONDS

#: How long (s) a new job may be missing from the queue before it counts as ended.
APPEARS_SECONDS = 60.0
#: How long (s) elements may take to write their last records once there are no blocks left.
LEAVING_SECONDS = 120.0


class Elements:
    """Keeps up to `workers` elements alive until `stop`, or until one finds that no blocks are left.

    Args:
        cluster: that runs them.
        array: gives the job array of a number of elements; its second argument says whether they get more memory.
        workers: how many elements at most.
        limit: how many elements may end badly, without a block finished in between, before it gives up.
        submitted: told of the id and the array of every job.
    """

    def __init__(
        self,
        cluster: Cluster,
        array: Callable[[int, bool], JobArray],
        workers: int,
        limit: int,
        submitted: Callable[[str, JobArray], None],
    ) -> None:
        self._cluster, self._array, self._workers, self._limit = cluster, array, workers, limit
        self._submitted = submitted
        self._sent: dict[tuple[str, int], float] = {}
        self._ended: dict[tuple[str, int], State] = {}
        self._left = workers
        self._finished = 0
        self._bad = 0
        self._taken = 0.0
        self._more_memory = False
        self._stop = threading.Event()

    def progress(self, finished: int, left: int) -> None:
        """Take note of how many blocks are finished and left."""
        if finished > self._finished:
            self._finished, self._bad = finished, 0
        self._left = left

    def stop(self) -> None:
        """Have `run` cancel what is alive and return."""
        self._stop.set()

    def run(self) -> None:
        """Submit, watch and replace elements.

        Raises:
            ClusterError: Too many ended without a block finished, the cluster did not take one, or it is silent.
        """
        try:
            while not self._stop.is_set() and not self._is_done():
                self._replace()
                self._stop.wait(self._cluster.poll_seconds)
                self._look()
        finally:
            self._leave()

    def _alive(self) -> list[tuple[str, int]]:
        return [element for element in self._sent if element not in self._ended]

    def _is_done(self) -> bool:
        """Whether an element has ended well, which it does once no blocks are left."""
        return State.DONE in self._ended.values()

    def _replace(self) -> None:
        if self._bad > self._limit:
            reasons = ", ".join(sorted({state for state in self._ended.values() if state is not State.DONE}))
            raise ClusterError(f"{self._bad} workers ended without finishing a block ({reasons}); see logs/")
        wanted = min(self._workers, max(1, self._left)) - len(self._alive())
        if wanted > 0:
            self._submit(self._array(wanted, self._more_memory))

    def _submit(self, array: JobArray) -> None:
        try:
            job = self._cluster.submit(array)
        except ClusterError:
            # The first must be taken; later the controller may be away, and what runs goes on.
            if not self._sent or time.monotonic() - self._taken > SILENCE_SECONDS:
                raise
            return
        self._taken = time.monotonic()
        self._sent.update({(job, index): self._taken for index in range(array.elements)})
        self._submitted(job, array)

    def _look(self) -> None:
        """Ask for the states of all elements; a cluster that does not answer is waited for."""
        silent_since = time.monotonic()
        while True:
            try:
                found = {(e.job, e.index): e.state for e in self._cluster.states({job for job, _ in self._sent})}
                break
            except ClusterError:
                if time.monotonic() - silent_since > SILENCE_SECONDS:
                    raise
                if self._stop.wait(self._cluster.poll_seconds):
                    return
        for element in self._alive():
            state = found.get(element)
            young = time.monotonic() - self._sent[element] < APPEARS_SECONDS
            if not (young if state is None else state.alive):
                self._end(element, state or State.GONE)

    def _end(self, element: tuple[str, int], state: State) -> None:
        self._ended[element] = state
        self._bad += state is not State.DONE
        self._more_memory |= state is State.OUT_OF_MEMORY

    def _leave(self) -> None:
        """Cancel what waits at once; what runs has its last records to write, unless it is told to stop."""
        self._cluster.cancel(self._jobs_alive(), waiting_only=True)
        give_up = time.monotonic() + LEAVING_SECONDS
        while self._alive() and self._is_done() and not self._stop.is_set() and time.monotonic() < give_up:
            self._stop.wait(min(self._cluster.poll_seconds, 1.0))
            with suppress(ClusterError):
                self._look()
        self._cluster.cancel(self._jobs_alive())

    def _jobs_alive(self) -> list[str]:
        return sorted({job for job, _ in self._alive()})
