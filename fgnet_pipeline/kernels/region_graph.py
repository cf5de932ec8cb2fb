"""Region adjacency graph (RAG): sums of the affinities between touching fragments, as integers.

Every voxel v owns its three affinities to v + offset of the nearest-neighbour channels. `block_edges` counts the
affinities of the voxels of one block. So each affinity is counted once, and the tables of the blocks add up to the
table of the whole volume, whatever the blocks are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.geometry import NEAREST
from fgnet_pipeline.kernels.compiled import njit
from fgnet_pipeline.kernels.hash_table import doubled_pairs, find_pair


@dataclass(frozen=True)
class EdgeTable:
    """Edges between touching fragments, sorted by (u, v), n rows.

    Attributes:
        u: uint64 (n,), the smaller fragment id.
        v: uint64 (n,), the larger fragment id.
        sum: uint64 (n,), affinities (0..255) added up.
        count: uint64 (n,), number of affinities, above 0.
        position: float64 (n, 3), sum of the contact points zyx in voxels of the arrays given. The face between v and
            v + offset has its point at v + offset / 2. Sums of multiples of 1/2 are exact.
        channel_sum: uint64 (n, 3), the sum of each channel z, y, x.
        channel_count: uint64 (n, 3), the count of each channel.
        histogram: uint32 (n, 256), how often each affinity occurs, or None.
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
    """Sum the nearest-neighbour affinities between different fragments, for the voxels of a block.

    Args:
        affinities: uint8 (C >= 3, z, y, x).
        fragments: uint64 (z, y, x), 0 = background.
        core: the block inside these arrays. The rest is context: only the layer before the block is read, which holds
            the neighbours at v + offset. A neighbour outside the arrays is not counted.
        offsets: zyx step of each channel.
        histogram: whether to count how often each affinity occurs.

    Returns:
        The edges, with positions in voxels of the arrays.

    Raises:
        ValueError: The shapes, the dtype or the offsets do not fit.
    """
    if tuple(tuple(int(i) for i in o) for o in offsets[:3]) != NEAREST:
        raise ValueError(f"the first three offsets must be {NEAREST}, not {tuple(offsets[:3])}")
    if affinities.dtype != np.uint8 or affinities.shape[1:] != fragments.shape or len(affinities) < 3:
        raise ValueError(f"uint8 affinities (3, {fragments.shape}) needed, not {affinities.dtype} {affinities.shape}")
    ranges = [s.indices(n) for s, n in zip(core, fragments.shape, strict=True)]
    bounds = np.array([(b, e) for b, e, _ in ranges], np.int64)
    labels = np.ascontiguousarray(fragments, dtype=np.uint64)
    keys, sums, counts, position, bins = _collect(np.ascontiguousarray(affinities[:3]), labels, bounds, histogram)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    return EdgeTable(
        u=keys[order, 0],
        v=keys[order, 1],
        sum=sums[order].sum(1, dtype=np.uint64),
        count=counts[order].sum(1, dtype=np.uint64),
        position=position[order] / 2,
        channel_sum=sums[order],
        channel_count=counts[order],
        histogram=bins[order] if histogram else None,
    )


def sum_parallel_edges(u: NDArray[np.uint64], v: NDArray[np.uint64], *columns: NDArray[Any]) -> Any:
    """Add up edges with equal (u, v).

    Args:
        u: uint64 (n,), the smaller id of each edge.
        v: uint64 (n,), the larger id.
        columns: unsigned (n,) or (n, k), such as sum, count and histogram.

    Returns:
        (u, v, columns...), unique and sorted by (u, v).
    """
    first = np.ones(len(u), bool)
    first[1:] = (u[1:] != u[:-1]) | (v[1:] != v[:-1])
    if ((u[1:] < u[:-1]) | ((u[1:] == u[:-1]) & (v[1:] < v[:-1]))).any():
        order = np.lexsort((v, u))
        return sum_parallel_edges(u[order], v[order], *(column[order] for column in columns))
    if first.all():
        return u, v, *columns
    starts = np.flatnonzero(first)
    return u[starts], v[starts], *(np.add.reduceat(column, starts, dtype=column.dtype) for column in columns)


class _Sums(NamedTuple):
    """Growing columns of the edges found so far, and a hash table of their rows by (u, v)."""

    keys: Any  # uint64 (capacity, 2): u, v
    sums: Any  # uint64 (capacity, 3)
    counts: Any  # uint64 (capacity, 3)
    position: Any  # int64 (capacity, 3), in half voxels
    bins: Any  # uint32 (capacity or 0, 256)
    table: Any  # uint64 (twice the capacity, 3): u, v (0 = free slot), row


@njit
def _collect(affinities: Any, labels: Any, bounds: Any, histogram: bool) -> Any:
    """Add up the affinities of all voxels within bounds: the filled part of the columns of `_Sums`.

    affinities: uint8 (3, z, y, x). labels: uint64 (z, y, x). bounds: int64 (3, 2), begin and end on each axis.
    """
    edges, n = _made(256, histogram), 0
    for z in range(bounds[0, 0], bounds[0, 1]):
        for y in range(bounds[1, 0], bounds[1, 1]):
            # A row of voxels adds at most one edge per voxel and channel.
            while n + 3 * (bounds[2, 1] - bounds[2, 0]) > len(edges.keys):
                edges = _grown(edges)
            for channel in range(3):
                if (channel == 0 and z == 0) or (channel == 1 and y == 0):
                    continue
                n = _add_row(edges, n, affinities[channel, z, y], labels, bounds[2], (channel, z, y))
    return edges.keys[:n], edges.sums[:n], edges.counts[:n], edges.position[:n], edges.bins[:n]


@njit
def _add_row(edges: Any, n: int, values: Any, labels: Any, bounds: Any, at: Any) -> int:
    """Add the affinities of one channel between a row of voxels and the voxels before them.

    values: uint8 (x,), the affinities. bounds: int64 (2,), begin and end of the row. at: channel, z and y. Returns the
    number of edges, of which n were there before.
    """
    channel, z, y = at
    here, before = labels[z, y], labels[z - (channel == 0), y - (channel == 1)]
    shift = 1 if channel == 2 else 0
    last_u, last_v, edge = np.uint64(0), np.uint64(0), 0
    for x in range(max(bounds[0], shift), bounds[1]):
        a, b = here[x], before[x - shift]
        if a == b or a == 0 or b == 0:
            continue
        u, v = min(a, b), max(a, b)
        if u != last_u or v != last_v:
            edge = _row_of(edges, n, u, v)
            n = max(n, edge + 1)
            last_u, last_v = u, v
        value = values[x]
        edges.sums[edge, channel] += np.uint64(value)
        edges.counts[edge, channel] += np.uint64(1)
        edges.position[edge, 0] += 2 * z - (channel == 0)
        edges.position[edge, 1] += 2 * y - (channel == 1)
        edges.position[edge, 2] += 2 * x - shift
        if len(edges.bins):
            edges.bins[edge, value] += np.uint32(1)
    return n


@njit
def _row_of(edges: Any, n: int, u: Any, v: Any) -> Any:
    """The row of edge (u, v): row n, the first empty one, if the edge is new."""
    table = edges.table
    slot = find_pair(table, u, v)
    if table[slot, 1] == 0:
        table[slot, 0], table[slot, 1], table[slot, 2] = u, v, n
        edges.keys[n, 0], edges.keys[n, 1] = u, v
    return np.int64(table[slot, 2])


@njit
def _made(capacity: int, histogram: bool) -> Any:
    """Columns for so many edges, all empty."""
    return _Sums(
        np.zeros((capacity, 2), np.uint64),
        np.zeros((capacity, 3), np.uint64),
        np.zeros((capacity, 3), np.uint64),
        np.zeros((capacity, 3), np.int64),
        np.zeros((capacity if histogram else 0, 256), np.uint32),
        np.zeros((2 * capacity, 3), np.uint64),
    )


@njit
def _grown(edges: Any) -> Any:
    """The same rows with twice the capacity."""
    return _Sums(
        _doubled(edges.keys),
        _doubled(edges.sums),
        _doubled(edges.counts),
        _doubled(edges.position),
        _doubled(edges.bins),
        doubled_pairs(edges.table),
    )


@njit
def _doubled(array: Any) -> Any:
    """A copy of an array (n, k) with n rows of zeros after it."""
    wide = np.zeros((2 * len(array), array.shape[1]), array.dtype)
    for i in range(len(array)):
        for j in range(array.shape[1]):
            wide[i, j] = array[i, j]
    return wide
