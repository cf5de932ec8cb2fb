"""Files as labs publish them, for tests of the import, and the import of such files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from PIL import Image

from fgnet_pipeline.datasets import convert as conversion
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request

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


def write_pages(path: Path, data: NDArray[Any]) -> Path:
    """A compressed TIFF of one page per section."""
    tifffile.imwrite(path, data, photometric="minisblack", compression="zlib")
    return path


def write_plain(path: Path, data: NDArray[Any]) -> Path:
    """An uncompressed TIFF of one page per section."""
    tifffile.imwrite(path, data, photometric="minisblack")
    return path


def write_folder(path: Path, data: NDArray[Any]) -> Path:
    """A folder of one PNG per section, numbered without leading zeros: their order is not that of the alphabet."""
    path = path.with_suffix("")
    path.mkdir()
    for z, section in enumerate(data):
        Image.fromarray(section).save(path / f"wafer4_{z + 95}.png")
    return path


def write_tiffs(path: Path, data: NDArray[Any]) -> Path:
    """A folder of one TIFF per section, numbered without leading zeros."""
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


def write_precomputed(folder: Path, data: NDArray[Any], offset: tuple[int, int, int]) -> Path:
    """Neuroglancer precomputed by hand: x first, raw encoding, Fortran order; `offset` in voxels, xyz."""
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
    """Neuroglancer precomputed ids, by TensorStore; `offset` in voxels, xyz."""
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


def sparse_hdf5(path: Path, **datasets: tuple[tuple[int, int, int], str]) -> Path:
    """Datasets of a shape and type that take little space, because only their first chunk is written."""
    with h5py.File(path, "w") as file:
        for name, (shape, dtype) in datasets.items():
            made = file.create_dataset(name.replace("__", "/"), shape, dtype, chunks=(8, 256, 256), compression="gzip")
            made[0, 0, 0] = 1
    return path


def arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """(raw, labels) of an imported group."""
    group = zarr.open_group(path, mode="r")
    return np.asarray(group["raw"][:]), np.asarray(group["labels"][:])


def imported(output: Path, raw: Path | str, labels: Path | str | None = None, **options: Any) -> dict[str, Any]:
    """Import into `output`; gives the summary of the import."""
    opened = open_source(Request(str(raw), "--raw"))
    truth = open_source(Request(str(labels), "--labels")) if labels else None
    return conversion.convert(conversion.plan(opened, truth, **options), output)
