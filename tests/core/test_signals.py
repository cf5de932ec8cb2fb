"""Flags that handlers of signals set."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

from fgnet_pipeline.core.signals import stop_on_signal


def test_a_second_signal_at_every_line_of_the_first_handler_ends() -> None:
    """Of whatever the handler runs, each line is interrupted by the same signal: none may hold a lock meanwhile."""
    sent = 0

    def again(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal sent
        if event == "line" and sent < 20:
            sent += 1
            signal.raise_signal(signal.SIGUSR1)
        return again

    with stop_on_signal(signal.SIGUSR1) as stop:
        assert not stop.is_set()
        former = sys.gettrace()
        sys.settrace(again)
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            sys.settrace(former)
        assert stop.is_set() and sent > 0
