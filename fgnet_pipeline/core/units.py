"""Units of length, as the metadata of volumes spell them. The one table of every reader."""

from __future__ import annotations

import unicodedata

from fgnet_pipeline.core.errors import InputError

#: SI prefix as a symbol and as a word -> nanometres of the unit that it makes from the metre.
_PREFIXES = {
    ("y", "yocto"): 1e-15, ("z", "zepto"): 1e-12, ("a", "atto"): 1e-9, ("f", "femto"): 1e-6, ("p", "pico"): 1e-3,
    ("n", "nano"): 1.0, ("u", "micro"): 1e3, ("m", "milli"): 1e6, ("c", "centi"): 1e7, ("d", "deci"): 1e8,
    ("", ""): 1e9, ("da", "deca"): 1e10, ("h", "hecto"): 1e11, ("k", "kilo"): 1e12, ("M", "mega"): 1e15,
    ("G", "giga"): 1e18, ("T", "tera"): 1e21, ("P", "peta"): 1e24, ("E", "exa"): 1e27, ("Z", "zetta"): 1e30,
    ("Y", "yotta"): 1e33,
}  # fmt: skip
_METRES = ("meter", "meters", "metre", "metres")
#: Symbols, in which the case of letters counts: mm is not Mm.
_SYMBOLS = {f"{symbol}m": factor for (symbol, _), factor in _PREFIXES.items()} | {"å": 0.1, "Å": 0.1, "A": 0.1}
#: Words, in any case of letters; and symbols in capitals that no other unit has.
_WORDS = {f"{word}{metre}": factor for (_, word), factor in _PREFIXES.items() for metre in _METRES} | {
    "angstrom": 0.1, "angstroms": 0.1, "ångström": 0.1, "ångstrom": 0.1, "angström": 0.1, "ang": 0.1,
    "nm": 1.0, "nms": 1.0, "um": 1e3, "ums": 1e3, "micron": 1e3, "microns": 1e3,
    "inch": 25.4e6, "inches": 25.4e6, "in": 25.4e6, "foot": 304.8e6, "yard": 914.4e6,
}  # fmt: skip


def nm_per(unit: object) -> float | None:
    """Nanometres per `unit`; None if the unit is unknown.

    Words are read in any case of letters, symbols in their own case, with any of Unicode's signs for micro and
    angstrom. The escape `\\u00B5` that ImageJ writes for micro counts as this letter.
    """
    if not isinstance(unit, str):
        return None
    text = unit.strip().replace("\\u00B5", "u").replace("\\u00b5", "u").replace("\\u03BC", "u").replace("\\u00C5", "Å")
    text = unicodedata.normalize("NFKC", text).replace("μ", "u").replace("µ", "u")
    return _SYMBOLS.get(text, _WORDS.get(text.lower()))


def length_unit(unit: object, field: str, where: str, remedy: str) -> float:
    """Nanometres per unit.

    Args:
        unit: as it is spelled.
        field: the configuration key or option to name in errors.
        where: what states the unit, for the error.
        remedy: what the user can do.

    Raises:
        InputError: the unit is not a known unit of length.
    """
    factor = nm_per(unit)
    if factor is None:
        raise InputError(field, f"{where} with the unit {unit!r}", "a unit of length such as nanometer", remedy)
    return factor
