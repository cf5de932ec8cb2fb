"""Measure how much of a score comes from where borders run, and how much from which objects were found.

    python benchmarks/border_share.py demo/segmentation.zarr ../shared/data/fib25.zarr/labels --begin 140 --end 180

1. The segmentation is scored on all voxels, on voxels that touch no other label, and on voxels further away.
2. Perfect seeds: every label, two voxels inside its border, floods the same affinities as fragments do. What this
   misses is where the border runs, and nothing else.
3. The labels are compared with themselves after each voxel got the label of most of its 27 neighbours: how rough they
   are.

Each row is VOI in bits, split + merge = sum. The script reads whole arrays, so it is for samples.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import zarr
from scipy import ndimage
from skimage.segmentation import watershed

from fgnet_pipeline.kernels.contingency import conditional_entropies, contingency

Volume = np.ndarray[Any, Any]


def read(path: str) -> Volume:
    array: Any = zarr.open_array(path, mode="r")
    return np.asarray(array[:])


def distance_to_border(labels: Volume) -> Volume:
    """Voxels to the nearest voxel that has a face with another label: 0 there."""
    border = np.zeros(labels.shape, bool)
    for axis in range(3):
        differ = np.diff(labels, axis=axis) != 0
        border |= np.pad(differ, [(0, int(a == axis)) for a in range(3)])
        border |= np.pad(differ, [(int(a == axis), 0) for a in range(3)])
    distance: Volume = ndimage.distance_transform_edt(~border)
    return distance


def height(affinities: Volume) -> Volume:
    """Mean of 1 - affinity over the six faces of a voxel."""
    total = np.zeros(affinities.shape[1:], np.float32)
    for axis, channel in enumerate(affinities[:3].astype(np.float32)):
        total += channel + np.concatenate([np.take(channel, range(1, channel.shape[axis]), axis),
                                           np.take(channel, [-1], axis)], axis)  # fmt: skip
    return 1 - total / (6 * 255)


def smoothed(labels: Volume) -> Volume:
    """Every voxel renamed to the commonest label in the 3 x 3 x 3 around it.

    Ties: its own, then the first found. Opposite faces of the array are neighbours here.
    """
    best, most = labels.copy(), np.zeros(labels.shape, np.int8)
    steps = [(z, y, x) for z in (0, -1, 1) for y in (0, -1, 1) for x in (0, -1, 1)]
    moved = np.stack([np.roll(labels, step, (0, 1, 2)) for step in steps])
    for candidate in moved:
        votes = (moved == candidate).sum(0, dtype=np.int8)
        best, most = np.where(votes > most, candidate, best), np.maximum(votes, most)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="a finished output: segmentation and affinities")
    parser.add_argument("labels", help="every voxel labelled, of the same shape")
    parser.add_argument("--begin", type=int, default=0, help="first section scored")
    parser.add_argument("--end", type=int, help="section after the last one scored")
    arguments = parser.parse_args()
    part = slice(arguments.begin, arguments.end)
    labels = read(arguments.labels).astype(np.int32)
    distance = distance_to_border(labels)

    def show(name: str, found: Volume, scored: Volume) -> None:
        here = scored[part]
        pair = (array[part][here].astype(np.uint64)[:, None, None] for array in (found, labels))
        split, merge = conditional_entropies(contingency(*pair))
        print(f"{name:52s} {here.mean():5.1%}  {split:.3f} + {merge:.3f} = {split + merge:.3f}", flush=True)

    segmentation = read(f"{arguments.output}/segmentation")
    show("segmentation, all voxels", segmentation, distance >= 0)
    show("segmentation, voxels that touch no other label", segmentation, distance > 0)
    show("segmentation, more than one voxel from those that do", segmentation, distance > 1)
    flooded = watershed(height(read(f"{arguments.output}/affinities")), np.where(distance >= 2, labels, 0))
    show("perfect seeds, all voxels", flooded, distance >= 0)
    show("labels, smoothed, all voxels", smoothed(labels), distance >= 0)


if __name__ == "__main__":
    main()
