"""Units of length as files spell them, and words that are no unit of length.

Names: OME-Zarr 0.4 lists those of UDUNITS-2; the International System of Units gives prefixes and symbols; programs
add `micron`, `um` and `µm` (ImageJ), `Å` and `A` (MRC and OME).
"""

from __future__ import annotations

#: Unit -> nm.
WORDS = {
    "nanometer": 1.0, "nanometers": 1.0, "nanometre": 1.0, "Nanometer": 1.0, "NANOMETER": 1.0,
    "angstrom": 0.1, "Angstrom": 0.1, "micrometer": 1e3, "micrometre": 1e3, "micron": 1e3, "microns": 1e3,
    "millimeter": 1e6, "picometer": 1e-3, "meter": 1e9,
}  # fmt: skip
SYMBOLS = {"nm": 1.0, "Å": 0.1, "um": 1e3, "µm": 1e3, "μm": 1e3, "mm": 1e6, "pm": 1e-3, "m": 1e9, "\u212b": 0.1}
ALL = WORDS | SYMBOLS
#: What no table of lengths can hold.
NO_LENGTH = (
    "banana",
    "second",
    "pixel",
    "voxel",
    "kg",
    "nmm",
    "n m",
    "1",
    "furlongs?",
    "nano",
    "radian",
    "nm2",
    "nm/px",
)
#: What no scale, voxel size or resolution can be.
NO_SIZE = (0, -4, -0.5, float("nan"), float("inf"), "four", None, [], {})
