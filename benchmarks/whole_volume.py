"""Segment affinities the plain way: the whole volume at once, one thread, public libraries, no blocks.

    python benchmarks/whole_volume.py OUT.zarr/affinities SEGMENTATION.zarr --threshold 0.3

Distance to the boundary (`edt`), seeds at its maxima, skimage's watershed on 1 - mean affinity, and waterz' mean
affinity agglomeration. The segmentation is written as a Zarr array. The script prints the seconds of every step;
against_volara.py compares their sum with the pipeline.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import edt
import numpy as np
import waterz
import zarr
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed


def fragments_of(affinities: NDArray[np.uint8], radius: int, seconds: dict[str, float]) -> NDArray[np.int32]:
    """Watershed fragments int32 (z, y, x) of affinities uint8 (3, z, y, x)."""
    start = time.perf_counter()
    height = (255 - affinities.mean(0, dtype=np.float32)).astype(np.uint8)
    distance = edt.edt(height < 128, parallel=1)
    seconds["distance"] = time.perf_counter() - start
    highest = ndimage.maximum_filter(distance, 2 * radius + 1)
    seeds, _ = ndimage.label((distance > 0) & (distance == highest), np.ones((3, 3, 3)))
    seconds["seeds"] = time.perf_counter() - start - sum(seconds.values())
    fragments = watershed(height, seeds)
    seconds["watershed"] = time.perf_counter() - start - sum(seconds.values())
    return np.asarray(fragments)


def agglomerated(affinities: NDArray[np.uint8], fragments: NDArray[np.int32], threshold: float) -> NDArray[np.uint64]:
    """waterz' mean affinity agglomeration; it merges while 1 - mean is below its threshold."""
    scaled = affinities.astype(np.float32) / np.float32(255)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # waterz prints from C++
    return np.asarray(next(iter(waterz.agglomerate(scaled, [1 - threshold], fragments=fragments.astype(np.uint64)))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("affinities")
    parser.add_argument("segmentation")
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--radius", type=int, default=6)
    options = parser.parse_args()
    out = os.fdopen(os.dup(1), "w")
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    affinities = np.asarray(zarr.open_array(options.affinities, mode="r")[:3])
    read = time.perf_counter() - start
    fragments = fragments_of(affinities, options.radius, seconds)
    start = time.perf_counter()
    segmentation = agglomerated(affinities, fragments, options.threshold)
    seconds["agglomeration"] = time.perf_counter() - start
    start = time.perf_counter()
    zarr.save_array(options.segmentation, segmentation)
    seconds |= {"read": read, "write": time.perf_counter() - start}
    out.write(json.dumps({name: round(value, 2) for name, value in seconds.items()}) + "\n")


if __name__ == "__main__":
    main()
