"""Lanes: threads of one worker that take blocks at the same time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from fgnet_pipeline.execution.processes.interrupt import Terminated


def serve_in_lanes(serve: Callable[[], None], count: int) -> None:
    """Run `serve` in this thread and in `count` - 1 more, until all have come back."""
    threads = [threading.Thread(target=serve) for _ in range(count - 1)]
    for thread in threads:
        thread.start()
    try:
        serve()
    finally:
        if not isinstance(sys.exception(), Terminated):  # which leaves no time for blocks of other lanes
            for thread in threads:
                thread.join()
