"""The files of a skeleton: Neuroglancer's binary format in nm, and SWC in micrometres.

A node lies at the centre of its voxel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.kernels.tree import Tree
from fgnet_pipeline.store.frame import Frame

#: Folder of the SWC files, below the target.
SWC = "swc"
_HEADER = """\
# segment {name}
# units: um
# x, y, z and radius in micrometres
# columns: node, type (0 = undefined), x, y, z, radius, parent (-1 = root)
"""


def positions(tree: Tree, frame: Frame) -> npt.NDArray[np.float64]:
    """The nodes in nm, float64 (n, 3), xyz."""
    return (np.asarray(frame.offset) + (tree.nodes + 0.5) * np.asarray(frame.voxel_size))[:, ::-1]


def encoded(tree: Tree, frame: Frame) -> bytes:
    """A skeleton in the format of Neuroglancer, little endian.

    Two uint32 (numbers of vertices and edges), float32 vertices (xyz, nm), uint32 edges, float32 radii (nm).
    """
    nodes = np.arange(len(tree.nodes))
    edges = np.stack([tree.parents, nodes], axis=1)[tree.parents >= 0]
    counts = np.array([len(nodes), len(edges)], "<u4")
    parts = counts, positions(tree, frame).astype("<f4"), edges.astype("<u4"), tree.radii.astype("<f4")
    return b"".join(part.tobytes() for part in parts)


def swc(tree: Tree, frame: Frame, name: int) -> bytes:
    """A skeleton as SWC: a parent comes before its children, and the root of a tree is its thickest node."""
    parents = np.where(tree.parents < 0, -1, tree.parents + 1)
    places, radii = positions(tree, frame) / 1000, tree.radii / 1000
    lines = [_HEADER.format(name=name)]
    for node, ((x, y, z), radius, parent) in enumerate(zip(places, radii, parents, strict=True), 1):
        lines.append(f"{node} 0 {x:.6f} {y:.6f} {z:.6f} {radius:.6f} {parent}\n")
    return "".join(lines).encode()
