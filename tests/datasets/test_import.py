"""``fgnet import``: files of the published layouts in, the project's Zarr out, and what is refused."""

from __future__ import annotations

import json
import struct
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
from PIL import Image
from pipeline_tools import fgnet
from web_server import web_server

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets import convert as conversion
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.presets import PRESETS
from fgnet_pipeline.datasets.source import Request
from fgnet_pipeline.store.volume import open_volume

tifffile = pytest.importorskip("tifffile")
ts = pytest.importorskip("tensorstore")

SHAPE = (20, 30, 44)
RNG = np.random.default_rng(0)
RAW = RNG.integers(0, 256, SHAPE).astype(np.uint8)
IDS = RNG.integers(0, 5, SHAPE).astype(np.uint64) * 1000
INSIDE = (slice(2, 14), slice(5, 25), slice(8, 40))


def write_cremi(path: Path) -> Path:
    """CREMI's file format 0.2: raw, neuron ids with an offset in nm and marks for voxels without ground truth."""
    ids = IDS[INSIDE].copy()
    ids[0, 0, :3] = [2**64 - 1, 2**64 - 2, 2**64 - 3]
    with h5py.File(path, "w") as file:
        file.attrs["file_format"] = "0.2"
        raw = file.create_dataset("volumes/raw", data=RAW, compression="gzip")
        labels = file.create_dataset("volumes/labels/neuron_ids", data=ids, compression="gzip")
        file.create_dataset("volumes/labels/clefts", data=ids, compression="gzip")
        raw.attrs["resolution"] = labels.attrs["resolution"] = (40.0, 4.0, 4.0)
        labels.attrs["offset"] = (80.0, 20.0, 32.0)
    return path


def placed() -> NDArray[np.uint64]:
    """What CREMI's labels are in the grid of raw."""
    expected = np.zeros(SHAPE, np.uint64)
    expected[INSIDE] = IDS[INSIDE]
    expected[2, 5, 8:11] = 0
    return expected


def arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    group = zarr.open_group(path, mode="r")
    return np.asarray(group["raw"][:]), np.asarray(group["labels"][:])


def imported(output: Path, raw: Path | str, labels: Path | str | None = None, **options: Any) -> dict[str, Any]:
    opened = open_source(Request(str(raw), "--raw"))
    truth = open_source(Request(str(labels), "--labels")) if labels else None
    return conversion.convert(conversion.plan(opened, truth, **options), output)


def test_a_cremi_file_becomes_one_group_with_labels_at_their_offset(tmp_path: Path) -> None:
    file = write_cremi(tmp_path / "sample.hdf")
    done = fgnet("import", tmp_path / "out.zarr", "--raw", file, "--json")
    document = json.loads(done.stdout)
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


def write_pages(path: Path, data: NDArray[Any]) -> Path:
    tifffile.imwrite(path, data, photometric="minisblack", compression="zlib")
    return path


def write_plain(path: Path, data: NDArray[Any]) -> Path:
    tifffile.imwrite(path, data, photometric="minisblack")
    return path


def write_folder(path: Path, data: NDArray[Any]) -> Path:
    """Names without leading zeros, so that their order is not that of the alphabet."""
    path = path.with_suffix("")
    path.mkdir()
    for z, section in enumerate(data):
        Image.fromarray(section).save(path / f"wafer4_{z + 95}.png")
    return path


def write_tiffs(path: Path, data: NDArray[Any]) -> Path:
    path = path.with_suffix("")
    path.mkdir()
    for z, section in enumerate(data):
        tifffile.imwrite(path / f"s{z}.tif", section)
    return path


def write_main(path: Path, data: NDArray[Any]) -> Path:
    """A file with one dataset, as AC3, AC4 and Wafer4 are handed on."""
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["main"] = data
    return path.with_suffix(".h5")


@pytest.mark.parametrize("write", [write_pages, write_plain, write_folder, write_tiffs, write_main])
def test_stacks_and_plain_files(tmp_path: Path, write: Callable[[Path, NDArray[Any]], Path]) -> None:
    raw = write(tmp_path / "train-input.tif", RAW)
    labels = write(tmp_path / "train-labels.tif", IDS.astype(np.uint16))
    imported(tmp_path / "o.zarr", raw, labels, voxel_size=(30.0, 6.0, 6.0), offset=(60.0, 0.0, 12.0))
    found = arrays(tmp_path / "o.zarr")
    assert np.array_equal(found[0], RAW) and np.array_equal(found[1], IDS)
    volume = open_volume(str(tmp_path / "o.zarr" / "labels"))
    assert volume.frame and volume.frame.voxel_size == (30, 6, 6) and volume.frame.offset == (60, 0, 12)


def write_n5(folder: Path, data: NDArray[Any], block: tuple[int, int, int] = (16, 16, 16)) -> Path:
    """N5 by hand: x first, blocks of big-endian values behind a header of their size."""
    volume, shape = np.ascontiguousarray(data.T), data.T.shape
    grid = [range(-(-n // b)) for n, b in zip(shape, block, strict=True)]
    for i in grid[0]:
        for j in grid[1]:
            for k in grid[2]:
                part = volume[tuple(slice(a * b, (a + 1) * b) for a, b in zip((i, j, k), block, strict=True))]
                header = struct.pack(">HHIII", 0, 3, *part.shape)
                (folder / f"{i}/{j}").mkdir(parents=True, exist_ok=True)
                body = part.astype(part.dtype.newbyteorder(">")).tobytes(order="F")
                (folder / f"{i}/{j}/{k}").write_bytes(header + body)
    attributes = {
        "dimensions": shape,
        "blockSize": block,
        "dataType": data.dtype.name,
        "compression": {"type": "raw"},
        "resolution": [4.0, 6.0, 40.0],
        "offset": [8.0, 12.0, 80.0],
    }
    (folder / "attributes.json").write_text(json.dumps(attributes))
    return folder


def test_n5_is_turned_from_xyz_to_zyx(tmp_path: Path) -> None:
    raw = write_n5(tmp_path / "c.n5" / "volumes" / "raw", RAW)
    labels = write_n5(tmp_path / "c.n5" / "volumes" / "ids", IDS)
    imported(tmp_path / "o.zarr", raw, labels)
    found = arrays(tmp_path / "o.zarr")
    assert np.array_equal(found[0], RAW) and np.array_equal(found[1], IDS)
    volume = open_volume(str(tmp_path / "o.zarr" / "raw"))
    assert volume.frame and volume.frame.voxel_size == (40, 6, 4) and volume.frame.offset == (80, 12, 8)


def write_precomputed(folder: Path, data: NDArray[Any], offset: tuple[int, int, int]) -> Path:
    """Neuroglancer precomputed by hand: x first, raw encoding, Fortran order; ``offset`` in voxels, xyz."""
    size, chunk = data.T.shape, 32
    scale = {"key": "4_4_40", "size": size, "resolution": [4, 4, 40], "voxel_offset": offset, "encoding": "raw"}
    info = {
        "@type": "neuroglancer_multiscale_volume",
        "type": "image",
        "data_type": data.dtype.name,
        "num_channels": 1,
        "scales": [{**scale, "chunk_sizes": [[chunk] * 3]}],
    }
    (folder / "4_4_40").mkdir(parents=True)
    (folder / "info").write_text(json.dumps(info))
    for begin in np.ndindex(*[-(-n // chunk) for n in size]):
        low = [b * chunk for b in begin]
        high = [min(b + chunk, n) for b, n in zip(low, size, strict=True)]
        part = data.T[tuple(slice(b, e) for b, e in zip(low, high, strict=True))]
        name = "_".join(f"{b + o}-{e + o}" for b, e, o in zip(low, high, offset, strict=True))
        (folder / "4_4_40" / name).write_bytes(part.tobytes(order="F"))
    return folder


def write_compressed_segmentation(folder: Path, data: NDArray[Any], offset: tuple[int, int, int]) -> Path:
    scale = {
        "size": data.T.shape,
        "voxel_offset": offset,
        "resolution": [4, 4, 40],
        "chunk_size": [16, 16, 16],
        "encoding": "compressed_segmentation",
        "compressed_segmentation_block_size": [8, 8, 8],
    }
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": folder.as_uri() + "/",
        "multiscale_metadata": {"type": "segmentation", "data_type": "uint64", "num_channels": 1},
        "scale_metadata": scale,
    }
    ts.open(spec, create=True).result()[..., 0] = data.T
    return folder


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


def sparse_hdf5(path: Path, **datasets: tuple[tuple[int, int, int], str]) -> Path:
    """Datasets of a shape that take no space: chunks that nobody wrote."""
    with h5py.File(path, "w") as file:
        for name, (shape, dtype) in datasets.items():
            file.create_dataset(name.replace("__", "/"), shape, dtype, chunks=(8, 256, 256), compression="gzip")
    return path


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


def test_a_preset_of_another_shape_is_refused_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    file = write_cremi(tmp_path / "s.hdf")
    done = fgnet("import", tmp_path / "o.zarr", "--raw", file, "--preset", "cremi_a", check=False)
    assert done.returncode == 2 and "125, 1250, 1250" in done.stderr and done.stderr.count("\n") == 1
    done = fgnet("import", tmp_path / "o.zarr", "--raw", file, "--dry-run", "--json")
    assert json.loads(done.stdout)["dry_run"] and sorted(p.name for p in tmp_path.iterdir()) == ["s.hdf"]


def change(path: Path, dataset: str, **attributes: object) -> None:
    with h5py.File(path, "a") as file:
        file[dataset].attrs.update(attributes)


REFUSED: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "missing": ("--raw", lambda p: {"raw": p / "none.h5"}),
    "no HDF5": ("--raw", lambda p: {"raw": written(p / "bad.h5", b"text")}),
    "no TIFF": ("--raw", lambda p: {"raw": written(p / "bad.tif", b"text")}),
    "unknown suffix": ("--raw", lambda p: {"raw": written(p / "bad.dat", b"text")}),
    "no voxel size": ("--voxel-size", lambda p: {"raw": write_main(p / "a.h5", RAW)}),
    "uint16 without range": (
        "--range",
        lambda p: {"raw": write_main(p / "a.h5", RAW.astype(np.uint16)), "voxel_size": (4.0, 4.0, 4.0)},
    ),
    "labels of floats": (
        "--labels",
        lambda p: {"labels": write_main(p / "l.h5", RAW.astype(np.float32)), "labels_offset": (0.0, 0.0, 0.0)},
    ),
    "smaller labels without offset": ("--labels-offset", lambda p: {"labels": write_main(p / "l.h5", IDS[:5])}),
    "labels outside": ("--labels", lambda p: {"labels_offset": (800.0, 0.0, 0.0), "labels": p / "s.hdf"}),
    "off the grid": ("--labels-offset", lambda p: {"labels_offset": (80.0, 2.0, 0.0), "labels": p / "s.hdf"}),
    "labels of 0": ("--labels", lambda p: {"labels": write_main(p / "l.h5", 0 * IDS)}),
    "negative ids": ("--labels", lambda p: {"labels": write_main(p / "l.h5", IDS.astype(np.int64) - 9)}),
    "a section left out": ("--raw", lambda p: {"raw": without(write_folder(p / "f.png", RAW), "wafer4_99.png")}),
    "a section of another size": ("--raw", lambda p: {"raw": resized(write_folder(p / "f.png", RAW))}),
    "unknown preset": ("--preset", lambda p: {"preset": "cremi_d"}),
}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def without(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def resized(folder: Path) -> Path:
    Image.fromarray(RAW[0, :8]).save(folder / "wafer4_99.png")
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_named_and_nothing_is_left_behind(tmp_path: Path, case: str) -> None:
    field, make = REFUSED[case]
    sample = write_cremi(tmp_path / "s.hdf")
    arguments = {"raw": sample, **make(tmp_path)}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        imported(tmp_path / "o.zarr", arguments.pop("raw"), arguments.pop("labels", None), **arguments)
    assert caught.value.field == field
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_section_and_an_occupied_output_leave_all_as_it_was(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f.png", RAW)
    (folder / "wafer4_100.png").write_bytes((folder / "wafer4_100.png").read_bytes()[:200])
    with pytest.raises(InputError, match=r"wafer4_100\.png"):
        imported(tmp_path / "o.zarr", folder, voxel_size=(35.0, 8.0, 8.0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]
    (tmp_path / "o.zarr").mkdir()
    with pytest.raises(InputError, match="OUTPUT"):
        imported(tmp_path / "o.zarr", write_main(tmp_path / "a.h5", RAW), voxel_size=(35.0, 8.0, 8.0))
    assert list((tmp_path / "o.zarr").iterdir()) == []


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
