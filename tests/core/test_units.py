"""Units of length as metadata spell them."""

from __future__ import annotations

import pytest

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.units import length_unit, nm_per

SPELLINGS = {
    0.1: ("Å", "\u212b", "A\u030a", "angstrom", "Angstrom", "ANGSTROMS", "ångström", "A"),
    1.0: ("nm", "NM", " nm ", "nanometer", "Nanometers", "nanometre", "nanometres"),
    1e3: ("um", "µm", "\u03bcm", "\u00b5m", "\\u00B5m", "micron", "Microns", "micrometer", "micrometres", "UM"),
    1e6: ("mm", "millimeter", "millimetres"),
    1e-3: ("pm", "picometer"),
    1e7: ("cm", "centimeter"),
    1e9: ("m", "meter", "METRES"),
    1e12: ("km", "kilometer"),
    1e15: ("Mm", "megameter"),
    25.4e6: ("inch", "in"),
}


@pytest.mark.parametrize(("factor", "unit"), [(factor, unit) for factor, units in SPELLINGS.items() for unit in units])
def test_spellings(factor: float, unit: str) -> None:
    assert nm_per(unit) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("unit", ["", "pixel", "voxel", "MM", "s", "second", "nm2", "furlong", None, 4, ["nm"], "n m"])
def test_what_is_no_unit_of_length(unit: object) -> None:
    assert nm_per(unit) is None
    with pytest.raises(InputError, match="with the unit"):
        length_unit(unit, "volume.voxel_size", "a.zarr", "set it")
