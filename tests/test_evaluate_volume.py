"""Block-by-block evaluation: independent of blocks, offsets and workers, and strict about its input."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fgnet_pipeline.errors import InputError
from fgnet_pipeline.evaluate import border_mask, contingency_of, evaluate, scores_of
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
    got = contingency_of(segmentation, labels, segmentation_offset=shift, block=block, workers=workers)
    cut_labels, cut_segments = [], []
    for s, n in zip(shift, labels.shape, strict=True):
        cut_labels.append(slice(max(s, 0), n + min(s, 0)))
        cut_segments.append(slice(max(-s, 0), n - max(s, 0)))
    whole = kernel.contingency(segmentation[tuple(cut_segments)], labels[tuple(cut_labels)])
    for name in ("segments", "labels", "counts"):
        np.testing.assert_array_equal(getattr(got, name), getattr(whole, name))


def test_region_is_in_voxels_of_the_labels_array() -> None:
    segmentation, labels = blobs(1), blobs(2)
    region = ((3, 9), (2, 17), (0, 5))
    got = evaluate(segmentation, labels[2:], labels_offset=(2, 0, 0), region=region, block=(4, 4, 4))
    assert got == scores_of(kernel.contingency(segmentation[5:11, 2:17, :5], labels[5:11, 2:17, :5]))


def test_scores_round_trip_through_json_and_combine() -> None:
    scores = evaluate(blobs(1), blobs(2))
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
    evaluate(segmentation, labels, block=(4, 5, 6))
    assert segmentation.largest == labels.largest == 120


def test_the_chosen_block_is_whole_chunks() -> None:
    array = Counting(np.ones((200, 200, 200), np.uint64), chunks=(50, 100, 60))
    evaluate(array, array)
    assert array.largest == 150 * 100 * 120


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(0, 30), st.tuples(*[st.integers(1, 9)] * 3))
def test_ignored_border_does_not_depend_on_blocks(seed: int, border: float, block: tuple[int, ...]) -> None:
    segmentation, labels = blobs(seed), blobs(seed + 1)
    got = contingency_of(
        segmentation, labels, labels_voxel_size=(40, 4, 6), ignore_border_nm=border, block=block, workers=1
    )
    kept = np.where(border_mask(labels, border, (4, 6)), np.uint64(0), labels)
    assert got.voxels == int((kept != 0).sum())
    np.testing.assert_array_equal(got.counts, kernel.contingency(segmentation, kept).counts)


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
    "region outside": ("region", {"region": ((0, 5), (0, 4), (0, 4))}),
    "region empty": ("region", {"region": ((0, 4), (2, 2), (0, 4))}),
    "region of two axes": ("region", {"region": ((0, 4), (0, 4))}),
    "block of two axes": ("block", {"block": (4, 4)}),
    "block of nothing": ("block", {"block": (4, 0, 4)}),
    "no worker": ("workers", {"workers": 0}),
    "negative border": ("ignore_border_nm", {"ignore_border_nm": -1.0, "labels_voxel_size": (4, 4, 4)}),
    "border without voxel size": ("labels_voxel_size", {"ignore_border_nm": 25.0}),
    "labels all 0": ("labels", {"labels": np.zeros_like(GOOD)}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_by_name(case: str) -> None:
    name, changed = REFUSED[case]
    arguments: dict[str, Any] = {"segmentation": GOOD, "labels": GOOD, **changed}
    with pytest.raises(InputError) as caught:
        evaluate(arguments.pop("segmentation"), arguments.pop("labels"), **arguments)
    assert caught.value.field == name
