"""Measure exported meshes and skeletons of a result beside zmesh and kimimaro, which get the whole array at once.

    python benchmarks/export_shapes.py demo/segmentation.zarr OUT

The exports are those of `fgnet export`, in blocks of the fragments, read back by cloud-volume. The largest segments
(`--largest`) are compared with the libraries: the triangles with those of zmesh, and the cable length with that of
kimimaro (`pip install kimimaro`; GPL-3) with its default parameters. Of all skeletons it is counted how many trees they
have, and how many nodes, and points along edges, lie inside their segment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from cloudvolume import CloudVolume

Segmentation = npt.NDArray[np.uint64]
Size = npt.NDArray[np.float64]


def exported(output: Path, folder: Path, kind: str, workers: int, more: list[str]) -> float:
    """Export, and return the seconds of the command."""
    command = [sys.executable, "-m", "fgnet_pipeline", "export", output, kind, "--to", folder / kind, *more]
    started = time.perf_counter()
    subprocess.run([*map(str, command), "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def opened(folder: Path, shape: tuple[int, ...]) -> CloudVolume:
    """cloud-volume's view of both exports; it asks for the metadata of a segmentation beside them."""
    sources = {"mesh": "meshes", "skeletons": "skeletons"}
    info = CloudVolume.create_new_info(1, "segmentation", "uint64", "raw", [1] * 3, [0] * 3, shape[::-1], **sources)
    (folder / "info").write_text(json.dumps(info))
    return CloudVolume(f"file://{folder}", progress=False)


def voxels_of(positions: npt.NDArray[np.float64], size: Size, offset: Size) -> npt.NDArray[np.int64]:
    """The voxels, zyx, that hold positions in nm, xyz."""
    return np.floor((positions[:, ::-1] - offset) / size).astype(np.int64)


def inside(skeleton: Any, segment: int, segmentation: Segmentation, size: Size, offset: Size) -> tuple[float, float]:
    """The shares of the nodes, and of points along the edges, that lie in the segment."""
    nodes = skeleton.vertices.astype(np.float64)
    ends, part = nodes[skeleton.edges.astype(np.int64)], np.linspace(0, 1, 17)[:, None]
    points = np.concatenate([nodes[:1], (ends[:, :1] * part + ends[:, 1:] * (1 - part)).reshape(-1, 3)])
    own = [segmentation[tuple(voxels_of(each, size, offset).T)] == segment for each in (nodes, points)]
    return float(own[0].mean()), float(own[1].mean())


def is_closed(triangles: npt.NDArray[np.int64]) -> bool:
    """Whether every edge (a, b) has its counterpart (b, a)."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    codes, turned = edges @ np.array([1 << 32, 1]), edges @ np.array([1, 1 << 32])
    return bool(np.array_equal(np.sort(codes), np.sort(turned)))


def theirs(numbers: npt.NDArray[np.uint32], size: Size) -> tuple[dict[int, int], dict[int, Any], float, float]:
    """Triangles per label by zmesh, skeletons by kimimaro, and the seconds of both."""
    import kimimaro
    from zmesh import Mesher

    started, mesher = time.perf_counter(), Mesher((1, 1, 1))
    mesher.mesh(np.pad(numbers, 1).T)
    found = {int(label): len(mesher.get(label, reduction_factor=0).faces) for label in mesher.ids()}
    meshed = time.perf_counter()
    lines = kimimaro.skeletonize(numbers.T, anisotropy=tuple(size[::-1]), dust_threshold=0, fix_borders=False,
                                 progress=False)  # fmt: skip
    return found, lines, meshed - started, time.perf_counter() - meshed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="a finished output")
    parser.add_argument("out", type=Path, help="folder for everything that is written")
    parser.add_argument("--largest", type=int, default=10, help="segments to compare")
    parser.add_argument("--min-voxels", type=int, default=1, help="least size of the segments that are exported")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    array = zarr.open_array(asked.output / "segmentation", mode="r")
    if any(unit != "nm" for unit in array.attrs["units"]):
        raise SystemExit("this script takes voxel sizes of whole nm only")
    size, offset = (np.array(array.attrs[name], np.float64) for name in ("voxel_size", "offset"))
    segmentation = np.asarray(array[...], np.uint64)
    ids, counts = np.unique(segmentation[segmentation != 0], return_counts=True)
    more = ["--min-voxels", str(asked.min_voxels)] if asked.min_voxels > 1 else []
    seconds = {kind: exported(asked.output, asked.out, kind, asked.workers, more) for kind in ("meshes", "skeletons")}
    volume = opened(asked.out, segmentation.shape)
    print_all_skeletons(volume, ids[counts >= asked.min_voxels], segmentation, size, offset)
    largest = ids[np.argsort(-counts, kind="stable")][: asked.largest]
    numbers = np.zeros(segmentation.shape, np.uint32)
    for number, segment in enumerate(largest, 1):
        numbers[segmentation == segment] = number
    faces, lines, *of_libraries = theirs(numbers, size)
    print(f"seconds of whole commands, {asked.workers} workers, all segments: meshes {seconds['meshes']:.1f}, "
          f"skeletons {seconds['skeletons']:.1f}")  # fmt: skip
    print(f"seconds of the largest segments in memory: zmesh {of_libraries[0]:.1f}, kimimaro {of_libraries[1]:.1f}\n")
    print("| voxels | triangles, ours | zmesh | closed | cable, ours, um | kimimaro | ratio | ends, ours | kimimaro |")
    print("|---|---|---|---|---|---|---|---|---|")
    for number, segment in enumerate(largest.tolist(), 1):
        mesh, ours, other = volume.mesh.get(segment), volume.skeleton.get(segment), lines[number]
        triangles = (mesh[segment] if isinstance(mesh, dict) else mesh).faces.astype(np.int64)
        cable, wanted = ours.cable_length(), other.cable_length()
        ends = [int((np.bincount(each.edges.reshape(-1).astype(int)) == 1).sum()) for each in (ours, other)]
        print(f"| {(numbers == number).sum()} | {len(triangles)} | {faces[number]} | {is_closed(triangles)} | "
              f"{cable / 1000:.1f} | {wanted / 1000:.1f} | {cable / wanted:.2f} | {ends[0]} | {ends[1]} |")  # fmt: skip


def print_all_skeletons(
    volume: CloudVolume, segments: npt.NDArray[np.uint64], segmentation: Segmentation, size: Size, offset: Size
) -> None:
    """Print how many trees the skeletons have, and which share of them lies inside the segments."""
    trees, weights, shares = [], [], []
    for segment in segments.tolist():
        skeleton = volume.skeleton.get(segment)
        trees.append(len(skeleton.vertices) - len(skeleton.edges))
        weights.append(len(skeleton.vertices))
        shares.append(inside(skeleton, segment, segmentation, size, offset))
    nodes, points = np.average(shares, axis=0, weights=weights)
    print(f"{len(trees)} skeletons, {sum(weights)} nodes; nodes less edges: {min(trees)} to {max(trees)}; "
          f"inside their segment: {nodes:.2%} of nodes, {points:.2%} of points along edges")  # fmt: skip


if __name__ == "__main__":
    main()
