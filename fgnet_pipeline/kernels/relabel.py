"""Replace every fragment id of a block by its segment."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.kernels.compiled import njit

Ids = npt.NDArray[np.uint64]


def relabel(fragments: Ids, ids: Ids, segments: Ids) -> tuple[Ids, int]:
    """Look up the segment of every voxel.

    Args:
        fragments: uint64 (z, y, x), 0 = background.
        ids: uint64 (n,), fragments, sorted and unique.
        segments: uint64 (n,), segment of each fragment.

    Returns:
        The segmentation, uint64 (z, y, x), with background still 0; and a fragment that `ids` does not hold, or 0.
    """
    flat = np.ascontiguousarray(fragments).reshape(-1)
    result = np.empty_like(flat)
    missing = _look_up(flat, ids, segments, result)
    return result.reshape(fragments.shape), int(missing)


@njit
def _look_up(fragments: Ids, ids: Ids, segments: Ids, result: Ids) -> Any:
    """Write the segments of flat fragments into `result`; returns the last fragment that `ids` does not hold, or 0."""
    last, segment, missing = np.uint64(0), np.uint64(0), np.uint64(0)
    for i in range(len(fragments)):
        fragment = fragments[i]
        if fragment != last:
            last = fragment
            if fragment == 0:
                segment = np.uint64(0)
            else:
                at = np.searchsorted(ids, fragment)
                if at < len(ids) and ids[at] == fragment:
                    segment = segments[at]
                else:
                    missing, segment = fragment, np.uint64(0)
        result[i] = segment
    return missing


def places(listed: Ids, wanted: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Find ids in a sorted list.

    Args:
        listed: uint64 (n,), sorted.
        wanted: uint64 (m,).

    Returns:
        (places in `listed` (m,), whether each id is there (m,)). The place of an id that is not there means nothing.
    """
    if len(listed) == 0:
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), bool)
    at = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
    return at, listed[at] == wanted


@njit
def id_range(fragments: Ids) -> Any:
    """The smallest and the largest non-zero id of an array; (0, 0) if all of it is background."""
    low, high = np.uint64(0), np.uint64(0)
    for fragment in fragments.flat:
        if fragment != 0:
            if low == 0 or fragment < low:
                low = fragment
            if fragment > high:
                high = fragment
    return low, high
