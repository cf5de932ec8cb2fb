"""Seeded watershed of a uint8 landscape by integer bucket queues.

1. Every seed voxel enters the queue of its height, in C order.
2. Of the lowest queue that is not empty, the oldest voxel leaves. Each neighbour without a label takes the voxel's
   label and enters the queue of the neighbour's own height.
3. Step 2 is repeated until all queues are empty. Then every voxel that a path joins to a seed has a label.

This is the order of a heap by (height, age). So the result is that of a heap-based watershed in which age decides
ties. Label and height of a voxel share one word, so that a neighbour costs one memory access. The queues are chains
of pages of fixed size, so that they are written and read in sequence. Time is O(voxels), memory at most 8 bytes per
voxel, and the order is deterministic.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.kernels.compiled import njit

BLOCKED = (1 << 24) - 1
"""Label of a voxel that is never flooded: outside the mask, or in the border around the array. All labels are below."""

_LABEL = np.uint32(8)
_HEIGHT = np.uint32(255)
_PAGE = 1024


@njit
def pack(height: Any, mask: Any) -> NDArray[np.uint32]:
    """Make words (label << 8 | height) of a landscape without labels.

    Args:
        height: uint8 (z, y, x).
        mask: bool (z, y, x), or of size 0 for no mask; voxels outside it are blocked.

    Returns:
        uint32 (z + 2, y + 2, x + 2): one layer of blocked voxels is around the array.
    """
    depth, rows, columns = height.shape
    words = np.full((depth + 2, rows + 2, columns + 2), np.uint32(BLOCKED) << _LABEL, np.uint32)
    for z in range(depth):
        for y in range(rows):
            for x in range(columns):
                if mask.size == 0 or mask[z, y, x]:
                    words[z + 1, y + 1, x + 1] = height[z, y, x]
    return words


@njit
def plant(words: Any, seeds: Any, plane: int, row: int) -> int:
    """Label the seed voxels 1, 2, ... in C order; seeds that touch by face, edge or corner share a label.

    Args:
        words: uint32 (n,), from `pack`, flattened; changed.
        seeds: int64 (k,), flat positions, rising.
        plane: flat step of one voxel in z.
        row: flat step of one voxel in y.

    Returns:
        The number of labels.
    """
    parent = np.arange(len(seeds) + 1)
    for i in range(len(seeds)):
        p = seeds[i]
        words[p] |= np.uint32(i + 1) << _LABEL
        for k in range(13):
            label = words[p + (k // 9 - 1) * plane + (k // 3 % 3 - 1) * row + k % 3 - 1] >> _LABEL
            if label != 0 and label != BLOCKED:
                a, b = _root(parent, np.int64(label)), _root(parent, i + 1)
                parent[max(a, b)] = min(a, b)
    new, count = np.zeros(len(parent), np.uint32), 0
    for i in range(1, len(parent)):
        root = _root(parent, i)
        if root == i:
            count += 1
            new[i] = count
        words[seeds[i - 1]] = (new[root] << _LABEL) | (words[seeds[i - 1]] & _HEIGHT)
    return count


@njit
def _root(parent: Any, i: Any) -> Any:
    """The root of i by union-find, halving the path."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit
def unpack(words: Any) -> NDArray[np.uint32]:
    """Take the labels out of words.

    Args:
        words: uint32 (z + 2, y + 2, x + 2), as from `pack`.

    Returns:
        uint32 (z, y, x), 0 for blocked voxels.
    """
    depth, rows, columns = words.shape
    labels = np.zeros((depth - 2, rows - 2, columns - 2), np.uint32)
    for z in range(depth - 2):
        for y in range(rows - 2):
            for x in range(columns - 2):
                label = words[z + 1, y + 1, x + 1] >> _LABEL
                if label != BLOCKED:
                    labels[z, y, x] = label
    return labels


@njit
def flood(words: Any, seeds: Any, steps: Any) -> None:
    """Flood in place from the seed voxels to all voxels with label 0.

    Args:
        words: uint32 (n,), from `pack`, flattened, with the labels of the seeds set; changed.
        seeds: int64 (k,), flat positions of the labelled voxels to start from, in order.
        steps: int64 (6,), flat offsets of a voxel's neighbours.
    """
    pages = np.empty((len(words) // _PAGE + 600, _PAGE), np.int32)
    following = np.full(len(pages), -1, np.int32)
    spare = np.arange(len(pages) - 1, -1, -1).astype(np.int32)
    spares = len(spare)
    first, last = np.full(256, -1, np.int32), np.full(256, -1, np.int32)
    begin, end = np.zeros(256, np.int32), np.full(256, _PAGE, np.int32)
    for p in seeds:
        spares = _push(pages, following, spare, spares, first, last, end, words[p] & _HEIGHT, p)
    level = 0
    while level < 256:
        page = first[level]
        if page < 0 or (page == last[level] and begin[level] == end[level]):
            level += 1
            continue
        if begin[level] == _PAGE:
            first[level], begin[level] = following[page], 0
            spare[spares] = page
            spares += 1
            continue
        p = np.int64(pages[page, begin[level]])
        begin[level] += 1
        label = words[p] & ~_HEIGHT
        for s in steps:
            word = words[p + s]
            if word <= _HEIGHT:
                words[p + s] = label | word
                spares = _push(pages, following, spare, spares, first, last, end, word, p + s)
                if word < level:
                    level = int(word)


@njit(inline="always")
def _push(
    pages: Any, following: Any, spare: Any, spares: int, first: Any, last: Any, end: Any, level: int, p: int
) -> int:
    """Append voxel p to the queue of its level, on a spare page if it is full; returns the number of spare pages."""
    if end[level] == _PAGE:
        spares -= 1
        page = spare[spares]
        following[page] = -1
        if first[level] < 0:
            first[level] = page
        else:
            following[last[level]] = page
        last[level], end[level] = page, 0
    pages[last[level], end[level]] = p
    end[level] += 1
    return spares


@njit
def fill_unreached(words: Any, steps: Any, last: int) -> int:
    """Give every connected piece of voxels with label 0 a label of its own, in the order of its first voxel.

    Args:
        words: uint32 (n,), flattened; changed.
        steps: int64 (6,), flat offsets of a voxel's neighbours.
        last: the last label in use.

    Returns:
        The last label in use now; BLOCKED if the labels did not suffice.
    """
    stack = np.empty(1024, np.int64)
    for start in range(len(words)):
        if words[start] > _HEIGHT:
            continue
        last += 1
        if last >= BLOCKED:
            break
        word = np.uint32(last) << _LABEL
        words[start] |= word
        stack[0], size = start, 1
        while size > 0:
            size -= 1
            p = stack[size]
            if size + len(steps) > len(stack):
                stack = np.concatenate((stack, np.empty(len(stack), np.int64)))
            for s in steps:
                if words[p + s] <= _HEIGHT:
                    words[p + s] |= word
                    stack[size] = p + s
                    size += 1
    return last
