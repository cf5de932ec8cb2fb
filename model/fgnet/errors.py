"""The one exception of this package, so that a caller can show a sentence instead of a traceback."""

from __future__ import annotations


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
