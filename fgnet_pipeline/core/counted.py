"""Numbers with the word for what they count."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """A number and its thing, in the plural unless there is one: `"1 block"`, `"2 blocks"`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
