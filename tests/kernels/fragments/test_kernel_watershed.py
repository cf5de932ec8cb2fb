"""Fragments against skimage and against the rules they must keep."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import watershed as skimage_watershed

from fgnet_pipeline.kernels.fragments.components import relabel_components
from fgnet_pipeline.kernels.fragments.method import segment_fragments

METHODS = ["sections", "volume", "waterz"]


def smooth_affinities(seed: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Affinities of random Voronoi cells, blurred and noisy. uint8 (3, z, y, x)."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, shape, (40, 3))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    cells = ((grid[..., None, :] - points) ** 2).sum(-1).argmin(-1)
    channels = []
    for axis in range(3):
        same = np.ones(shape)
        same[1:] = 0
        inner = [slice(None)] * 3
        inner[axis] = slice(1, None)
        same = np.ones(shape)
        same[tuple(inner)] = np.diff(cells, axis=axis) == 0
        noise = ndimage.gaussian_filter(rng.standard_normal(shape), 1)
        channels.append(ndimage.gaussian_filter(same, 1) + 0.3 * noise)
    return np.clip(255 * np.array(channels), 0, 255).astype(np.uint8)


def reference_seeds(height: np.ndarray, limit: int, radius: int) -> np.ndarray:
    """Seeds by scipy, of one section or one volume."""
    distance = ndimage.distance_transform_edt(height < limit)
    highest = ndimage.maximum_filter(distance, 2 * radius + 1, mode="nearest")
    return ndimage.label((distance > 0) & (distance == highest), np.ones([3] * height.ndim))[0]


def reference(height: np.ndarray, limit: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Seeds by scipy, flood by skimage."""
    seeds = reference_seeds(height, limit, radius)
    return seeds, skimage_watershed(height, seeds)


def six_faces(affinities: np.ndarray) -> np.ndarray:
    """255 minus the mean affinity of a voxel's six faces, rounded half up."""
    faces = [255 - affinities[c].astype(int) for c in range(3)]
    faces += [np.concatenate([f, f.take([-1], c)], c).take(range(1, f.shape[c] + 1), c) for c, f in enumerate(faces)]
    return ((2 * np.sum(faces, 0) + 6) // 12).astype(np.uint8)


def heap_flood(height: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The same flood with a heap of (height, age), one voxel at a time."""
    labels = seeds.copy()
    heap = [(int(height[tuple(at)]), i, tuple(at)) for i, at in enumerate(np.argwhere(seeds > 0).tolist())]
    heapq.heapify(heap)
    age = len(heap)
    while heap:
        _, _, at = heapq.heappop(heap)
        for axis, step in [(i, -1) for i in range(height.ndim)] + [(i, 1) for i in reversed(range(height.ndim))]:
            other = tuple(i + step * (k == axis) for k, i in enumerate(at))
            inside = all(0 <= i < n for i, n in zip(other, height.shape, strict=True))
            if inside and labels[other] == 0:
                labels[other] = labels[at]
                heapq.heappush(heap, (int(height[other]), age, other))
                age += 1
    return labels


def test_sections_agree_with_skimage() -> None:
    affinities = smooth_affinities(0, (4, 90, 80))
    got = segment_fragments(affinities, "sections", min_seed_distance=3)
    last, agreement = 0, []
    for z in range(4):
        total = (255 - affinities[1:, z].astype(int)).sum(0)
        height = ((2 * total + 2) // 4).astype(np.uint8)
        seeds, expected = reference(height, 128, 3)
        assert np.array_equal(got[z] - last, heap_flood(height, seeds))
        agreement.append(np.mean(got[z] - last == expected))
        last = int(got[z].max())
    assert np.median(agreement) > 0.99


def test_volume_agrees_with_skimage() -> None:
    affinities = smooth_affinities(1, (30, 50, 40))
    got = segment_fragments(affinities, "volume", min_seed_distance=2)
    height = six_faces(affinities)
    seeds, expected = reference(height, 128, 2)
    assert np.array_equal(got, heap_flood(height, seeds))
    assert got.max() == seeds.max()
    assert np.array_equal(got[seeds > 0], seeds[seeds > 0])
    assert np.mean(got == expected) > 0.99


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    radius=st.integers(1, 3),
    levels=st.sampled_from([2, 4, 256]),
)
def test_small_noise_equals_the_heap(seed: int, shape: tuple[int, int, int], radius: int, levels: int) -> None:
    values = np.random.default_rng(seed).integers(0, levels, (3, *shape))
    affinities = (values * 255 // (levels - 1)).astype(np.uint8)
    height = six_faces(affinities)
    got = segment_fragments(affinities, "volume", min_seed_distance=radius)
    if (height < 128).all():
        assert (got == 1).all()
        return
    expected = heap_flood(height, reference_seeds(height, 128, radius))
    if expected.any():
        assert np.array_equal(got, expected)
    else:
        assert (got == 1).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0, 127, 128, 255])
def test_blank_volumes(method: str, value: int) -> None:
    got = segment_fragments(np.full((3, 3, 20, 20), value, np.uint8), method)
    assert got.min() == 1
    assert got.max() == (3 if method == "sections" else 1)


@pytest.mark.parametrize("method", METHODS)
def test_blank_section_between_tissue(method: str) -> None:
    affinities = smooth_affinities(2, (7, 40, 40))
    affinities[:, 3] = 0
    got = segment_fragments(affinities, method)
    assert got.min() > 0
    if method == "sections":
        assert len(np.unique(got[3])) == 1


@pytest.mark.parametrize("method", METHODS)
def test_mask_and_empty_blocks(method: str) -> None:
    affinities = smooth_affinities(3, (6, 30, 30))
    mask = np.zeros(affinities.shape[1:], bool)
    assert not segment_fragments(affinities, method, mask=mask).any()
    mask[:, 4:20, 7:25] = True
    got = segment_fragments(affinities, method, mask=mask)
    assert np.array_equal(got > 0, mask)
    assert segment_fragments(affinities[:, :0], method).shape == (0, 30, 30)


@pytest.mark.parametrize("method", ["sections", "volume"])
def test_fragments_are_connected_and_dense(method: str) -> None:
    got = segment_fragments(smooth_affinities(4, (12, 40, 40)), method)
    assert relabel_components(got)[1] == got.max() == len(np.unique(got))


def test_input_is_left_alone_and_result_repeats() -> None:
    affinities = smooth_affinities(5, (8, 30, 30))
    before = affinities.copy()
    for method in METHODS:
        first = segment_fragments(affinities, method)
        assert np.array_equal(first, segment_fragments(affinities, method))
        assert np.array_equal(affinities, before)


def test_waterz_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    segment_fragments(smooth_affinities(6, (5, 20, 20)), "waterz")
    assert capfd.readouterr().out == ""


def test_float_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        segment_fragments(np.ones((3, 4, 4, 4), np.float32), "volume")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint8"):
        segment_fragments(np.ones((2, 4, 4, 4), np.uint8), "volume")
    with pytest.raises(ValueError, match="method"):
        segment_fragments(np.ones((3, 4, 4, 4), np.uint8), "other")
