"""Text for people: numbers of bytes with a unit."""

from __future__ import annotations


def readable(size: float) -> str:
    """Format a number of bytes with a binary unit, e.g. `8 GiB`."""
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1000:
            return f"{size:.3g} {unit}"
    return f"{size / 1024:.1f} TiB"
