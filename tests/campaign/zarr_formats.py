"""The rows of Zarr, and the changes that keep what an array means."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from lab_files.specimen import Rendered, truth_of
from lab_files.zarr_arrays import IN_V3, ArrayForm
from lab_files.zarr_volumes import ZarrVolume
from lab_files.zarr_volumes import render as undamaged

from campaign import json_changes, ome_changes, path_changes, zarr_changes, zarr_damage, zarr_size_damage
from campaign.mutation import Format


def _v2(rng: random.Random) -> ZarrVolume:
    return ZarrVolume(truth_of(rng, rng.choice(["uint8", "uint16"])), rng.choice(["own", "xarray"]))


def _v3(rng: random.Random) -> ZarrVolume:
    truth, style = truth_of(rng, rng.choice(["uint8", "uint16"])), rng.choice(["own", "xarray", "tensorstore"])
    form = ArrayForm(version=3, separator="/", compressor=rng.choice(IN_V3))
    if style == "tensorstore":
        truth = truth.at((0.0, 0.0, 0.0))  # the attribute states no offset
    return ZarrVolume(truth, style, form)


def _old_ome(rng: random.Random) -> ZarrVolume:
    """Versions 0.1 to 0.3: axes t, c, z, y, x, and no transformations."""
    truth = dataclasses.replace(truth_of(rng), voxel_size=None, offset=(0.0, 0.0, 0.0))
    version = rng.choice(["0.1", "0.2", "0.3"])
    form = ArrayForm(separator="." if version == "0.1" else "/")
    return ZarrVolume(truth, "ome", form, axes=list("tczyx"), ome=version)


def _ome(rng: random.Random) -> ZarrVolume:
    version = rng.choice(["0.4", "0.5"])
    form = ArrayForm(separator="/") if version == "0.4" else ArrayForm(version=3, separator="/", compressor="zstd")
    volume = ZarrVolume(truth_of(rng, rng.choice(["uint8", "uint16"])), "ome", form, ome=version)
    if rng.random() < 0.4:
        volume.axes = list("tczyx")
    return volume


def _webknossos(rng: random.Random) -> ZarrVolume:
    truth = truth_of(rng).at((0.0, 0.0, 0.0))
    form = (
        ArrayForm(separator=".", fortran=True)
        if rng.random() < 0.5
        else ArrayForm(version=3, separator="/", compressor="zstd")
    )
    return ZarrVolume(truth, "webknossos", form, axes=list("cxyz"))


def stated(files: Rendered, volume: ZarrVolume) -> Rendered:
    """The files, with what the user states."""
    if "stated" in volume.broken:
        files.stated |= {"voxel_size": volume.truth.voxel_size, "offset": volume.truth.offset}
    if "axes_stated" in volume.broken:
        files.stated["axes"] = tuple(volume.axes)
    return files


def _homes(files: Rendered) -> list[dict[str, Any]]:
    """Attributes of nodes: `.zattrs` is one object; `zarr.json` has the member `attributes`."""
    found = [d for name, d in files.documents.items() if name.endswith(".zattrs") and isinstance(d, dict)]
    return found + [d["attributes"] for name, d in files.documents.items() if name.endswith("zarr.json")]


def _main(files: Rendered) -> list[str]:
    needed = [f"{files.path}/.zarray", f"{files.path}/zarr.json"]
    says = [
        n for n, d in files.documents.items() if "multiscales" in str(d) or n.endswith((".zattrs", "properties.json"))
    ]
    return sorted({n for n in [*needed, *says] if n in files.documents})


def render(volume: ZarrVolume) -> Rendered:
    """The files; a chunk is damaged here, when the chunks are known."""
    return stated(zarr_damage.damaged(undamaged(volume), volume), volume)


def formats() -> list[Format]:
    """The rows of Zarr."""
    every = (
        *json_changes.document_changes(_homes, _main), zarr_changes.ARRAY_CHANGES, zarr_changes.AXIS_CHANGES,
        zarr_changes.SIZE_CHANGES, zarr_changes.LINKED_CHANGES, zarr_damage.ARRAY_DAMAGE, path_changes.ANY_PATH,
        path_changes.FOLDER_PATH,
    )  # fmt: skip
    sizes, newer, by_user = zarr_size_damage.SIZE_DAMAGE, zarr_changes.V3_CHANGES, zarr_changes.STATED_CHANGES
    ome = (sizes, newer, ome_changes.OME_CHANGES, ome_changes.OME_DAMAGE)
    webknossos = (sizes, newer, zarr_size_damage.WEBKNOSSOS_DAMAGE)
    return [
        Format("Zarr v2", _v2, render, (*every, sizes, by_user)),
        Format("Zarr v3", _v3, render, (*every, sizes, newer, by_user)),
        Format("OME-Zarr 0.1 to 0.3", _old_ome, render, every),
        Format("OME-Zarr 0.4 and 0.5", _ome, render, (*every, *ome)),
        Format("WEBKNOSSOS", _webknossos, render, (*every, *webknossos)),
    ]
