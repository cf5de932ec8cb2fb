"""Format webknossos: its agglomerate file, over the fragments.

The file indexes by dense numbers. So fragments and segments get compact ids, and the layer of fragments must be
exported with the same ones. The compact id of a segment is its agglomerate.

One task makes the file from the tables of all leaves (`rag`), in five passes that sort with files:

1. fragments by id: `segment_to_agglomerate`;
2. fragments by (segment, id): `agglomerate_to_segments`, their offsets and positions;
3. the place of every fragment in its segment, by id, in one file of numbers;
4. edges inside segments, with these places for ids;
5. edges by (segment, place, place): `agglomerate_to_edges`, their offsets and affinities.

An edge counts if agglomeration used its contact and both ends lie in one segment. Segments merge along such edges only,
so every segment is connected.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError, InputError
from fgnet_pipeline.core.task import Block
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.exports.id_tables import id_tables, write_id_tables
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import NUMBERING, Numbering
from fgnet_pipeline.exports.rag import RAG_EDGES, RAG_NODES
from fgnet_pipeline.exports.whole_file import KINDS, WholeFile, description, leaf_tables
from fgnet_pipeline.exports.written_ids import id_dtype
from fgnet_pipeline.store.agglomerate_file import AgglomerateFile, Offsets
from fgnet_pipeline.store.atomic_files import remove_unfinished, whole_or_nothing
from fgnet_pipeline.store.sorted_rows import SortedRows

Pieces = Iterator[npt.NDArray[Any]]


class WriteAgglomerates(WholeFile):
    """The agglomerate file."""

    name = "write-agglomerates"
    summary = "The fragments and edges of all leaves in one agglomerate file."
    upstream = ("rag-nodes", "rag-edges")

    def write(self, job: ExportJob, block: Block) -> int:
        """Write the file; returns the number of fragments and edges."""
        remove_unfinished(job.state.root / "scratch")
        scratch = job.state.root / f".scratch.{uuid.uuid4().hex}.partial"
        scratch.mkdir()
        try:
            with whole_or_nothing(job.target) as partial, AgglomerateFile(partial, description(job)) as file:
                return _Passes(job, scratch, file).run()
        finally:
            rmtree(scratch, ignore_errors=True)


class _Passes:
    """The passes over the tables.

    Args:
        job: the export.
        scratch: folder for files that are sorted.
        file: the agglomerate file.
    """

    def __init__(self, job: ExportJob, scratch: Path, file: AgglomerateFile) -> None:
        self.job, self.scratch, self.file = job, scratch, file
        self.fragments, self.segments = (Numbering(job, kind).count for kind in ("fragments", "segments"))
        self.dtype = id_dtype(job, compact=True)

    def run(self) -> int:
        """All passes; returns the number of fragments and edges."""
        by_id, by_segment = self._nodes()
        self.file.write("segment_to_agglomerate", "uint64", (self.fragments + 1,), self._lut(by_id))
        self._write_segments(by_segment)
        edges = self._edges()
        self._write_edges(edges)
        return self.fragments + edges.count

    def _nodes(self) -> tuple[SortedRows, SortedRows]:
        """Rows (id, 0, segment), and rows (segment, id, z, y, x)."""
        by_id, by_segment = SortedRows(self.scratch / "ids", 3), SortedRows(self.scratch / "segments", 5)
        for columns in leaf_tables(self.job, "rag-nodes"):
            ids, segments = (columns[name].astype(np.uint64) for name in ("id", "segment"))
            by_id.add(ids, np.zeros_like(ids), segments)
            by_segment.add(segments, ids, *columns["point"].T)
        if by_id.count != self.fragments:
            raise DamageError(f"{by_id.count} fragments instead of {self.fragments}: run fgnet verify")
        return by_id, by_segment

    def _lut(self, by_id: SortedRows) -> Pieces:
        """The agglomerate of background and of every fragment."""
        yield np.zeros(1, np.uint64)
        expected = 1
        for rows in by_id.pieces():
            if (rows[:, 0] != np.arange(expected, expected + len(rows), dtype=np.uint64)).any():
                raise DamageError("two fragments have one compact id: run fgnet verify")
            expected += len(rows)
            yield rows[:, 2]

    def _write_segments(self, by_segment: SortedRows) -> None:
        """Fragments grouped by segment, and the file `places`: the place of every fragment in its segment, by id."""
        places = SortedRows(self.scratch / "places", 3)
        kept = _Kept(self.scratch, "fragments", 5, by_segment.pieces())
        self._write_offsets("agglomerate_to_segments_offsets", kept.pieces(), places)
        n = self.fragments
        self.file.write("agglomerate_to_segments", self.dtype, (n,), kept.columns(lambda rows: rows[:, 1]))
        # WEBKNOSSOS wants x, y, z.
        points = kept.columns(lambda rows: rows[:, [4, 3, 2]].view(np.int64))
        self.file.write("agglomerate_to_positions", "int32", (n, 3), points)
        with (self.scratch / "of-ids").open("xb") as stream:
            stream.write(np.zeros(1, np.uint64).data)
            for rows in places.pieces():
                stream.write(np.ascontiguousarray(rows[:, 2]).data)

    def _write_offsets(self, name: str, pieces: Pieces, places: SortedRows | None = None) -> None:
        """Write offsets; `places` gets rows (id, 0, place in the segment)."""
        offsets = Offsets(self.segments)

        def made() -> Pieces:
            last, before, done = np.uint64(0), 0, 0
            for rows in pieces:
                if len(rows) and places is not None:
                    starts = np.flatnonzero(np.diff(rows[:, 0], prepend=last) != 0)
                    first = np.full(len(rows), before, np.int64)
                    first[starts] = done + starts
                    first = np.maximum.accumulate(first)
                    place = done + np.arange(len(rows)) - first
                    places.add(rows[:, 1], np.zeros(len(rows), np.uint64), place.astype(np.uint64))
                    last, before, done = rows[-1, 0], int(first[-1]), done + len(rows)
                yield from offsets.push(rows[:, 0])
            yield from offsets.finish()

        self.file.write(name, "uint64", (self.segments + 2,), made())

    def _edges(self) -> SortedRows:
        """Rows (place of u in the segment, place of v) per segment: (segment, both places, affinity)."""
        edges = SortedRows(self.scratch / "edges", 3)
        for columns in leaf_tables(self.job, "rag-edges"):
            inside = np.flatnonzero(columns["used"].astype(bool) & columns["merged"].astype(bool))
            # Opened per leaf, so that no more than the pages of one leaf are in memory.
            of_ids = np.memmap(self.scratch / "of-ids", np.uint64, "r")
            u, v = (np.asarray(of_ids[columns[end][inside].astype(np.int64)]) for end in ("u", "v"))
            segments = columns["segment_u"][inside].astype(np.uint64)
            edges.add(segments, u << np.uint64(32) | v, columns["score"][inside].astype(np.float64))
        return edges

    def _write_edges(self, edges: SortedRows) -> None:
        """Edges grouped by segment, and their affinities."""
        kept, low = _Kept(self.scratch, "sorted-edges", 3, edges.pieces()), np.uint64(0xFFFFFFFF)
        self._write_offsets("agglomerate_to_edges_offsets", kept.pieces())
        ends = kept.columns(lambda rows: np.stack([rows[:, 1] >> np.uint64(32), rows[:, 1] & low], axis=1))
        self.file.write("agglomerate_to_edges", self.dtype, (edges.count, 2), ends)
        scores = kept.columns(lambda rows: np.ascontiguousarray(rows[:, 2]).view(np.float64))
        self.file.write("agglomerate_to_affinities", "float32", (edges.count,), scores)


class _Kept:
    """Rows that are read several times, in a file.

    Args:
        folder: of the file.
        name: of the file.
        width: number of columns.
        pieces: rows uint64 (n, width).
    """

    def __init__(self, folder: Path, name: str, width: int, pieces: Pieces) -> None:
        self._path, self._width = folder / name, width
        with self._path.open("xb") as stream:
            for rows in pieces:
                stream.write(np.ascontiguousarray(rows).data)

    def pieces(self) -> Pieces:
        """The rows in their order."""
        with self._path.open("rb") as stream:
            while data := stream.read(self._width << 19):
                yield np.frombuffer(data, np.uint64).reshape(-1, self._width)

    def columns(self, of_rows: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Pieces:
        """Apply a function to each piece of rows, and yield the results."""
        return (of_rows(rows) for rows in self.pieces())


class WebknossosFormat(Format):
    """One HDF5 file."""

    name = "webknossos"
    summary = "The agglomerate file of WEBKNOSSOS over the fragments."
    is_folder = False
    always_compact = True
    stages = (*NUMBERING, RAG_NODES, RAG_EDGES, WriteAgglomerates())

    def paths(self, job: ExportJob) -> list[Path]:
        """The file, and the tables of ids."""
        return [job.target, *id_tables(job, KINDS).values()]

    def check(self, job: ExportJob) -> None:
        """Refuse a volume whose positions exceed the 32 bits of the format."""
        if max(job.bounds.end) > 1 << 31:
            expected = "a volume of at most 2^31 voxels per axis, which positions of an agglomerate file can name"
            raise InputError("FORMAT", self.name, expected, "choose another format")

    def begin(self, job: ExportJob) -> None:
        """Do nothing: the last task makes the file."""

    def finish(self, job: ExportJob) -> list[str]:
        """Write the tables of ids, and say which layer the file belongs to."""
        layer = (
            "the layer of fragments needs the same ids: fgnet export OUTPUT ome-zarr --array fragments --compact-ids"
        )
        return [*write_id_tables(job, KINDS), layer]


FORMAT = WebknossosFormat()
