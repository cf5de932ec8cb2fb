"""Changes that take the meaning from axes, sizes and offsets in Zarr."""

from __future__ import annotations

import random
from typing import Any

from lab_files.zarr_volumes import ZarrVolume

from campaign.mutation import Changes
from campaign.spellings import NO_LENGTH, NO_SIZE

#: Axes and sizes that mean nothing.
SIZE_DAMAGE = Changes()


def has_names(volume: ZarrVolume) -> bool:
    return volume.style != "webknossos" and "axes_stated" not in volume.broken


def states_size(volume: ZarrVolume) -> bool:
    return volume.style in ("own", "xarray") and "stated" not in volume.broken


@SIZE_DAMAGE.destroying("an axis named twice", has_names)
def _twice(volume: ZarrVolume, rng: random.Random) -> None:
    names = volume.names
    names[names.index(volume.shown.get("z", "z"))] = volume.shown.get("x", "x")
    volume.broken["names"] = names


@SIZE_DAMAGE.destroying("too few or too many axes named", has_names)
def _count(volume: ZarrVolume, rng: random.Random) -> None:
    names = volume.names
    volume.broken["names"] = rng.choice([names[:-1], [*names, "w"], ["q", *names]])


@SIZE_DAMAGE.destroying("names that are no axes of space", has_names)
def _names(volume: ZarrVolume, rng: random.Random) -> None:
    volume.broken["names"] = [rng.choice("abdefg") + str(i) for i, _ in enumerate(volume.axes)]


@SIZE_DAMAGE.destroying("a unit that is no length", lambda v: v.style != "xarray" and "stated" not in v.broken)
def _unit(volume: ZarrVolume, rng: random.Random) -> None:
    wrong = (rng.choice(NO_LENGTH), 1.0)
    volume.units = dict.fromkeys("zyx", wrong) if rng.random() < 0.5 else volume.units | {rng.choice("zx"): wrong}
    if volume.style == "webknossos":
        volume.units = dict.fromkeys("zyx", wrong)


@SIZE_DAMAGE.destroying("a voxel size that is no size", states_size)
def _size(volume: ZarrVolume, rng: random.Random) -> None:
    size = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1, every=False)
    size[rng.randrange(3)] = rng.choice(NO_SIZE)
    volume.broken["attributes"] = {volume.size_name: size}


@SIZE_DAMAGE.destroying("a voxel size of the wrong length", states_size)
def _length(volume: ZarrVolume, rng: random.Random) -> None:
    size = volume.numbers(volume.truth.voxel_size or (1.0, 1.0, 1.0), 1, every=False)
    volume.broken["attributes"] = {volume.size_name: rng.choice([size[:2], [*size, 4, 4, 4], "4x4x40", {"x": 4}])}


@SIZE_DAMAGE.destroying("an offset that is no place", states_size)
def _offset(volume: ZarrVolume, rng: random.Random) -> None:
    wrong: list[Any] = [[0, float("nan"), 0], ["a", 0, 0], [0, 0], [float("inf"), 0, 0], [None, 0, 0], "origin"]
    volume.broken["attributes"] = {"offset": rng.choice(wrong)}


@SIZE_DAMAGE.destroying("a dimension_units that is none", lambda v: v.style == "tensorstore")
def _dimension_units(volume: ZarrVolume, rng: random.Random) -> None:
    volume.broken["attributes"] = {
        "dimension_units": rng.choice([["4 nm"], ["-4 nm"] * len(volume.axes), ["nan nm"] * len(volume.axes), 4])
    }


#: An order of axes or a scale that WEBKNOSSOS cannot mean.
WEBKNOSSOS_DAMAGE = Changes()


@WEBKNOSSOS_DAMAGE.destroying("an axisOrder that fits no array")
def _order(volume: ZarrVolume, rng: random.Random) -> None:
    wrong: list[Any] = [{"c": 0, "x": 1, "y": 2}, {"c": 0, "x": 1, "y": 1, "z": 2}, {"x": 7, "y": 8, "z": 9}, "cxyz",
                        {"c": 0, "x": "1", "y": "two", "z": 3}]  # fmt: skip
    volume.broken["order"] = rng.choice(wrong)


@WEBKNOSSOS_DAMAGE.destroying("a scale that is no size")
def _factor(volume: ZarrVolume, rng: random.Random) -> None:
    factor: list[Any] = [4, 8, 40]
    factor[rng.randrange(3)] = rng.choice(NO_SIZE)
    wrong: list[Any] = [
        {"factor": factor, "unit": "nanometer"},
        {"factor": [4, 8], "unit": "nanometer"},
        [4, 8],
        "4 8 40",
    ]
    volume.broken["scale"] = rng.choice(wrong)
