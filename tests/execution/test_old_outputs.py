"""Outputs of commit 1d736fb are resumed, verified and grown by this version; it made them before any file was moved.

The archive and the command that made it are in `outputs` beside this file. Another processor predicts other bits, so
only what follows from the stored affinities is compared byte by byte.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import Command, assert_same_output, files_of, read

ARCHIVE = Path(__file__).parent / "outputs" / "output_of_1d736fb.tar.xz"
NOTHING_LEFT = "predict 0 of 8, fragments 0 of 8, edges 0 of 8, agglomerate-0 0 of 8, agglomerate-1 0 of 1"
AFTER_PREDICT = ("fragments", "segmentation", "tables")


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The folder of the archive: `whole.toml` and `half.toml` with their outputs `whole` and `half`."""
    with tarfile.open(ARCHIVE) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
            archive.extractall(tmp_path, filter="data")
        else:
            archive.extractall(tmp_path)
    return tmp_path


def test_a_finished_output_is_resumed_without_a_block_to_do(stored: Path, command: Command) -> None:
    before = files_of(stored, "whole")
    assert NOTHING_LEFT in succeeded(command("run", stored / "whole.toml"))
    assert not (stored / "whole" / "fgnet").exists(), "an output stays in the form in which it was begun"
    after = files_of(stored, "whole")
    for path in before:
        if path.startswith(("affinities", *AFTER_PREDICT)):
            assert before[path] == after[path], path


def test_names_and_units_are_added_and_nothing_is_done_again(stored: Path, command: Command) -> None:
    before = files_of(stored, "whole")
    assert "3 of 3 arrays changed" in succeeded(command("upgrade", stored / "whole"))
    after = files_of(stored, "whole")
    metadata = {f"{name}/zarr.json" for name in ("affinities", "fragments", "segmentation")}
    assert {p for p in after if after[p] != before.get(p)} <= {*metadata, "progress/lock"}
    for path in metadata:
        old, new = json.loads(before[path]), json.loads(after[path])
        lead = [None] * (len(new["shape"]) - 3)
        assert new.pop("dimension_names") == [*("c" for _ in lead), "z", "y", "x"]
        assert new["attributes"].pop("dimension_units") == [*lead, "10 nm", "10 nm", "10 nm"]
        assert new == {name: value for name, value in old.items() if name != "dimension_names"}
    assert "0 damaged, 0 strays" in succeeded(command("verify", stored / "whole.toml"))
    assert NOTHING_LEFT in succeeded(command("run", stored / "whole.toml"))


@pytest.mark.parametrize("name", ["half", "whole"])
def test_an_output_is_verified(stored: Path, command: Command, name: str) -> None:
    assert "0 damaged, 0 strays" in succeeded(command("verify", stored / f"{name}.toml"))


def test_the_stages_after_predict_make_the_same_bytes_again(stored: Path, command: Command) -> None:
    shutil.copytree(stored / "whole", stored / "before")
    succeeded(command("run", stored / "whole.toml", "--redo", "fragments"))
    assert_same_output(stored / "before", stored / "whole")


def test_a_smaller_output_grows_to_the_whole_volume(stored: Path, command: Command) -> None:
    output = ("--set", f"output.path={stored / 'half'}")
    said = succeeded(command("run", stored / "whole.toml", *output))
    assert "predict 8 of 8" in said, "the region of interest cut every block, so each reads more now"
    assert "0 damaged, 0 strays" in succeeded(command("verify", stored / "whole.toml", *output))
    grown, whole = read(stored / "half", "affinities").astype(int), read(stored / "whole", "affinities").astype(int)
    assert np.abs(grown - whole).max() <= 1, "more than another processor's rounding"


def succeeded(ended: tuple[object, str, str]) -> str:
    """What a command said, both outputs together, after checking that it did what it was asked for."""
    code, out, error = ended
    assert code == 0, error
    return out + error
