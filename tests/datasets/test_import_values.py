"""Values that an import turns into grey: pedestals, signs, NaN, ranges. And what is no number or no path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from pipeline_tools import Command, write_volume
from source_files import IDS, RAW, write_main, write_tiffs

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.convert import convert, plan
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request

NM = {"voxel_size": (4.0, 4.0, 4.0)}


def grey(folder: Path, values: NDArray[Any], **options: Any) -> NDArray[Any]:
    """What an import makes of values in an HDF5 file."""
    source = open_source(Request(str(write_main(folder / "v.h5", values)), "--raw"))
    convert(plan(source, None, **NM, **options), folder / "o.zarr")
    return np.asarray(zarr.open_array(folder / "o.zarr" / "raw", mode="r")[:])


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "f8"])
def test_a_pedestal_does_not_turn_values_into_bands(tmp_path: Path, dtype: str) -> None:
    values = RAW.astype(dtype) + np.dtype(dtype).type(10**9)
    assert np.array_equal(grey(tmp_path, values, value_range=(1e9, 1e9 + 255)), RAW)


def test_unsigned_values_stored_as_signed_ones_are_read_rightly_or_refused(tmp_path: Path) -> None:
    true = RAW.astype(np.uint16) * 257
    stored = true.view(np.int16)
    assert stored.min() < 0
    for limits in ((0.0, 65535.0), (0.0, 30000.0)):
        with pytest.raises(InputError, match="--unsigned"):
            grey(tmp_path, stored, value_range=limits)
    assert np.array_equal(grey(tmp_path, stored, value_range=(0.0, 65535.0), unsigned=True), RAW)


def test_negative_values_are_black_only_if_the_user_says_so(tmp_path: Path) -> None:
    values = RAW.astype(np.int16) - 100
    expected = np.clip(values, 0, None).astype(np.uint8)
    with pytest.raises(InputError, match="--signed"):
        grey(tmp_path, values, value_range=(0.0, 255.0))
    assert np.array_equal(grey(tmp_path, values, value_range=(0.0, 255.0), unsigned=False), expected)


def test_nan_becomes_black_and_is_counted(tmp_path: Path, command: Command) -> None:
    values = RAW.astype(np.float32)
    values[3, :, :7] = np.nan
    values[4, 0, 0], values[4, 0, 1] = np.inf, -np.inf
    file = write_main(tmp_path / "v.h5", values)
    code, out, _ = command(
        "import", tmp_path / "o.zarr", "--raw", file, "--voxel-size", "4,4,4", "--range", "0,255", "--json"
    )
    found = json.loads(out)
    raw = np.asarray(zarr.open_array(tmp_path / "o.zarr" / "raw", mode="r")[:])
    expected = RAW.copy()
    expected[3, :, :7], expected[4, 0, 0], expected[4, 0, 1] = 0, 255, 0
    assert code == 0 and np.array_equal(raw, expected) and found["nan_voxels"] == 30 * 7
    with pytest.raises(InputError, match="NaN"):
        grey(tmp_path, np.full((3, 4, 5), np.nan, np.float32), value_range=(0.0, 1.0))


BAD_RANGE: dict[str, tuple[str, tuple[float, float]]] = {
    "all black": ("u2", (1000.0, 2000.0)),
    "all white": ("f4", (-3.0, -1.0)),
    "of another type": ("u1", (0.0, 65535.0)),
    "turned round": ("u2", (200.0, 100.0)),
    "no numbers": ("u2", (float("nan"), 100.0)),
}


@pytest.mark.parametrize("case", BAD_RANGE)
def test_a_range_that_leaves_no_grey_is_refused(tmp_path: Path, case: str) -> None:
    dtype, limits = BAD_RANGE[case]
    with pytest.raises(InputError, match="--range"):
        grey(tmp_path, RAW.astype(dtype), value_range=limits)


@pytest.mark.parametrize(
    ("option", "text"),
    [("--offset", "nan,0,0"), ("--offset", "1e400,0,0"), ("--offset", "0,0"), ("--offset", "a,b,c"), ("--offset", ""),
     ("--labels-offset", "0,inf,0"), ("--voxel-size", "4,4,-inf"), ("--voxel-size", "4,4,0"), ("--voxel-size", "4"),
     ("--range", "0,nan"), ("--range", "0"), ("--axes", "z,y,z"), ("--axes", "z,,x"), ("--axes", "a,b,c")],
)  # fmt: skip
def test_options_that_are_no_numbers_are_one_sentence(tmp_path: Path, command: Command, option: str, text: str) -> None:
    file = write_main(tmp_path / "v.h5", RAW)
    given = {"--voxel-size": "4,4,4", option: text}
    code, _, said = command("import", tmp_path / "o.zarr", "--raw", file, *(p for pair in given.items() for p in pair))
    assert code == 2 and said.startswith("error: ") and said.count("\n") == 1, said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.h5"]


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".h5", "~nobody/v.h5", "gone.h5", "link.h5", "a\0b.h5", "", "file.h5/raw.h5"]
)
def test_paths_that_lead_nowhere_are_one_sentence(tmp_path: Path, command: Command, name: str) -> None:
    (tmp_path / "link.h5").symlink_to(tmp_path / "gone.h5")
    write_main(tmp_path / "file.h5", RAW)
    path = name if name.startswith("~") or not name else str(tmp_path / name)
    code, _, said = command("import", tmp_path / "o.zarr", "--raw", path)
    assert code == 2 and said.startswith("error: ") and said.count("\n") == 1, said
    code, _, said = command("import", tmp_path / ("y" * 300), "--raw", tmp_path / "file.h5", "--voxel-size", "4,4,4")
    assert code == 2 and said.startswith("error: OUTPUT") and said.count("\n") == 1, said


def test_files_that_are_cut_off_or_empty_are_one_sentence(tmp_path: Path, command: Command) -> None:
    file = write_main(tmp_path / "v.h5", RAW)
    content = file.read_bytes()
    for name, part in (("cut.h5", content[: len(content) // 2]), ("empty.h5", b""), ("empty.tif", b"")):
        (tmp_path / name).write_bytes(part)
        code, _, said = command("import", tmp_path / "o.zarr", "--raw", tmp_path / name, "--voxel-size", "4,4,4")
        assert code == 2 and name in said and said.count("\n") == 1, said


def test_a_zarr_array_is_imported_beside_labels_of_another_format(tmp_path: Path, command: Command) -> None:
    raw = write_volume(tmp_path / "raw.zarr", RAW.astype(np.int16))
    labels = write_tiffs(tmp_path / "labels.tif", (IDS // 1000).astype(np.uint8))
    code, out, said = command(
        "import", tmp_path / "o.zarr", "--raw", raw, "--labels", labels, "--range", "0,255", "--json"
    )
    assert code == 0, said
    assert json.loads(out)["voxel_size_nm"] == [10, 10, 10]
    group = zarr.open_group(tmp_path / "o.zarr", mode="r")
    assert np.array_equal(group["raw"][:], RAW) and np.array_equal(group["labels"][:], IDS // 1000)


def test_a_zarr_array_without_chunks_is_refused(tmp_path: Path) -> None:
    made = write_volume(tmp_path / "raw.zarr", RAW)
    assert open_source(Request(made, "--raw")).stored == 1
    for file in (tmp_path / "raw.zarr" / "c").rglob("*"):
        if file.is_file():
            file.rename(file.with_name(f"{file.name}.bak"))
    with pytest.raises(InputError, match=r"raw\.zarr"):
        open_source(Request(made, "--raw"))


def test_values_of_text_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["d"] = np.full((2, 3, 4), b"ab", "S2")
    with pytest.raises(InputError, match="grey values"):
        plan(open_source(Request(str(tmp_path / "v.h5"), "--raw")), None, **NM)
