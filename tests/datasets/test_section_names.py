"""The running number in the names of sections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.section_names import section_files

ORDERED: dict[str, list[str]] = {
    "a size behind it": [f"s{z:04d}_10nm" for z in range(7, 13)],
    "a date behind it": [f"sec_{z:03d}_2019-03-04" for z in range(9, 13)],
    "days that count with it": [f"sec_{z:03d}_2019-03-{z - 5:02d}" for z in range(9, 13)],
    "times of day in any order": ["s1_1142", "s2_0930", "s3_1700", "s4_1005"],
    "numbers before it": [f"wafer4_run12_{z}" for z in range(95, 105)],
    "one section": ["s0001_10nm"],
    "no zeros in front": [f"{z}" for z in range(8, 13)],
    "other text per name": ["a_1", "b_2", "c_3"],
    "a number of 22 digits": [f"{10**21 + z}" for z in range(3)],
}


def folder_of(path: Path, names: list[str]) -> Path:
    for name in names:
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(path / f"{name}.png")
    return path


@pytest.mark.parametrize("case", ORDERED)
def test_sections_come_in_the_order_of_their_running_number(tmp_path: Path, case: str) -> None:
    names = ORDERED[case]
    assert [p.stem for p in section_files(folder_of(tmp_path, names), "--raw")] == names


REFUSED: dict[str, tuple[list[str], str]] = {
    "a gap": (["s1_4nm", "s2_4nm", "s4_4nm"], "section 3 after 2"),
    "two of one number": (["s1", "s01", "s2"], "section"),
    "no number": (["s1", "overview"], "overview"),
    "two orders": (["a1_b3", "a2_b2", "a3_b1"], "contradict"),
    "another pattern": (["s1", "s2", "s3_copy2"], "as many numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_names_without_one_order_are_refused(tmp_path: Path, case: str) -> None:
    names, said = REFUSED[case]
    with pytest.raises(InputError, match=said):
        section_files(folder_of(tmp_path, names), "--raw")
