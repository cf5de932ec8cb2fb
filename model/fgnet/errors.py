"""The one exception of this package, so that a caller can show a sentence instead of a traceback."""

from __future__ import annotations


class ModelError(ValueError):
    """Something the user gave does not fit the model.

    Attributes: `field` (what was given), `value`, `expected`, `remedy` (what to do about it); the message has all four.
    """

    def __init__(self, field: str, value: object, expected: str, remedy: str) -> None:
        self.field, self.value, self.expected, self.remedy = field, value, expected, remedy
        super().__init__(f"{field}: got {value!r}, expected {expected}; {remedy}")
