"""Exports of meshes and skeletons, read back by cloud-volume."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cloudvolume import CloudVolume

Triangles = npt.NDArray[np.int64]


def opened(beside: Path, **sources: str) -> CloudVolume:
    """A segmentation whose meshes or skeletons lie in folders beside its `info`, e.g. `mesh="folder"`."""
    info = CloudVolume.create_new_info(1, "segmentation", "uint64", "raw", [8, 8, 8], [0, 0, 0], [64] * 3, **sources)
    (beside / "info").write_text(json.dumps(info))
    return CloudVolume(f"file://{beside}", progress=False)


def mesh_of(folder: Path, segment: int) -> tuple[npt.NDArray[np.float64], Triangles]:
    """The mesh of a segment: vertices (n, 3), nm, xyz; triangles (m, 3)."""
    mesh = opened(folder.parent, mesh=folder.name).mesh.get(segment)
    mesh = mesh[segment] if isinstance(mesh, dict) else mesh
    return mesh.vertices.astype(np.float64), mesh.faces.astype(np.int64)


def is_closed(triangles: Triangles) -> bool:
    """Whether every edge (a, b) has its counterpart (b, a), so that the surface has no hole."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return sorted(map(tuple, edges)) == sorted(map(tuple, edges[:, ::-1]))


def canonical(
    triangles: npt.NDArray[np.float64], voxel_size: tuple[float, ...], offset: tuple[float, ...]
) -> Triangles:
    """Triangles of corners (m, 3, 3), nm, xyz, as sorted rows of whole half voxels, so that sets can be compared.

    A triangle begins at its smallest corner and keeps its direction.
    """
    halves = (triangles - np.array(offset)[::-1]) / (np.array(voxel_size)[::-1] / 2)
    np.testing.assert_allclose(halves, np.rint(halves), atol=0.01)
    codes = np.rint(halves).astype(np.int64) @ np.array([1 << 40, 1 << 20, 1])
    turn = (codes.argmin(axis=1)[:, None] + np.arange(3)) % 3
    rows = np.take_along_axis(codes, turn, 1)
    return rows[np.lexsort(rows.T)]
