"""Durations as people read them."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86400
#: Seconds below which a tenth of a second is shown, and below which the seconds beside minutes are.
TENTHS_BELOW, SECONDS_BELOW = 9.95, 600


def duration(seconds: float) -> str:
    """Format a duration, e.g. `4.2 s`, `45 s`, `1 min 30 s`, `12 min`, `3 h 20 min` or `5 days 4 h`.

    Args:
        seconds: at least 0. JSON documents hold this number itself.
    """
    if seconds < TENTHS_BELOW:
        return f"{seconds:.1f} s" if seconds else "0 s"
    if round(seconds) < MINUTE:
        return f"{round(seconds)} s"
    if round(seconds) < SECONDS_BELOW:
        return _two(round(seconds), MINUTE, "min", "s")
    if (minutes := round(seconds / MINUTE)) < DAY // MINUTE:
        return _two(minutes, HOUR // MINUTE, "h", "min")
    hours = round(seconds / HOUR)
    return _two(hours, DAY // HOUR, "day" if hours < 2 * DAY // HOUR else "days", "h")


def _two(count: int, size: int, large: str, small: str) -> str:
    """A count of small units as large and small ones; a unit of which there is none is left out."""
    parts = zip(divmod(count, size), (large, small), strict=True)
    return " ".join(f"{number} {unit}" for number, unit in parts if number)
