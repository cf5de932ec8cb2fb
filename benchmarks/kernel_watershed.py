"""Megavoxels per second of the fragment kernel, beside scipy's distance transform with skimage's watershed.

    python benchmarks/kernel_watershed.py                        # labels of generated cells, 180 x 250 x 250
    python benchmarks/kernel_watershed.py --labels fib25.zarr    # a Zarr group with an array `labels` (z, y, x)
    python benchmarks/kernel_watershed.py --affinities OUT.zarr  # a Zarr group with `affinities` uint8 (c, z, y, x)

Unless affinities are given they are made from labels: high inside, low in membranes, blurred, with smooth noise. One
thread; numba is warm; seconds of CPU, so that other processes disturb less; the ratio comes from the same run.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy import ndimage

from fgnet_pipeline.kernels.fragments.components import fragment_table, relabel_components
from fgnet_pipeline.kernels.fragments.method import segment_fragments
from fgnet_pipeline.kernels.region_graph import block_edges

Affinities = NDArray[np.uint8]


def generated_cells(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.int64]:
    """Labels of Voronoi cells around random points."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, bool)
    seeds[tuple(rng.integers(0, shape, (int(np.prod(shape)) // 30_000 + 2, 3)).T)] = True
    nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
    return np.ravel_multi_index(tuple(nearest), shape)


def affinities_of(labels: NDArray[np.int64], seed: int = 0) -> Affinities:
    """Affinities as of a network whose targets have eroded labels: membranes are low in all channels."""
    rng = np.random.default_rng(seed)
    same = np.ones((3, *labels.shape), np.float32)
    for axis in range(3):
        inner: list[slice] = [slice(None)] * 3
        inner[axis] = slice(1, None)
        same[axis][tuple(inner)] = np.diff(labels.astype(np.int64), axis=axis) == 0
    common = 0.7 * _soft(same.min(0)) + 0.13 * _noise(rng, labels.shape, 1.5)
    channels = [common + 0.3 * _soft(channel) + 0.07 * _noise(rng, labels.shape, 1.2) for channel in same]
    return np.round(255 * np.clip(channels, 0, 1)).astype(np.uint8)


def _soft(inside: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 - np.clip(1.6 * (1 - ndimage.gaussian_filter(inside, 1)), 0, 1))


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> NDArray[np.float32]:
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), sigma)
    return np.asarray(noise / noise.std())


def by_skimage(affinities: Affinities, radius: int) -> NDArray[np.int32]:
    """The same steps with scipy and skimage, in 3D."""
    from skimage.segmentation import watershed

    height = 255 - affinities.mean(0)
    distance = ndimage.distance_transform_edt(height < 128)
    highest = ndimage.maximum_filter(distance, 2 * radius + 1)
    seeds, _ = ndimage.label((distance > 0) & (distance == highest))
    return np.asarray(watershed(height.astype(np.uint8), seeds))


def timed(name: str, voxels: int, repeats: int, run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    row = {
        "kernel": name,
        "cpu_seconds": round(min(seconds), 3),
        "mvoxel_per_second": round(voxels / min(seconds) / 1e6, 2),
    }
    print(json.dumps(row), flush=True)
    return min(seconds)


def given_affinities(affinities: str | None, labels: str | None, shape: tuple[int, ...]) -> Affinities:
    """Affinities of a Zarr group, or made from the labels of one, or from generated cells."""
    if affinities:
        return np.asarray(zarr.open_array(f"{affinities}/affinities", mode="r")[:3])
    return affinities_of(
        np.asarray(zarr.open_array(f"{labels}/labels", mode="r")[:]) if labels else generated_cells(shape)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels")
    parser.add_argument("--affinities")
    parser.add_argument("--shape", type=int, nargs=3, default=(180, 250, 250))
    parser.add_argument("--block", type=int, default=128, help="edge of the block that is also timed")
    parser.add_argument("--radius", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    affinities = given_affinities(arguments.affinities, arguments.labels, tuple(arguments.shape))
    whole, n = affinities[0].size, arguments.block
    block = affinities[:, :n, :n, :n].copy()
    options = {"min_seed_distance": arguments.radius}
    for method in ("sections", "volume"):
        segment_fragments(block[:, :4], method, **options)
        timed(
            f"fragments, {method}, block",
            block[0].size,
            arguments.repeats,
            lambda m=method: segment_fragments(block, m, **options),
        )
        ours = timed(
            f"fragments, {method}, whole",
            whole,
            arguments.repeats,
            lambda m=method: segment_fragments(affinities, m, **options),
        )
    theirs = timed("scipy + skimage, volume, whole", whole, 1, lambda: by_skimage(affinities, arguments.radius))
    print(json.dumps({"ratio_volume_whole": round(theirs / ours, 2)}))
    fragments = segment_fragments(affinities, "volume", **options)
    dense, count = relabel_components(fragments)
    ids = dense.astype(np.uint64)
    core = (slice(None), slice(None), slice(None))
    block_edges(affinities, ids, core)
    fragment_table(dense, count)
    timed("components", whole, arguments.repeats, lambda: relabel_components(fragments))
    timed("fragment table", whole, arguments.repeats, lambda: fragment_table(dense, count))
    timed("edges", whole, arguments.repeats, lambda: block_edges(affinities, ids, core))


if __name__ == "__main__":
    main()
