"""Changes of the metadata of OME-Zarr (ngff.openmicroscopy.org; RFC 5 for `sequence` and `affine`)."""

from __future__ import annotations

import random
from typing import Any

from lab_files.specimen import plain
from lab_files.zarr_volumes import ZarrVolume

from campaign.mutation import Changes
from campaign.spellings import NO_SIZE

#: Other ways to state the same transformation, and entries for other arrays.
OME_CHANGES = Changes()


@OME_CHANGES.preserving("the scale divided over level and multiscale")
def _split(volume: ZarrVolume, rng: random.Random) -> None:
    volume.split = rng.choice([2.0, 0.5, 4.0, 1000.0])


@OME_CHANGES.preserving("the translation stated at the multiscale")
def _above(volume: ZarrVolume, rng: random.Random) -> None:
    volume.shift_above = True


@OME_CHANGES.preserving("the level in a folder of its own")
def _nested(volume: ZarrVolume, rng: random.Random) -> None:
    volume.level = rng.choice(["em/s0", "0", "scale0/image", "full"])


@OME_CHANGES.preserving("the array is a coarser level", lambda v: v.factors == (1, 1, 1))
def _coarser(volume: ZarrVolume, rng: random.Random) -> None:
    volume.factors = rng.choice([(2, 2, 2), (1, 2, 2), (8, 8, 8), (1, 4, 4)])
    volume.level = "s1"


@OME_CHANGES.preserving("another multiscale and other levels")
def _others(volume: ZarrVolume, rng: random.Random) -> None:
    axes = [{"name": a, "type": "space", "unit": "meter"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [1, 2, 3]}]
    volume.broken["before"] = [{"axes": axes, "datasets": [{"path": "s7", "coordinateTransformations": scale}]}]


@OME_CHANGES.undecidable("the transformations as one sequence", exact=True)
def _sequence(volume: ZarrVolume, rng: random.Random) -> None:
    volume.wrapped = True


@OME_CHANGES.undecidable("the transformations as one affine", exact=True)
def _affine(volume: ZarrVolume, rng: random.Random) -> None:
    volume.affine = True


@OME_CHANGES.undecidable("a path with a dot or a slash before it", exact=True)
def _path(volume: ZarrVolume, rng: random.Random) -> None:
    volume.broken["path"] = rng.choice(["./{}", "/{}", "{}/"])


@OME_CHANGES.undecidable(
    "the metadata of 0.4 in Zarr v3, or of 0.5 without its version", lambda v: v.form.version == 3, exact=True
)
def _bare(volume: ZarrVolume, rng: random.Random) -> None:
    volume.broken["bare"] = True


@OME_CHANGES.undecidable("the translation before the scale", lambda v: not v.shift_above, exact=True)
def _turned(volume: ZarrVolume, rng: random.Random) -> None:
    scale = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1)
    shift = [plain(n / s) for n, s in zip(volume.numbers(volume.truth.offset, 0), scale, strict=True)]
    volume.split, volume.factors = 1.0, (1, 1, 1)
    volume.broken["level"] = [{"type": "translation", "translation": shift}, {"type": "scale", "scale": scale}]


@OME_CHANGES.undecidable("an identity after the transformations", exact=True)
def _identity(volume: ZarrVolume, rng: random.Random) -> None:
    volume.more.append({"type": "identity"})


#: Transformations that place nothing.
OME_DAMAGE = Changes()


@OME_DAMAGE.destroying("a scale that is no size")
def _scale(volume: ZarrVolume, rng: random.Random) -> None:
    scale: list[Any] = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1)
    scale[volume.axes.index(rng.choice("zyx"))] = rng.choice(NO_SIZE)
    volume.broken["level"] = [{"type": "scale", "scale": scale}]


@OME_DAMAGE.destroying("a scale or translation of the wrong length")
def _lengths(volume: ZarrVolume, rng: random.Random) -> None:
    scale = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1)
    shift = volume.numbers(volume.truth.offset, 0)
    wrong = rng.choice([(scale[:-1], shift), (scale, shift[:-1]), ([*scale, 1], shift), (scale, [*shift, 0])])
    volume.broken["level"] = [
        {"type": "scale", "scale": wrong[0]},
        {"type": "translation", "translation": wrong[1]},
    ]


@OME_DAMAGE.destroying("a translation that is no place")
def _shift(volume: ZarrVolume, rng: random.Random) -> None:
    shift: list[Any] = volume.numbers(volume.truth.offset, 0)
    shift[volume.axes.index(rng.choice("zyx"))] = rng.choice([float("nan"), float("inf"), "here", None, []])
    scale = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1)
    volume.broken["level"] = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]


@OME_DAMAGE.destroying("a transformation that cannot be read")
def _kind(volume: ZarrVolume, rng: random.Random) -> None:
    n = len(volume.axes)
    wrong: list[Any] = [
        {"type": "scale", "path": "transform/scale"}, {"type": "displacements", "path": "field"},
        {"type": "rotation", "rotation": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]}, {"scale": [1] * n}, "scale", 4,
        {"type": "scale"}, {"type": "bijection", "forward": {}, "inverse": {}},
    ]  # fmt: skip
    volume.broken["level"] = [rng.choice(wrong)]
