"""Numbers as people read them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

#: Between groups of three digits; it neither breaks a line nor stands for a decimal point anywhere.
_THIN = "\u202f"


def whole(value: float) -> str:
    """A whole number in groups of three digits."""
    return f"{round(value):,}".replace(",", _THIN)


def share(value: float) -> str:
    """A share as per cent."""
    return f"{100 * value:.3g}%" if value < 0.1 else f"{100 * value:.1f}%"


def short(value: float) -> str:
    """A number with three digits."""
    return f"{value:.3g}" if abs(value) < 1000 else whole(value)


def score(value: float) -> str:
    """An affinity, score or threshold in [0, 1]."""
    return f"{value:.4f}"


def memory(size: float) -> str:
    """Bytes with a binary unit."""
    power = min(4, int(math.log2(max(size, 1))) // 10)
    return f"{size / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def date(value: float) -> str:
    """A time in seconds since 1970, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(value))


def voxel(position: Iterable[float]) -> str:
    """A position in voxels, `z, y, x`: the nearest voxel."""
    return ", ".join(str(math.floor(v + 0.5)) for v in position)


def nm(position: Iterable[float] | None) -> str:
    """A position in nm, `z, y, x`."""
    return "-" if position is None else ", ".join(f"{v:.10g}" if v == int(v) else f"{v:.1f}" for v in position)


def plain(value: Any) -> str:
    """A value of the configuration."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(plain(v) for v in value) if isinstance(value, list | tuple) else str(value)
