"""Configuration files as editors write them, and values as people type them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.config_file import apply_override
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.toml_file import read_toml

TEXT = '[volume]\npath = "Größe/raw.zarr"\nvoxel_size = [4, 4, 4]\n'
TABLES = {"volume": {"path": "Größe/raw.zarr", "voxel_size": [4, 4, 4]}}


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_that_are_read(mark: bytes, newline: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(mark + TEXT.replace("\n", newline).encode())
    assert read_toml(tmp_path / "c.toml") == TABLES


REFUSED = {
    "UTF-16 with a mark": (TEXT.encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), "UTF-16"),
    "UTF-32": (TEXT.encode("utf-32"), "UTF-32"),
    "Latin-1": (TEXT.encode("latin-1"), "line 2"),
    "no value": (b"[volume]\n\npath = \n", "line 3"),
    "a key twice": (b"[volume]\na = 1\na = 2\n", "line 3"),
    "deep lists": (b"a = " + b"[" * 9000, "nested"),
    "a number of 5000 digits": (b"a = " + b"9" * 5000, "digits"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_toml_names_the_file_and_the_place(case: str, tmp_path: Path) -> None:
    data, named = REFUSED[case]
    (tmp_path / "c.toml").write_bytes(data)
    with pytest.raises(InputError, match=r"c\.toml") as refused:
        read_toml(tmp_path / "c.toml")
    assert named in str(refused.value)


VALUES = {
    ".16": 0.16, "-.5": -0.5, "5.": 5.0, "1e-3": 1e-3, "[.5,1.]": [0.5, 1.0], 
    "[[0,.5,0],[1,1,1]]": [[0, 0.5, 0], [1, 1, 1]],
    "7": 7, "true": True, '"x"': "x", "gpu.short": "gpu.short", "1.2.3": "1.2.3",
    "5\nb=6": "5\nb=6", "[" * 3000: "[" * 3000,
}  # fmt: skip


@pytest.mark.parametrize("text", VALUES, ids=lambda text: text[:20])
def test_values_of_overrides(text: str) -> None:
    tables: dict[str, dict[str, object]] = {}
    apply_override(tables, f"agglomerate.threshold={text}", Config)
    found = tables["agglomerate"]["threshold"]
    assert found == VALUES[text] and type(found) is type(VALUES[text])


def test_an_override_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InputError, match="--set"):
        apply_override({}, "schedule.slurm.partition=a\udcff", Config)
