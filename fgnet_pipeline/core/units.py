"""Units of length, as the metadata of volumes spell them."""

from __future__ import annotations

#: Spelling in lower case -> nanometres.
NANOMETRES = {
    "pm": 1e-3, "picometer": 1e-3,
    "angstrom": 0.1,
    "nm": 1.0, "nanometer": 1.0, "nanometers": 1.0, "nanometre": 1.0,
    "um": 1e3, "µm": 1e3, "micron": 1e3, "micrometer": 1e3, "micrometers": 1e3, "micrometre": 1e3,
    "mm": 1e6, "millimeter": 1e6,
    "m": 1e9, "meter": 1e9,
}  # fmt: skip


def nm_per(unit: object) -> float | None:
    """Nanometres per `unit`, in any case of letters; None if the unit is unknown."""
    return NANOMETRES.get(str(unit).lower())
