"""Units of length: one table for every reader."""

from __future__ import annotations

import pytest

from fgnet_pipeline.core.units import nm_per


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [("nm", 1.0), ("Nanometers", 1.0), ("µm", 1e3), ("micron", 1e3), ("mm", 1e6), ("m", 1e9), ("angstrom", 0.1),
     ("pm", 1e-3), ("furlong", None), ("", None), (None, None)],
)  # fmt: skip
def test_every_spelling_of_a_unit_has_its_length_in_nanometres(spelling: object, expected: float | None) -> None:
    assert nm_per(spelling) == expected
