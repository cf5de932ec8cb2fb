"""A reader of agglomerate files, written from the specification alone.

"AgglomerateAttachment Specification", version 4, of github.com/scalableminds/webknossos-libs. It uses nothing of this
project.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import h5py
import networkx as nx
import numpy as np
import numpy.typing as npt


class AgglomerateReader:
    """An agglomerate file.

    Args:
        path: of the HDF5 file.
    """

    def __init__(self, path: Path) -> None:
        self._file = h5py.File(path, "r")
        self.lut: npt.NDArray[np.uint64] = self._file["segment_to_agglomerate"][:]
        self.segment_offsets = self._file["agglomerate_to_segments_offsets"][:].astype(np.int64)
        self.edge_offsets = self._file["agglomerate_to_edges_offsets"][:].astype(np.int64)
        self.n_segments, self.n_agglomerates = len(self.lut) - 1, len(self.segment_offsets) - 2

    def segments(self, agglomerate: int) -> npt.NDArray[np.unsignedinteger]:
        """The segments of an agglomerate, ascending."""
        begin, end = self.segment_offsets[agglomerate : agglomerate + 2]
        return self._file["agglomerate_to_segments"][begin:end]

    def graph(self, agglomerate: int) -> nx.Graph:
        """The graph of an agglomerate: segments with a position (x, y, z), edges with an affinity."""
        begin, end = self.segment_offsets[agglomerate : agglomerate + 2]
        segments = self.segments(agglomerate).tolist()
        graph = nx.Graph()
        for segment, position in zip(segments, self._file["agglomerate_to_positions"][begin:end].tolist(), strict=True):
            graph.add_node(segment, position=tuple(position))
        begin, end = self.edge_offsets[agglomerate : agglomerate + 2]
        edges = self._file["agglomerate_to_edges"][begin:end].tolist()
        affinities = self._file["agglomerate_to_affinities"][begin:end].tolist()
        for (one, other), affinity in zip(edges, affinities, strict=True):
            graph.add_edge(segments[one], segments[other], affinity=affinity)
        return graph

    def check(self) -> None:
        """All invariants and types of the specification."""
        attributes, arrays = self._file.attrs, self._file
        assert (attributes["artifact_schema_version"], attributes["artifact_class"]) == (4, "AgglomerateViewArtifact")
        ids = np.uint32 if self.n_segments < 1 << 32 else np.uint64
        n_edges = self.edge_offsets[-1]
        wanted = {
            "segment_to_agglomerate": (np.uint64, (self.n_segments + 1,)),
            "agglomerate_to_segments_offsets": (np.uint64, (self.n_agglomerates + 2,)),
            "agglomerate_to_segments": (ids, (self.n_segments,)),
            "agglomerate_to_edges_offsets": (np.uint64, (self.n_agglomerates + 2,)),
            "agglomerate_to_edges": (ids, (n_edges, 2)),
            "agglomerate_to_affinities": (np.float32, (n_edges,)),
            "agglomerate_to_positions": (np.int32, (self.n_segments, 3)),
        }
        assert {name: (array.dtype, array.shape) for name, array in arrays.items()} == wanted
        assert self.lut[0] == 0 and self.segment_offsets[-1] == self.n_segments
        for offsets in (self.segment_offsets, self.edge_offsets):
            assert offsets[0] == offsets[1] == 0 and (np.diff(offsets) >= 0).all()
        assert sorted(arrays["agglomerate_to_segments"][:].tolist()) == list(range(1, self.n_segments + 1))
        for agglomerate in range(1, self.n_agglomerates + 1):
            segments = self.segments(agglomerate)
            assert len(segments) and (np.diff(segments.astype(np.int64)) > 0).all()
            assert (self.lut[segments] == agglomerate).all()
            begin, end = self.edge_offsets[agglomerate : agglomerate + 2]
            edges = arrays["agglomerate_to_edges"][begin:end].tolist()
            assert edges == sorted(edges) and len(set(map(tuple, edges))) == len(edges)
            assert all(0 <= one < other < len(segments) for one, other in edges)

    def __enter__(self) -> AgglomerateReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
