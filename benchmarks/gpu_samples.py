"""What a GPU does while another process uses it: its utilisation and energy, sampled in a thread by NVML.

`predict_stage.py` uses it around a command. The first GPU that NVML counts is sampled, five times a second. Without the
package `nvidia-ml-py` (imported as `pynvml`), a driver or a counter, there are no samples.

Utilisation is the share of NVML's own sampling period (1/6 to 1 second) in which at least one kernel ran. Energy is a
counter of the card, so energy between two points of time is a difference.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Seconds between two samples.
PERIOD = 0.2


@dataclass(frozen=True)
class Sample:
    """One look at the card.

    Attributes:
        time: seconds since 1970.
        busy: per cent, 0 to 100.
        joules: of the counter of energy; None if the card has none.
    """

    time: float
    busy: float
    joules: float | None


class GpuSamples:
    """Samples the first GPU as long as the `with` block runs.

    Attributes:
        samples: in the order of time; none if nothing is exposed.
    """

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> GpuSamples:
        try:
            import pynvml

            pynvml.nvmlInit()
            card = pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception:  # no such package, driver or card: not exposed
            return self
        self._thread = threading.Thread(target=self._sample, args=(pynvml, card), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _sample(self, nvml: Any, card: Any) -> None:
        while True:
            try:
                busy = float(nvml.nvmlDeviceGetUtilizationRates(card).gpu)
            except nvml.NVMLError:
                return
            self.samples.append(Sample(time.time(), busy, _joules(nvml, card)))
            if self._ending.wait(PERIOD):
                return


def _joules(nvml: Any, card: Any) -> float | None:
    try:
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(card)) / 1e3
    except nvml.NVMLError:
        return None


def idle_in_worst_window(samples: list[Sample], begin: float, end: float, width: float = 20.0) -> dict[str, float]:
    """How idle the card was in the worst window between two points of time.

    Args:
        samples: in the order of time.
        begin: seconds since 1970.
        end: seconds since 1970.
        width: seconds of a window; if there are fewer, all of them are one window.

    Returns:
        `idle`: the greatest mean of 1 - utilisation, `at_zero`: the greatest share of samples with a utilisation of 0;
        each in 0..1, and each of its own worst window. Nothing if no sample lies in between.
    """
    inside = [sample for sample in samples if begin <= sample.time <= end]
    if not inside:
        return {}
    times, busy = np.array([s.time for s in inside]), np.array([s.busy for s in inside]) / 100
    firsts = np.flatnonzero(times + width <= end) if width < end - begin else np.zeros(0, int)
    if not firsts.size:
        firsts, width = np.zeros(1, int), end - begin
    windows = [busy[(times >= times[first]) & (times <= times[first] + width)] for first in firsts]
    return {
        "idle": max(float(1 - window.mean()) for window in windows),
        "at_zero": max(float((window == 0).mean()) for window in windows),
    }


def joules_between(samples: list[Sample], begin: float, end: float) -> float | None:
    """Energy that the card used between two points of time.

    Args:
        samples: in the order of time.
        begin: seconds since 1970.
        end: seconds since 1970.

    Returns:
        Joules, interpolated between samples; None if the counter was not read before and after.
    """
    known = [(s.time, s.joules) for s in samples if s.joules is not None]
    if not known or known[0][0] > begin + 2 * PERIOD or known[-1][0] < end - 2 * PERIOD:
        return None
    before, after = np.interp([begin, end], *zip(*known, strict=True))
    return float(after - before)
