"""Rows of the table: files, folders and containers, as `fgnet import --raw` names them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import tifffile

from lab_files import hdf5_volumes, n5_volumes, picture_folders, precomputed_volumes, tiff_volumes
from lab_files.hdf5_volumes import Hdf5Volume
from lab_files.n5_volumes import N5Volume
from lab_files.picture_folders import PictureFolder
from lab_files.precomputed_volumes import PrecomputedVolume
from lab_files.row import ORIGIN, SIZE, Row
from lab_files.specimen import Rendered, Truth
from lab_files.tiff_volumes import TiffVolume
from lab_files.zarr_rows import changed, lost, named

N5_SPEC, VIEWER = "N5 file-system specification", "n5-viewer, pixelResolution"
NEUROGLANCER = "Neuroglancer, precomputed volumes"
CREMI, VIGRA, HDF5 = "CREMI file format 0.2", "vigra AxisTags, as ilastik writes them", "HDF5 User Guide"
IMAGEJ, OME, TIFF6 = "ImageJ, TiffEncoder", "OME-TIFF specification", "TIFF 6.0"
PICTURES = "Fiji, Image Sequence"
MICRON, UM = ("micron", 1e3), ("um", 1e3)

Writer = Callable[[Truth], Rendered]


def n5(style: str, **choices: Any) -> Writer:
    """A writer of `N5Volume`."""
    return lambda truth: n5_volumes.render(N5Volume(truth, style, **choices))


def precomputed(**choices: Any) -> Writer:
    """A writer of `PrecomputedVolume`."""
    return lambda truth: precomputed_volumes.render(PrecomputedVolume(truth, **choices))


def hdf5(style: str = "cremi", **choices: Any) -> Writer:
    """A writer of `Hdf5Volume`."""
    return lambda truth: hdf5_volumes.render(Hdf5Volume(truth, style=style, **choices))


def tiff(style: str, **choices: Any) -> Writer:
    """A writer of `TiffVolume`."""
    return lambda truth: tiff_volumes.render(TiffVolume(truth, style, **choices))


def folder(kind: str, **choices: Any) -> Writer:
    """A writer of `PictureFolder`."""
    return lambda truth: picture_folders.render(PictureFolder(truth, kind, **choices))


def without(number: int) -> Callable[[Rendered], None]:
    """Lose the section with this place in the folder."""

    def lose(files: Rendered) -> None:
        del files.files[sorted(files.files)[number]]

    return lose


def smaller_page(truth: Truth) -> Rendered:
    """A TIFF whose last page has two rows less."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in [*truth.voxels[:-1], truth.voxels[-1][:-2]]:
            writer.write(page, photometric="minisblack", metadata=None, contiguous=False)
    return Rendered({}, {"v.tif": buffer.getvalue()}, "v.tif", "tiff", options={"voxel_size": truth.voxel_size})


def overview_first(truth: Truth) -> Rendered:
    """An OME-TIFF of two images; the first one is an overview at half the resolution."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, ome=True) as writer:
        writer.write(truth.voxels[:, ::2, ::2], photometric="minisblack", metadata={"axes": "ZYX"})
        writer.write(truth.voxels, photometric="minisblack", metadata={"axes": "ZYX"})
    return Rendered({}, {"v.tif": buffer.getvalue()}, "v.tif", "tiff", options={"voxel_size": truth.voxel_size})


def coloured(truth: Truth) -> Rendered:
    """A TIFF of colours."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.stack([truth.voxels] * 3, -1), photometric="rgb")
    return Rendered({}, {"v.tif": buffer.getvalue()}, "v.tif", "tiff", options={"voxel_size": truth.voxel_size})


def beside_labels(truth: Truth) -> Rendered:
    """An HDF5 file whose only dataset of three axes holds labels, while raw has a fourth axis of length 1."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        raw = file.create_dataset("a/raw", data=truth.voxels[..., None])
        raw.attrs["axistags"] = hdf5_volumes.axistags(list("zyxc"))
        raw.attrs["resolution"] = file.create_dataset("z/labels", data=truth.voxels).attrs["resolution"] = SIZE
    return Rendered({}, {"v.h5": buffer.getvalue()}, "v.h5", "hdf5")


def unknown_filter(truth: Truth) -> Rendered:
    """An HDF5 dataset whose chunks need the filter 32004 (LZ4), which is not installed."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk(truth.voxels.shape)
        settings.set_filter(32004, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(truth.voxels.shape)
        node = h5py.Dataset(h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT8, space, settings))
        node.id.write_direct_chunk((0, 0, 0), b'\4"M\x18' * 9, filter_mask=0)
        node.attrs["resolution"] = truth.voxel_size
    return Rendered({}, {"v.h5": buffer.getvalue()}, "v.h5", "hdf5")


SOURCE_ROWS = [
    Row("N5, x, y, z", N5_SPEC, n5("flat", says_axes=False)),
    Row("N5, axes z, y, x stated", N5_SPEC, n5("flat", axes=list("zyx"))),
    Row("N5, pixelResolution in micron", VIEWER, n5("viewer", unit=dict.fromkeys("zyx", MICRON)), offset=ORIGIN),
    Row("N5, pixelResolution in a unit that is no length", VIEWER,
        n5("viewer", unit=dict.fromkeys("zyx", ("banana", 1.0))), refused="banana"),
    Row("N5, COSEM transform", "COSEM, STTransform", n5("cosem")),
    Row("N5, Paintera", "Paintera data format", n5("paintera")),
    Row("N5, no block stored", N5_SPEC, changed(n5("flat"), lost), refused="block|chunk|stored"),
    Row("N5, blocks under other names", N5_SPEC, changed(n5("flat"), named(".bak")), refused="block|chunk|stored"),
    Row("precomputed, raw", NEUROGLANCER, precomputed()),
    Row("precomputed, chunks as gzip files", "CloudVolume, file://", precomputed(zipped=True)),
    Row("precomputed, shards", NEUROGLANCER + ", sharded format", precomputed(sharded=True)),
    Row("precomputed, chunks under other names", NEUROGLANCER, changed(precomputed(), named(".raw")),
        refused="chunk|stored"),
    Row("precomputed, three channels", NEUROGLANCER, precomputed(channels=3), refused="channel"),
    Row("HDF5, CREMI", CREMI, hdf5()),
    Row("HDF5, numbers as a column of big-endian floats", HDF5, hdf5(number="big")),
    Row("HDF5, element_size_um", "HDF5 plugin of Fiji", hdf5("um"), offset=ORIGIN),
    Row("HDF5, axistags x, y, z, c", VIGRA, hdf5("bare", axes=list("xyzc"), tags=True, named=True)),
    Row("HDF5, three channels by axistags", VIGRA,
        hdf5("bare", axes=list("zyxc"), tags=True, named=True, lengths={"c": 3}), refused="c"),
    Row("HDF5, raw of z, y, x, c beside labels of z, y, x", VIGRA, beside_labels, refused="a/raw, z/labels"),
    Row("HDF5, a virtual dataset", HDF5, hdf5(container="virtual")),
    Row("HDF5, a virtual dataset whose source is lost", HDF5, hdf5(container="virtual", lost=True), refused="other.h5"),
    Row("HDF5, an external link", HDF5, hdf5(container="external_link", named=True)),
    Row("HDF5, an external link whose file is lost", HDF5, hdf5(container="external_link", named=True, lost=True),
        refused="other.h5|link"),
    Row("HDF5, a filter that is not installed", HDF5, unknown_filter, refused="32004|filter"),
    Row("HDF5, resolution as text", HDF5, hdf5(attributes={"resolution": "4x8x40"}), refused="resolution"),
    Row("TIFF, ImageJ in micron", IMAGEJ, tiff("imagej", unit=MICRON), offset=ORIGIN),
    Row("TIFF, ImageJ's escape of the sign for micro", IMAGEJ, tiff("imagej", unit=("\\u00B5m", 1e3)), offset=ORIGIN),
    Row("TIFF, OME in micrometres", OME, tiff("ome", unit=("µm", 1e3)), offset=ORIGIN),
    Row("TIFF, OME in angstrom", OME, tiff("ome", unit=("Å", 0.1)), offset=ORIGIN),
    Row("TIFF, OME in a unit of the stage", OME, tiff("ome", unit=("reference frame", 1.0)), refused="reference frame"),
    Row("TIFF, written in three pieces", "tifffile, append", tiff("plain", pieces=3)),
    Row("TIFF, white is zero", TIFF6 + ", PhotometricInterpretation", tiff("plain", white_is_zero=True)),
    Row("TIFF, big-endian BigTIFF in tiles of zlib", "BigTIFF; " + TIFF6,
        tiff("plain", big_endian=True, bigtiff=True, compression="zlib", tile=(16, 16)), dtype="uint16"),
    Row("TIFF, colours", TIFF6, coloured, refused="colour|channel"),
    Row("TIFF, an overview before the volume", OME, overview_first, refused="image|series"),
    Row("TIFF, a page of another size", TIFF6, smaller_page, refused="page|image|size|shape"),
    Row("folder, PNG numbered without zeros", PICTURES, folder("png", first=95)),
    Row("folder, PNG of 16 bits", "PNG specification", folder("png"), dtype="uint16"),
    Row("folder, TIFF", PICTURES, folder("tif", name="s{:04d}")),
    Row("folder, a running number that is not the last", PICTURES, folder("png", name="s{:04d}_4nm")),
    Row("folder, a section lost", PICTURES, changed(folder("png"), without(3)), refused="section"),
]  # fmt: skip
