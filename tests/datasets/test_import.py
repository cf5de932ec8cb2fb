"""`fgnet import`: files of the published layouts in, the project's Zarr out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from pipeline_tools import Command
from source_files import (
    IDS,
    INSIDE,
    RAW,
    SHAPE,
    arrays,
    imported,
    placed,
    sparse_hdf5,
    write_compressed_segmentation,
    write_cremi,
    write_folder,
    write_main,
    write_n5,
    write_pages,
    write_plain,
    write_precomputed,
    write_tiffs,
)
from web_server import web_server

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets import convert as conversion
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.presets import PRESETS
from fgnet_pipeline.datasets.source import Request
from fgnet_pipeline.store.volume import open_volume


def test_a_cremi_file_becomes_one_group_with_labels_at_their_offset(tmp_path: Path, command: Command) -> None:
    file = write_cremi(tmp_path / "sample.hdf")
    document = json.loads(command("import", tmp_path / "out.zarr", "--raw", file, "--json")[1])
    raw, labels = arrays(tmp_path / "out.zarr")
    assert np.array_equal(raw, RAW) and raw.dtype == np.uint8
    assert np.array_equal(labels, placed()) and labels.dtype == np.uint64
    assert document["labelled"] == [[2, 5, 8], [14, 25, 40]]
    assert document["labelled_voxels"] == np.count_nonzero(placed())
    for name in ("raw", "labels"):
        volume = open_volume(str(tmp_path / "out.zarr" / name))
        assert volume.frame and volume.frame.voxel_size == (40, 4, 4) and volume.frame.offset == (0, 0, 0)
        attributes = dict(volume.array.attrs)
        assert attributes["axis_names"] == ["z", "y", "x"] and attributes["units"] == ["nm"] * 3
    assert zarr.open_group(tmp_path / "out.zarr").metadata.zarr_format == 3


@pytest.mark.parametrize("write", [write_pages, write_plain, write_folder, write_tiffs, write_main])
def test_stacks_and_plain_files_keep_voxels_and_placement(
    tmp_path: Path, write: Callable[[Path, NDArray[Any]], Path]
) -> None:
    raw = write(tmp_path / "train-input.tif", RAW)
    labels = write(tmp_path / "train-labels.tif", IDS.astype(np.uint16))
    imported(tmp_path / "o.zarr", raw, labels, voxel_size=(30.0, 6.0, 6.0), offset=(60.0, 0.0, 12.0))
    found = arrays(tmp_path / "o.zarr")
    assert np.array_equal(found[0], RAW) and np.array_equal(found[1], IDS)
    volume = open_volume(str(tmp_path / "o.zarr" / "labels"))
    assert volume.frame and volume.frame.voxel_size == (30, 6, 6) and volume.frame.offset == (60, 0, 12)


def test_n5_is_turned_from_xyz_to_zyx(tmp_path: Path) -> None:
    raw = write_n5(tmp_path / "c.n5" / "volumes" / "raw", RAW)
    labels = write_n5(tmp_path / "c.n5" / "volumes" / "ids", IDS)
    imported(tmp_path / "o.zarr", raw, labels)
    found = arrays(tmp_path / "o.zarr")
    assert np.array_equal(found[0], RAW) and np.array_equal(found[1], IDS)
    volume = open_volume(str(tmp_path / "o.zarr" / "raw"))
    assert volume.frame and volume.frame.voxel_size == (40, 6, 4) and volume.frame.offset == (80, 12, 8)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """URL of the test's folder."""
    with web_server(tmp_path) as (url, _):
        yield url


@pytest.mark.parametrize("where", ["folder", "url"])
def test_neuroglancer_volumes_keep_their_voxel_offset(tmp_path: Path, served: str, where: str) -> None:
    write_precomputed(tmp_path / "image", RAW, (100, 200, 10))
    write_compressed_segmentation(tmp_path / "ids", IDS[INSIDE], (108, 205, 12))
    base = tmp_path if where == "folder" else f"precomputed://{served}"
    summary = imported(tmp_path / "o.zarr", f"{base}/image", f"{base}/ids")
    raw, labels = arrays(tmp_path / "o.zarr")
    expected = np.zeros(SHAPE, np.uint64)
    expected[INSIDE] = IDS[INSIDE]
    assert np.array_equal(raw, RAW) and np.array_equal(labels, expected)
    assert summary["voxel_size_nm"] == [40, 4, 4] and summary["offset_nm"] == [400, 800, 400]


def test_a_source_that_does_not_answer_is_one_sentence(served: str) -> None:
    for url in (f"precomputed://{served}/nothing", "precomputed://http://127.0.0.1:9/x"):
        with pytest.raises(InputError, match="neuroglancer_precomputed"):
            open_source(Request(url, "--raw"))


@pytest.mark.parametrize(
    ("preset", "raw", "labels", "offset", "splits"),
    [
        ("cremi_a", (125, 1250, 1250), (125, 1250, 1250), None, {"train": (0, 100), "test": (100, 125)}),
        ("cremi_b", (200, 3072, 3072), (125, 1250, 1250), (37, 911, 911), {"train": (37, 137), "test": (137, 162)}),
        ("wafer4", (125, 1250, 1250), (125, 1250, 1250), None, {"train": (0, 100), "test": (100, 125)}),
        ("ac4", (100, 1024, 1024), (100, 1024, 1024), None, {"train": (0, 80), "validate": (80, 100)}),
        ("snemi3d", (100, 1024, 1024), (100, 1024, 1024), None, {"train": (0, 80), "validate": (80, 100)}),
        ("ac3", (256, 1024, 1024), (256, 1024, 1024), None, {"test": (0, 100)}),
    ],
)
def test_presets_split_files_of_the_published_shape(
    tmp_path: Path, preset: str, raw: Any, labels: Any, offset: Any, splits: dict[str, tuple[int, int]]
) -> None:
    file = sparse_hdf5(tmp_path / "v.h5", raw=(raw, "u1"), ids=(labels, "u8"))
    size = PRESETS[preset].voxel_size
    nm = tuple(o * s for o, s in zip(offset, size, strict=True)) if offset else None
    sources = [open_source(Request(str(file), f"--{n}", d)) for n, d in (("raw", "raw"), ("labels", "ids"))]
    job = conversion.plan(*sources, labels_offset=nm, preset=preset)
    begin = offset or (0, 0, 0)
    assert job.frame.voxel_size == size
    for name, (first, last) in splits.items():
        assert job.splits[name].begin == (first, *begin[1:])
        assert job.splits[name].end == (last, begin[1] + labels[1], begin[2] + labels[2])
    assert set(job.splits) == set(splits)


def test_values_of_16_bits_are_stretched(tmp_path: Path) -> None:
    raw = write_main(tmp_path / "a.h5", RAW.astype(np.uint16) * 100 + 500)
    imported(tmp_path / "o.zarr", raw, voxel_size=(4.5, 4.5, 4.5), value_range=(500.0, 26000.0))
    volume = open_volume(str(tmp_path / "o.zarr" / "raw"))
    assert np.array_equal(volume.array[:], RAW) and volume.frame and volume.frame.voxel_size == (4.5, 4.5, 4.5)


PEAK = """
import resource, sys
from pathlib import Path
from fgnet_pipeline.datasets.convert import convert, plan
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request
raw, labels = (open_source(Request(sys.argv[1], f"--{n}", n)) for n in ("raw", "labels"))
convert(plan(raw, labels, voxel_size=(4.0, 4.0, 4.0)), Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_of(folder: Path, shape: tuple[int, int, int]) -> int:
    """Peak memory in bytes of a process that converts a volume of a shape."""
    file = sparse_hdf5(folder / f"{shape[0]}.h5", raw=(shape, "u1"), labels=(shape, "u8"))
    with h5py.File(file, "a") as opened:
        opened["labels"][-1, -1, -1] = 7
    command = [sys.executable, "-c", PEAK, str(file), str(folder / f"{shape[0]}.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert zarr.open_array(folder / f"{shape[0]}.zarr" / "labels", mode="r")[-1, -1, -1] == 7
    return int(done.stdout) * 1024


def test_memory_does_not_grow_with_the_volume(tmp_path: Path) -> None:
    small, large = peak_of(tmp_path, (64, 256, 256)), peak_of(tmp_path, (320, 512, 512))
    whole = 9 * 320 * 512 * 512
    assert large - small < whole / 8
