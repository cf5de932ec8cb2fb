"""Edge tables, components and fragment tables against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgnet_pipeline.core.geometry import NEAREST
from fgnet_pipeline.kernels.fragments.components import fragment_table, relabel_components
from fgnet_pipeline.kernels.region_graph import EdgeTable, block_edges, sum_parallel_edges

WHOLE = (slice(None), slice(None), slice(None))


def volume(seed: int, shape: tuple[int, int, int], labels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    affinities = rng.integers(0, 256, (4, *shape), dtype=np.uint8)
    ids = np.concatenate([[0], rng.integers(1, 2**62, labels)]).astype(np.uint64)
    return affinities, ids[rng.integers(0, labels + 1, shape)]


def loop(affinities: np.ndarray, fragments: np.ndarray, core: tuple[slice, ...], histogram: bool = False) -> dict:
    edges: dict = {}
    for at in np.ndindex(fragments.shape):
        if not all(s.indices(n)[0] <= i < s.indices(n)[1] for s, n, i in zip(core, fragments.shape, at, strict=True)):
            continue
        for c, offset in enumerate(NEAREST):
            other = tuple(i + o for i, o in zip(at, offset, strict=True))
            if min(other) < 0:
                continue
            u, v = sorted((int(fragments[at]), int(fragments[other])))
            if u == 0 or u == v:
                continue
            row = edges.setdefault((u, v), {"sum": [0] * 3, "count": [0] * 3, "at": np.zeros(3), "bins": [0] * 256})
            row["sum"][c] += int(affinities[(c, *at)])
            row["count"][c] += 1
            row["at"] += (np.array(at) + other) / 2
            row["bins"][affinities[(c, *at)]] += 1
    return edges


def as_dict(table: EdgeTable) -> dict:
    bins = np.zeros((len(table), 256)) if table.histogram is None else table.histogram
    return {
        (int(table.u[i]), int(table.v[i])): {
            "sum": table.channel_sum[i].tolist(),
            "count": table.channel_count[i].tolist(),
            "at": table.position[i],
            "bins": bins[i].tolist(),
        }
        for i in range(len(table))
    }


def assert_same(got: dict, expected: dict) -> None:
    assert sorted(got) == sorted(expected)
    for edge, row in expected.items():
        for key, value in row.items():
            assert np.array_equal(got[edge][key], value), (edge, key)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 8)),
    labels=st.integers(0, 40),
    corners=st.tuples(*[st.integers(0, 8)] * 6),
)
def test_block_edges_equal_the_loop(seed: int, shape: tuple, labels: int, corners: tuple) -> None:
    affinities, fragments = volume(seed, shape, labels)
    core = tuple(slice(min(a, b), max(a, b)) for a, b in zip(corners[:3], corners[3:], strict=True))
    table = block_edges(affinities, fragments, core, histogram=True)  # type: ignore[arg-type]
    assert_same(as_dict(table), loop(affinities, fragments, core))
    assert np.array_equal(table.sum, table.channel_sum.sum(1))
    assert np.array_equal(table.count, table.channel_count.sum(1))
    pairs = list(zip(table.u.tolist(), table.v.tolist(), strict=True))
    assert pairs == sorted(pairs)


def test_many_edges_grow_the_tables() -> None:
    affinities, fragments = volume(1, (12, 14, 16), 3000)
    assert len(block_edges(affinities, fragments, WHOLE)) > 2048
    assert_same(as_dict(block_edges(affinities, fragments, WHOLE, histogram=True)), loop(affinities, fragments, WHOLE))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), cuts=st.lists(st.sets(st.integers(1, 8)), min_size=3, max_size=3))
def test_any_partition_adds_up_to_the_whole(seed: int, cuts: list[set[int]]) -> None:
    shape = (9, 9, 9)
    affinities, fragments = volume(seed, shape, 12)
    spans = [list(zip([0, *sorted(c)], [*sorted(c), 9], strict=True)) for c in cuts]
    parts = []
    for z in spans[0]:
        for y in spans[1]:
            for x in spans[2]:
                begin = np.array([z[0], y[0], x[0]])
                context = np.minimum(begin, 1)
                end = (z[1], y[1], x[1])
                read = tuple(slice(int(b - c), e) for b, c, e in zip(begin, context, end, strict=True))
                core = tuple(slice(int(c), None) for c in context)
                parts.append(block_edges(affinities[(slice(None), *read)], fragments[read], core))  # type: ignore[arg-type]
    u, v, total, count = (np.concatenate([getattr(p, k) for p in parts]) for k in ("u", "v", "sum", "count"))
    whole = block_edges(affinities, fragments, WHOLE)
    for got, expected in zip(
        sum_parallel_edges(u, v, total, count), (whole.u, whole.v, whole.sum, whole.count), strict=True
    ):
        assert np.array_equal(got, expected)


def test_wrong_offsets_and_shapes_are_refused() -> None:
    affinities, fragments = volume(0, (3, 3, 3), 4)
    with pytest.raises(ValueError, match="offsets"):
        block_edges(affinities, fragments, WHOLE, [(0, 0, -1), (0, -1, 0), (-1, 0, 0)])
    with pytest.raises(ValueError, match="uint8"):
        block_edges(affinities.astype(np.float32), fragments, WHOLE)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), shape=st.tuples(*[st.integers(1, 7)] * 3), labels=st.integers(0, 4))
def test_components_equal_a_flood_fill(seed: int, shape: tuple, labels: int) -> None:
    rng = np.random.default_rng(seed)
    given_labels = rng.integers(0, labels + 1, shape).astype(np.uint32)
    mask = rng.random(shape) < 0.9
    got, n = relabel_components(given_labels, mask)
    expected, seen = np.zeros(shape, np.uint32), 0
    for start in np.ndindex(*shape):
        if not mask[start] or given_labels[start] == 0 or expected[start]:
            continue
        seen += 1
        stack = [start]
        while stack:
            at = stack.pop()
            inside = all(0 <= i < s for i, s in zip(at, shape, strict=True))
            if inside and mask[at] and not expected[at] and given_labels[at] == given_labels[start]:
                expected[at] = seen
                for axis in range(3):
                    stack += [tuple(i + d * (k == axis) for k, i in enumerate(at)) for d in (-1, 1)]
    assert n == seen
    assert got.dtype == np.uint32
    assert np.array_equal(got, expected)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), shape=st.tuples(*[st.integers(1, 7)] * 3))
def test_fragment_table_equals_numpy(seed: int, shape: tuple) -> None:
    labels, n = relabel_components(np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint32))
    table = fragment_table(labels, n)
    for i in range(n):
        at = np.argwhere(labels == i + 1)
        assert table["voxels"][i] == len(at)
        assert np.array_equal(table["begin"][i], at.min(0))
        assert np.array_equal(table["end"][i], at.max(0) + 1)
        assert np.allclose(table["centroid"][i], at.mean(0))
        distance = ((at - at.mean(0)) ** 2).sum(1)
        point = table["point"][i]
        assert labels[tuple(point)] == i + 1
        assert ((point - at.mean(0)) ** 2).sum() <= distance.min() + 1e-9
