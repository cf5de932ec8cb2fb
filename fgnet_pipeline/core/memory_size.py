"""Sizes of memory as people write them, e.g. 16G, "16 GB" or 16384M, in the form that schedulers take."""

from __future__ import annotations

import math
import re
from fractions import Fraction

#: First letters of a unit -> units of 2^20 bytes. K, M, G and T are powers of 1024, so 16GB is 16 GiB.
_MEGABYTES = {"k": Fraction(1, 1024), "m": Fraction(1), "g": Fraction(1024), "t": Fraction(1024**2)}
#: Every spelling of a unit, in lower case -> its letter.
_UNITS = {
    spelling: letter
    for letter, names in {
        "k": ("kilobyte", "kibibyte"), "m": ("megabyte", "mebibyte"), "g": ("gigabyte", "gibibyte"),
        "t": ("terabyte", "tebibyte"),
    }.items()
    for spelling in (letter, f"{letter}b", f"{letter}ib", f"{letter}i", *names, *(f"{name}s" for name in names))
} | {"": "m"}  # fmt: skip
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*")


def whole_size(text: str) -> str:
    """Write a size as schedulers take it: a whole number, and K, M, G or T if the text had a unit.

    Args:
        text: a number and a unit, e.g. `"16G"`, `"16 GiB"`, `"1.5 GB"`; without a unit in megabytes. A fraction is
            given in megabytes, rounded up.

    Raises:
        ValueError: the text is no size, or the size is 0.
    """
    found = _SIZE.fullmatch(text)
    letter = _UNITS.get(found[2].lower()) if found else None
    if found is None or letter is None or Fraction(_number(found[1])) == 0:
        raise ValueError("a size above 0 with the unit K, M, G or T (powers of 1024), e.g. 16G")
    number = Fraction(_number(found[1]))
    if number.denominator == 1:
        return f"{number}{letter.upper() if found[2] else ''}"
    return f"{math.ceil(number * _MEGABYTES[letter])}M"


def megabytes(text: str) -> float:
    """Convert a size that `whole_size` wrote, e.g. `"32G"`, to units of 2^20 bytes."""
    factor = _MEGABYTES.get(text[-1].lower())
    return float(int(text[:-1]) * factor) if factor is not None else float(text)


def _number(text: str) -> str:
    """A decimal number with a digit on both sides of the point, as `Fraction` reads it."""
    return f"0{text}" if text.startswith(".") else text.rstrip(".")
