"""Where two grids meet: which voxels of one lie in a voxel of the other is known by construction, whoever states it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr_tools import axes_of, level, pyramid, write_array, write_attributes

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.evaluation.comparison import compare
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.tissue_mask import Mask
from fgnet_pipeline.store.volume import Volume, open_volume

#: Of the raw volume: voxel size in nm and shape, zyx.
SIZE, SHAPE = np.array([40.0, 8.0, 4.0]), (13, 34, 40)


def write_raw(folder: Path, kind: str, shift: Any, size: Any = SIZE) -> Volume:
    """A raw volume whose voxel 0 is at `shift` in nm: its corner in our attributes, its centre in OME-Zarr."""
    data, path = np.ones(SHAPE, np.uint8), folder / "raw" / "0"
    attributes: dict[str, Any] = {}
    if kind == "ours":
        attributes = {"voxel_size": list(size), "offset": list(shift)}
    elif kind == "ome":
        write_attributes(folder / "raw", pyramid(level("0", size, shift)))
    elif kind == "ome without translation":
        write_attributes(folder / "raw", pyramid(level("0", size)))
    else:  # the raw volume is the second level of a pyramid with voxels of half its size
        half = size / 2
        levels = level("fine", half, shift), level("0", size, shift + (size - half) / 2)
        write_attributes(folder / "raw", pyramid(*levels))
    return open_volume(write_array(path, data, attributes))


def write_mask(folder: Path, kind: str, data: Any, origin: Any, factor: Any, size: Any = SIZE) -> Volume:
    """A mask whose voxel covers `factor` raw voxels.

    Args:
        folder: of the raw volume, too.
        kind: who states the place.
        data: of the mask.
        origin: nm, zyx, of the raw voxel with which the mask begins, as the raw volume states positions.
        factor: raw voxels per mask voxel, zyx.
        size: of a raw voxel, nm, zyx.
    """
    large, attributes, path = size * factor, {}, folder / "mask" / "3"
    centre = origin + (large - size) / 2
    if kind == "ours":
        attributes = {"voxel_size": list(large), "offset": list(origin)}
    elif kind == "ours in um":
        attributes = {"voxel_size": list(large / 1000), "offset": list(origin / 1000), "units": ["um"] * 3}
    elif kind == "ome":
        write_attributes(folder / "mask", pyramid(level("3", large, centre)))
    elif kind == "ome in um":
        axes = axes_of(unit="micrometer")
        write_attributes(folder / "mask", pyramid(level("3", large / 1000, centre / 1000), axes=axes))
    elif kind == "level of the pyramid":
        levels = level("0", size, origin), level("1", size * 2, origin + size / 2), level("3", large, centre)
        write_attributes(folder / "mask", pyramid(*levels))
    elif kind == "level of a coarse pyramid":
        write_attributes(folder / "mask", pyramid(level("3", large, centre), level("4", large * 2, centre + large / 2)))
    elif kind == "one corner":
        levels = level("0", size, origin), level("3", large, origin)
        write_attributes(folder / "mask", pyramid(*levels))
    else:
        units = {"units": ["nm"] * 3, "axes": ["z", "y", "x"]}
        attributes = {"transform": {**units, "scale": list(large), "translate": list(centre)}}
    return open_volume(write_array(path, data, attributes), "volume.mask")


MASKS = ("ours", "ours in um", "ome", "ome in um", "level of the pyramid", "level of a coarse pyramid", "one corner",
         "cosem")  # fmt: skip


@pytest.mark.parametrize("mask_kind", MASKS)
@pytest.mark.parametrize("raw_kind", ["ours", "ome", "ome without translation", "second level"])
def test_a_mask_covers_the_raw_voxels_that_it_was_made_from(raw_kind: str, mask_kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(raw_kind) * 100 + len(mask_kind))
    for case, (factor, begin) in enumerate((((8, 8, 8), (0, 0, 0)), ((1, 2, 4), (3, 2, -8)), ((3, 5, 7), (0, -3, 5)))):
        folder = tmp_path / str(case)
        shift = np.zeros(3) if raw_kind == "ome without translation" or case == 0 else SIZE * (2, 3, 5)
        raw = write_raw(folder, raw_kind, shift)
        data = rng.random(np.ceil(np.divide(SHAPE, factor)).astype(int)) < 0.5
        # Positions as the raw volume states them; of the second level, as the finest level of its pyramid does.
        size = SIZE / 2 if raw_kind == "second level" else SIZE
        ratio = np.rint(np.asarray(factor) * SIZE / size)
        mask = write_mask(folder, mask_kind, data.astype(np.uint8), shift + np.multiply(begin, SIZE), ratio, size)
        assert raw.frame is not None
        found = Mask(mask, raw.frame).read(Box((0, 0, 0), SHAPE))
        positions = [(np.arange(n) - b) // f for n, b, f in zip(SHAPE, begin, factor, strict=True)]
        inside = [(p >= 0) & (p < n) for p, n in zip(positions, data.shape, strict=True)]
        expected = data[np.ix_(*(np.clip(p, 0, n - 1) for p, n in zip(positions, data.shape, strict=True)))]
        expected &= inside[0][:, None, None] & inside[1][:, None] & inside[2]
        assert np.array_equal(found, expected), (case, factor, begin)


def test_a_level_without_translations_begins_at_the_corner_of_the_volume(tmp_path: Path) -> None:
    """The common pyramid of block averages, whose writer states no translation at all."""
    levels = [level(str(n), SIZE * 2**n) for n in range(4)]
    write_attributes(tmp_path, pyramid(*levels))
    raw = open_volume(write_array(tmp_path / "0", np.ones(SHAPE, np.uint8)))
    data = np.random.default_rng(0).random((2, 5, 5)) < 0.5
    mask = open_volume(write_array(tmp_path / "3", data.astype(np.uint8)), "volume.mask")
    assert raw.frame is not None
    expected = data.repeat(8, 0).repeat(8, 1).repeat(8, 2)[:13, :34, :40]
    assert np.array_equal(Mask(mask, raw.frame).read(Box((0, 0, 0), SHAPE)), expected)
    assert "one corner" in mask.sources.offset


def test_a_full_resolution_volume_of_ome_keeps_its_offset(tmp_path: Path) -> None:
    """Outputs that were begun before stay where they are."""
    for name, shift in (("a", [0, 0, 0]), ("b", [80, 24, 12])):
        levels = level("0", SIZE, shift), level("1", SIZE * 2, shift + SIZE / 2)
        write_attributes(tmp_path / name, pyramid(*levels))
        frame = open_volume(write_array(tmp_path / name / "0", np.ones(SHAPE, np.uint8))).frame
        assert frame == Frame((40, 8, 4), (float(shift[0]), float(shift[1]), float(shift[2])))


def test_rounded_voxel_sizes_do_not_move_a_mask_far_from_the_origin(tmp_path: Path) -> None:
    """Our arrays store 10/3 nm as 3333 pm: after 100 000 voxels that is ten voxels."""
    raw = open_volume(write_array(tmp_path / "raw", np.ones((2, 2, 2), np.uint8)))
    for size, stored in ((10 / 3, 80 / 3), (3.333, 80 / 3), (10 / 3, 26.667), (3.333, 26.667)):
        attributes = {"voxel_size": [stored] * 3, "offset": [0, 0, 0]}
        path = write_array(tmp_path / f"{size} {stored}", np.ones((2, 2, 2), np.uint8), attributes)
        mask = Mask(open_volume(path), Frame((size,) * 3, (0, 0, 0)))
        begin = 10**6
        assert np.array_equal(mask._positions(2, begin, begin + 100), np.arange(begin, begin + 100) // 8)
    assert raw.frame is None


def ids(shape: tuple[int, ...]) -> Any:
    """Every voxel has an id of its own, so that any shift is seen in the score."""
    return np.arange(1, np.prod(shape) + 1, dtype=np.uint64).reshape(shape)


@pytest.mark.parametrize("level_", [0, 1, 2])
@pytest.mark.parametrize("kind", ["centres", "one corner"])
def test_evaluation_meets_labels_of_a_pyramid(level_: int, kind: str, tmp_path: Path) -> None:
    """Labels of each level, against a segmentation of that level with our attributes, or of the same pyramid."""
    sizes = [SIZE * 2**n for n in range(3)]
    shifts = [(s - SIZE) / 2 if kind == "centres" else 0 * s for s in sizes]
    write_attributes(tmp_path / "l", pyramid(*(level(str(n), sizes[n], shifts[n]) for n in range(3))))
    truth = ids((4, 5, 6))
    labels = write_array(tmp_path / "l" / str(level_), truth)
    ours = {"voxel_size": list(sizes[level_]), "offset": [0, 0, 0]}
    scores = compare(write_array(tmp_path / "s", truth, ours), labels)
    assert scores.voi_sum == 0 and scores.voxels == truth.size
    assert compare(labels, labels).voxels == truth.size
    # Labels of a part of the volume, one voxel further along each axis.
    crop = {"voxel_size": list(sizes[level_]), "offset": list(sizes[level_])}
    scores = compare(labels, write_array(tmp_path / "c", truth[1:, 1:, 1:], crop))
    assert scores.voi_sum == 0 and scores.voxels == truth[1:, 1:, 1:].size


def test_evaluation_refuses_half_a_voxel(tmp_path: Path) -> None:
    one = write_array(tmp_path / "a", ids((4, 5, 6)), {"voxel_size": [8, 8, 8], "offset": [0, 0, 0]})
    other = write_array(tmp_path / "b", ids((4, 5, 6)), {"voxel_size": [8, 8, 8], "offset": [4, 4, 4]})
    with pytest.raises(InputError, match=r"whole number of voxels"):
        compare(one, other)


@pytest.mark.parametrize("shift", [0, 3, 3000])
def test_evaluation_takes_voxel_sizes_that_our_arrays_round(shift: int, tmp_path: Path) -> None:
    """A third of 10 nm: our arrays hold 3333 pm, the labels the whole number."""
    size = (10 / 3,) * 3
    truth = ids((2, 2, shift + 4))
    ours = write_array(tmp_path / "a", truth, Frame(size, (0.0, 0.0, 0.0)).attributes())
    exact = {"voxel_size": list(size), "offset": [0, 0, shift * 10 / 3]}
    labels = write_array(tmp_path / "b", truth[:, :, shift:], exact)
    for pair in ((ours, labels), (labels, ours)):
        scores = compare(*pair)
        assert scores.voi_sum == 0 and scores.voxels == 16
    wrong = write_array(tmp_path / "c", truth, {"voxel_size": [10 / 3, 10 / 3, 3.4], "offset": [0, 0, 0]})
    with pytest.raises(InputError, match=r"voxel size"):
        compare(ours, wrong)
