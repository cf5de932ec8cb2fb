"""Region adjacency graph: integer affinity sums between touching fragments, counted once whatever the blocks.

Every voxel v owns its three affinities to v + offset of the nearest-neighbour channels. `block_edges` counts those
of the voxels of the block's core, so the tables of a partition of the volume add up to the table of the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
"""Offsets (zyx) that the first three affinity channels must have."""

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class EdgeTable:
    """Edges between touching fragments, u < v, sorted by (u, v), n rows.

    u, v: uint64 (n,), fragment ids. sum: uint64 (n,), affinities (0..255) added up. count: uint64 (n,), how many.
    position: float64 (n, 3), sum of the contact points zyx in voxels of the array given: the face between v and
    v + offset lies at v + offset / 2 (multiples of 1/2, so the sums are exact).
    channel_sum, channel_count: uint64 (n, 3), the same by channel z, y, x.
    histogram: uint32 (n, 256), counts by affinity value, or None.
    """

    u: NDArray[np.uint64]
    v: NDArray[np.uint64]
    sum: NDArray[np.uint64]
    count: NDArray[np.uint64]
    position: NDArray[np.float64]
    channel_sum: NDArray[np.uint64]
    channel_count: NDArray[np.uint64]
    histogram: NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self.u)


def block_edges(
    affinities: NDArray[np.uint8],
    fragments: NDArray[np.uint64],
    core: tuple[slice, slice, slice],
    offsets: Sequence[Sequence[int]] = NEAREST,
    *,
    histogram: bool = False,
) -> EdgeTable:
    """Sum the nearest-neighbour affinities between different fragments, for the voxels of `core`.

    affinities: uint8 (C >= 3, z, y, x). fragments: uint64 (z, y, x), 0 = background. core: the block inside these
    arrays; the rest is context, of which only the layer before the core (the neighbours at v + offset) is read. A
    neighbour outside the arrays is not counted. offsets: zyx step of each channel.
    Raises ValueError if the shapes or offsets do not fit.
    """
    if tuple(tuple(int(i) for i in o) for o in offsets[:3]) != NEAREST:
        raise ValueError(f"the first three offsets must be {NEAREST}, not {tuple(offsets[:3])}")
    if affinities.dtype != np.uint8 or affinities.shape[1:] != fragments.shape or len(affinities) < 3:
        raise ValueError(
            f"uint8 affinities (3, {fragments.shape}) needed, not {affinities.dtype} {affinities.shape}"
        )
    ranges = [s.indices(n) for s, n in zip(core, fragments.shape, strict=True)]
    bounds = np.array([(b, e) for b, e, _ in ranges], np.int64)
    labels = np.ascontiguousarray(fragments, dtype=np.uint64)
    u, v, sums, counts, position, bins = _collect(
        np.ascontiguousarray(affinities[:3]), labels, bounds, histogram
    )
    order = np.lexsort((v, u))
    return EdgeTable(
        u=u[order],
        v=v[order],
        sum=sums[order].sum(1, dtype=np.uint64),
        count=counts[order].sum(1, dtype=np.uint64),
        position=position[order] / 2,
        channel_sum=sums[order],
        channel_count=counts[order],
        histogram=bins[order] if histogram else None,
    )


def sum_parallel_edges(
    u: NDArray[np.uint64], v: NDArray[np.uint64], sum: NDArray[np.uint64], count: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Add up edges with equal (u, v). uint64 (n,) each, u < v; returns (u, v, sum, count) unique, sorted by (u, v)."""
    if len(u) == 0:
        return u, v, sum, count
    order = np.lexsort((v, u))
    u, v = u[order], v[order]
    first = np.ones(len(u), bool)
    first[1:] = (u[1:] != u[:-1]) | (v[1:] != v[:-1])
    starts = np.flatnonzero(first)
    return u[starts], v[starts], np.add.reduceat(sum[order], starts), np.add.reduceat(count[order], starts)


@njit(cache=True)
def _find(table: Any, keys_u: Any, keys_v: Any, u: int, v: int) -> int:
    """The table slot that holds edge (u, v), or the empty slot where it belongs."""
    mask = np.uint64(len(table) - 1)
    slot = ((u * _MIX) ^ v) * _MIX
    slot = (slot ^ (slot >> np.uint64(29))) & mask
    while table[slot] >= 0 and (keys_u[table[slot]] != u or keys_v[table[slot]] != v):
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True)
def _rehashed(keys_u: Any, keys_v: Any, n: int, size: int) -> Any:
    table = np.full(size, -1, np.int64)
    for i in range(n):
        table[_find(table, keys_u, keys_v, keys_u[i], keys_v[i])] = i
    return table


@njit(cache=True)
def _grown(array: Any, rows: int) -> Any:
    out = np.zeros((rows, array.shape[1]), array.dtype)
    out[: len(array)] = array
    return out


@njit(cache=True)
def _collect(affinities: Any, labels: Any, bounds: Any, histogram: bool) -> Any:
    capacity = 1024
    keys = np.zeros((capacity, 2), np.uint64)
    sums = np.zeros((capacity, 3), np.uint64)
    counts = np.zeros((capacity, 3), np.uint64)
    position = np.zeros((capacity, 3), np.int64)
    bins = np.zeros((capacity if histogram else 0, 256), np.uint32)
    table = np.full(4 * capacity, -1, np.int64)
    n = 0
    steps = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    for z in range(bounds[0, 0], bounds[0, 1]):
        for y in range(bounds[1, 0], bounds[1, 1]):
            for c in range(3):
                if (c == 0 and z == 0) or (c == 1 and y == 0):
                    continue
                dz, dy, dx = steps[c]
                last_u, last_v, edge = np.uint64(0), np.uint64(0), -1
                for x in range(max(bounds[2, 0], dx), bounds[2, 1]):
                    a, b = labels[z, y, x], labels[z - dz, y - dy, x - dx]
                    if a == b or a == 0 or b == 0:
                        continue
                    u, v = min(a, b), max(a, b)
                    if u != last_u or v != last_v:
                        slot = _find(table, keys[:, 0], keys[:, 1], u, v)
                        edge = table[slot]
                        if edge < 0:
                            if n == len(keys):
                                keys, sums, counts = (
                                    _grown(keys, 2 * n),
                                    _grown(sums, 2 * n),
                                    _grown(counts, 2 * n),
                                )
                                position = _grown(position, 2 * n)
                                if histogram:
                                    bins = _grown(bins, 2 * n)
                                table = _rehashed(keys[:, 0], keys[:, 1], n, 8 * n)
                                slot = _find(table, keys[:, 0], keys[:, 1], u, v)
                            edge, n = n, n + 1
                            table[slot] = edge
                            keys[edge, 0], keys[edge, 1] = u, v
                        last_u, last_v = u, v
                    value = affinities[c, z, y, x]
                    sums[edge, c] += np.uint64(value)
                    counts[edge, c] += np.uint64(1)
                    position[edge, 0] += 2 * z - dz
                    position[edge, 1] += 2 * y - dy
                    position[edge, 2] += 2 * x - dx
                    if histogram:
                        bins[edge, value] += np.uint32(1)
    return (
        keys[:n, 0].copy(),
        keys[:n, 1].copy(),
        sums[:n],
        counts[:n],
        position[:n],
        bins[: n if histogram else 0],
    )
