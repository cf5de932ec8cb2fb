"""Block-by-block evaluation: independent of blocks, offsets and workers, and strict about its input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_tools import Command, Refused, write_volume
from scipy import ndimage

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.evaluation.comparison import compare
from fgnet_pipeline.evaluation.evaluate import Comparison, scores_of
from fgnet_pipeline.evaluation.protocols import CREMI, PROTOCOLS, EvaluationProtocol, border_mask, protocol_of
from fgnet_pipeline.kernels import contingency as kernel


def blobs(seed: int, shape: tuple[int, ...] = (12, 17, 19)) -> npt.NDArray[np.uint64]:
    """Ids that are compact, as those of a segmentation are, some voxels 0."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 9, tuple(-(-n // 4) for n in shape)).astype(np.uint64)
    full = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)
    return full[tuple(slice(n) for n in shape)]


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(-6, 6)] * 3), st.sampled_from([1, 3]))
def test_blocks_offsets_and_workers_change_nothing(
    block: tuple[int, ...], shift: tuple[int, ...], workers: int
) -> None:
    segmentation, labels = blobs(1), blobs(2)
    got = Comparison(segmentation, labels, segmentation_offset=shift, block=block, workers=workers).contingency()
    cut_labels, cut_segments = [], []
    for s, n in zip(shift, labels.shape, strict=True):
        cut_labels.append(slice(max(s, 0), n + min(s, 0)))
        cut_segments.append(slice(max(-s, 0), n - max(s, 0)))
    whole = kernel.contingency(segmentation[tuple(cut_segments)], labels[tuple(cut_labels)])
    for name in ("segments", "labels", "counts"):
        np.testing.assert_array_equal(getattr(got, name), getattr(whole, name))


def test_region_is_in_voxels_of_the_labels_array() -> None:
    segmentation, labels = blobs(1), blobs(2)
    region = Box((3, 2, 0), (9, 17, 5))
    got = Comparison(segmentation, labels[2:], labels_offset=(2, 0, 0), region=region, block=(4, 4, 4)).scores()
    assert got == scores_of(kernel.contingency(segmentation[5:11, 2:17, :5], labels[5:11, 2:17, :5]))


def test_scores_round_trip_through_json_and_combine() -> None:
    scores = Comparison(blobs(1), blobs(2)).scores()
    assert json.loads(json.dumps(scores.to_dict())) == scores.to_dict()
    assert scores.voi_sum == scores.voi_split + scores.voi_merge > 0
    assert scores.cremi_score == pytest.approx((scores.voi_sum * scores.adapted_rand_error) ** 0.5)
    assert scores.voxels == int((blobs(2) != 0).sum())


class Counting:
    """An array that notes the largest piece read of it."""

    def __init__(self, array: npt.NDArray[np.uint64], chunks: tuple[int, ...] | None = None) -> None:
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, chunks
        self.largest = 0

    def __getitem__(self, index: Any) -> npt.NDArray[np.uint64]:
        piece = self.array[index]
        self.largest = max(self.largest, piece.size)
        return piece


def test_no_more_than_a_block_is_read_at_a_time() -> None:
    segmentation, labels = Counting(blobs(1)), Counting(blobs(2))
    Comparison(segmentation, labels, block=(4, 5, 6)).contingency()
    assert segmentation.largest == labels.largest == 120


def test_the_chosen_block_is_whole_chunks() -> None:
    array = Counting(np.ones((200, 200, 200), np.uint64), chunks=(50, 100, 60))
    Comparison(array, array).contingency()
    assert array.largest == 150 * 100 * 120


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(0, 30), st.tuples(*[st.integers(4, 15)] * 3), st.integers(1, 2))
def test_ignored_border_does_not_depend_on_blocks(
    seed: int, border: float, block: tuple[int, ...], workers: int
) -> None:
    segmentation, labels = blobs(seed), blobs(seed + 1)
    rules = EvaluationProtocol("test", border_nm=border)
    size = (40, 4, 6)
    got = Comparison(
        segmentation, labels, labels_voxel_size=size, block=block, workers=workers, protocol=rules
    ).contingency()
    kept = np.where(border_mask(labels, border, (4, 6)), np.uint64(0), labels)
    expected = kernel.contingency(segmentation, kept)
    for name in ("segments", "labels", "counts"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def cremi_scores(segmentation: npt.NDArray[np.uint64], labels: npt.NDArray[np.uint64], size: float) -> dict[str, float]:
    """The steps of cremi_python's NeuronIds, border_mask and adapted Rand error, on a whole volume in dense tables."""
    kept = labels.copy()
    for section, out in zip(labels, kept, strict=True):
        padded = np.pad(section, 1, mode="edge")
        inner = np.ones(section.shape, bool)
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
            inner &= section == padded[dy : dy + section.shape[0], dx : dx + section.shape[1]]
        if not inner.all():
            out[ndimage.distance_transform_edt(inner) <= 25.0 / size] = 0
    kept[labels >= 2**64 - 3] = 0
    ids, truth = (np.unique(a, return_inverse=True)[1].ravel() for a in (segmentation, kept))
    counted = kept.ravel() > 0
    table = np.zeros((ids.max() + 1, truth.max() + 1))
    np.add.at(table, (ids[counted], truth[counted]), 1)
    background = float(table[0].sum()) if (segmentation == 0).any() else 0.0
    objects = table[1:] if (segmentation == 0).any() else table
    p = table / table.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        split = -np.nansum(p * np.log2(p / p.sum(0)))
        merge = -np.nansum(p * np.log2(p / p.sum(1, keepdims=True)))
    both, extra = (table.sum(0) ** 2).sum() + (objects.sum(1) ** 2).sum(), background / labels.size
    rand = 1 - 2 * ((objects**2).sum() + extra) / (both + extra)
    return {"split": split, "merge": merge, "rand": rand, "voxels": counted.sum(), "tolerance": 2 / both}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.tuples(*[st.integers(3, 20)] * 3), st.sampled_from([4.0, 12.0, 20.0]))
def test_the_protocol_of_cremi_is_that_of_its_code(seed: int, block: tuple[int, ...], size: float) -> None:
    segmentation, labels = blobs(seed, (3, 40, 44)), blobs(seed + 1, (3, 40, 44)).repeat(2, 1).repeat(2, 2)[:, :40, :44]
    labels = labels + np.uint64(1)
    labels[1, :20, :20] = 2**64 - 1
    got = Comparison(
        segmentation, labels, labels_voxel_size=(40.0, size, size), block=block, protocol=CREMI
    ).contingency()
    expected = cremi_scores(segmentation, labels, size)
    assert got.voxels == expected["voxels"]
    if got.voxels:
        scores = scores_of(got, CREMI)
        assert scores.voi_split == pytest.approx(expected["split"], abs=1e-9)
        assert scores.voi_merge == pytest.approx(expected["merge"], abs=1e-9)
        assert scores.adapted_rand_error == pytest.approx(expected["rand"], abs=expected["tolerance"])
        assert scores.cremi_score == (scores.voi_sum * scores.adapted_rand_error) ** 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_snemi_takes_every_background_voxel_for_an_object(seed: int) -> None:
    segmentation, labels = blobs(seed, (4, 9, 10)), blobs(seed + 1, (4, 9, 10))
    renumbered = segmentation.copy()
    zeros = segmentation == 0
    renumbered[zeros] = 1000 + np.arange(zeros.sum(), dtype=np.uint64)
    found = Comparison(segmentation, labels, protocol=protocol_of("snemi")).scores()
    a, b = labels[labels > 0], renumbered[labels > 0]
    pairs = [(a[:, None] == a).sum(), (b[:, None] == b).sum(), ((a[:, None] == a) & (b[:, None] == b)).sum()]
    assert found.adapted_rand_error == pytest.approx(1 - 2 * pairs[2] / (pairs[0] + pairs[1]), abs=1e-12)


def test_scores_say_their_protocol() -> None:
    for name, protocol in PROTOCOLS.items():
        comparison = Comparison(blobs(1), blobs(2), labels_voxel_size=(40, 40, 40), protocol=protocol)
        assert comparison.scores().to_dict()["protocol"] == name
    with pytest.raises(InputError, match="cremi"):
        protocol_of("isbi")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.floats(0, 20))
def test_border_mask_equals_brute_force(seed: int, distance: float) -> None:
    labels = blobs(seed, (2, 9, 11))
    labels[1] = 3
    expected = np.zeros(labels.shape, bool)
    cross = ndimage.generate_binary_structure(2, 1)
    for section, out in zip(labels, expected, strict=True):
        low = ndimage.minimum_filter(section, footprint=cross, mode="nearest")
        high = ndimage.maximum_filter(section, footprint=cross, mode="nearest")
        beside = np.argwhere(low != high)
        for y, x in np.ndindex(section.shape):
            away = np.hypot((beside[:, 0] - y) * 4.0, (beside[:, 1] - x) * 5.0)
            out[y, x] = bool((away <= distance).any())
    np.testing.assert_array_equal(border_mask(labels, distance, (4.0, 5.0)), expected)


GOOD = np.ones((4, 4, 4), np.uint64)
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "two dimensions": ("segmentation", {"segmentation": GOOD[0]}),
    "float ids": ("segmentation", {"segmentation": GOOD.astype(np.float32)}),
    "float labels": ("labels", {"labels": GOOD.astype(np.float64)}),
    "bool labels": ("labels", {"labels": GOOD.astype(bool)}),
    "no overlap": ("segmentation", {"segmentation_offset": (4, 0, 0)}),
    "other voxel size": ("labels", {"segmentation_voxel_size": (8, 8, 8), "labels_voxel_size": (8, 8, 8.1)}),
    "region outside": ("region", {"region": Box((0, 0, 0), (5, 4, 4))}),
    "region empty": ("region", {"region": Box((0, 2, 0), (4, 2, 4))}),
    "region of two axes": ("region", {"region": Box((0, 0), (4, 4))}),
    "block of two axes": ("block", {"block": (4, 4)}),
    "block of nothing": ("block", {"block": (4, 0, 4)}),
    "no worker": ("workers", {"workers": 0}),
    "border without voxel size": ("labels_voxel_size", {"protocol": CREMI}),
    "labels all 0": ("labels", {"labels": np.zeros_like(GOOD)}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(case: str) -> None:
    name, changed = REFUSED[case]
    arguments: dict[str, Any] = {"segmentation": GOOD, "labels": GOOD, **changed}
    with pytest.raises(InputError) as caught:
        Comparison(**arguments).scores()
    assert caught.value.field == name


def test_the_command_takes_a_protocol(tmp_path: Path, command: Command, refused: Refused) -> None:
    segmentation, labels = blobs(1, (3, 40, 44)), blobs(2, (3, 40, 44))
    frame = {"voxel_size": [40, 4, 4], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    paths = [
        write_volume(tmp_path / name, data, frame) for name, data in (("s.zarr", segmentation), ("l.zarr", labels))
    ]
    code, said, told = command("evaluate", *paths, "--protocol", "snemi", "--json")
    assert code == 0, told
    found = json.loads(said)
    expected = Comparison(segmentation, labels, labels_voxel_size=(40, 4, 4), protocol=protocol_of("snemi")).scores()
    assert found.pop("worst")["splits"] and "oracle" not in found
    assert found == expected.to_dict() and found["protocol"] == "snemi"
    assert "ignored border" in refused("evaluate", *paths, "--protocol", "cremi")


def test_a_new_protocol_is_one_object_that_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halved = EvaluationProtocol("halved", rand_error=lambda table: kernel.adapted_rand_error(table) / 2)
    monkeypatch.setitem(PROTOCOLS, halved.name, halved)
    paths = [write_volume(tmp_path / f"{seed}.zarr", blobs(seed)) for seed in (1, 2)]
    found, usual = compare(*paths, protocol="halved"), compare(*paths)
    assert found.protocol == "halved" and found.voi_sum == usual.voi_sum
    assert found.adapted_rand_error == usual.adapted_rand_error / 2 > 0
