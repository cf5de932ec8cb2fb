"""Sizes and joining merges of random trees, against plain union of sets."""

from __future__ import annotations

import numpy as np
import pytest

from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.growth import joining_rows, sizes_joined


@pytest.mark.parametrize("seed", range(5))
def test_every_merge_against_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = np.sort(rng.choice(np.arange(1, 200, dtype=np.uint64), 30, replace=False))
    voxels = rng.integers(1, 100, len(names))
    ends = np.unique(np.sort(rng.choice(names, (60, 2)), axis=1), axis=0)
    u, v = ends[ends[:, 0] != ends[:, 1]].T
    count = rng.integers(1, 5, len(u)).astype(np.uint64)
    merges = agglomerate(u, v, (rng.integers(0, 256, len(u)) * count).astype(np.uint64), count).merges

    clusters = {int(name): {int(name)} for name in names}
    size = dict(zip(names.tolist(), voxels.tolist(), strict=True))
    of_a, of_b, joined = [], [], {}
    for row, (a, b) in enumerate(zip(merges.a.tolist(), merges.b.tolist(), strict=True)):
        of_a.append(sum(size[name] for name in clusters[a]))
        of_b.append(sum(size[name] for name in clusters[b]))
        joined |= {frozenset((one, other)): row for one in clusters[a] for other in clusters[b]}
        clusters[b] |= clusters.pop(a)

    found = sizes_joined(names, voxels, merges)
    assert (found[0].tolist(), found[1].tolist()) == (of_a, of_b)
    pairs = np.array(np.meshgrid(names, names)).reshape(2, -1)
    expected = [joined.get(frozenset(pair), -1) for pair in pairs.T.tolist()]
    assert joining_rows(names, merges, *pairs).tolist() == expected
    assert len(set(expected)) > 10
