"""The one exception of this package, so that a caller can show a sentence instead of a traceback, and its remedies."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Similarity (`difflib.SequenceMatcher.ratio`) from which a name is suggested.
SIMILAR = 0.6


class ModelError(ValueError):
    """Something the user gave does not fit the model; the message holds all attributes.

    Attributes:
        field: name of what was given.
        value: what was given.
        expected: what would have been right.
        remedy: what to do about it.
    """

    def __init__(self, field: str, value: object, expected: str, remedy: str) -> None:
        self.field, self.value, self.expected, self.remedy = field, value, expected, remedy
        super().__init__(f"{field}: got {value!r}, expected {expected}; {remedy}")


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the most similar known one; `otherwise` if none is similar."""
    found = difflib.get_close_matches(name, list(known), 1, SIMILAR)
    return f"did you mean {found[0]}?" if found else otherwise
