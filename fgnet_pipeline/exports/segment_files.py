"""Shared parts of exports of single segments: the format, the files of segments, and the properties of all segments.

The format of the properties is "Segment properties" of
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/segment_properties.md.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.task import Block
from fgnet_pipeline.execution.resume import left
from fgnet_pipeline.exports.by_segment import Source, ranges, rows_where, segments_apart
from fgnet_pipeline.exports.chosen_segments import OPTIONS, check_choice, is_chosen
from fgnet_pipeline.exports.climbing import Climber, no_rows, with_closed
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.exports.id_tables import id_tables, write_id_tables
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import Kind
from fgnet_pipeline.exports.segment_sizes import all_sizes
from fgnet_pipeline.exports.written_ids import WrittenIds
from fgnet_pipeline.kernels.segment_rows import first_rows
from fgnet_pipeline.stages.checked_tables import key_of
from fgnet_pipeline.stages.outcome import Outcome, write_table, write_table_parts
from fgnet_pipeline.store.atomic_files import write_atomic, write_parts
from fgnet_pipeline.store.stored_files import remove_unfinished_below
from fgnet_pipeline.store.tables import Columns, Tables

Ids = npt.NDArray[np.uint64]
#: The ids that are numbered.
KINDS: tuple[Kind, ...] = ("segments",)
#: Folder of the properties, below the target.
PROPERTIES = "segment_properties"
#: Sizes that fit the type in which Neuroglancer keeps whole numbers.
_LARGEST = (1 << 32) - 1


def check_unchanged(job: ExportJob) -> None:
    """Refuse to continue an export of another region or mask.

    Segments grow together in a larger region. Then files of segments that exist no more would stay in the target.

    Raises:
        InputError: a block of the export was computed of other inputs.
    """
    for task in job.tasks:
        if left(job, task.name).stale.any():
            expected = "a new path, or the export of the same region and mask that was begun there"
            raise InputError("--to", job.to, expected, f"choose another --to, or delete {job.to} and {job.state.root}")


def write_files(job: ExportJob, tables: Tables, block: Block, columns: Columns, files: Mapping[str, bytes]) -> Outcome:
    """Write the files of a block, then its table.

    Args:
        job: the export.
        tables: of the stage.
        block: the block.
        columns: of its table.
        files: content by name, below the target.
    """
    for name, content in files.items():
        write_atomic(job.target / name, content)
    outcome = write_table(tables, block, columns)
    outcome.files.extend(job.target / name for name in files)
    return outcome


class SegmentFiles(Climber, ABC):
    """Writes the files of the segments that are closed at the nodes of one level.

    A node may have more rows than memory holds. Therefore `load` and `compute` are lazy: they work on one range of
    segments after the other, while `store` writes.

    Attributes:
        pieces: the stage whose tables, one per block, a leaf brings together.
    """

    pieces: ClassVar[str]

    @abstractmethod
    def files_of(self, name: int, rows: Columns) -> dict[str, bytes]:
        """The content of the files of one segment by name, below the target.

        Args:
            name: the id under which the segment is written.
            rows: all rows of the segment.
        """

    def more_of_piece(self, block: Vector) -> Columns:
        """Columns of one value, (1,) or (1, k), that the rows of a block get beside those of its table."""
        return {}

    def load(self, block: Block) -> Iterator[Columns]:
        """The rows of a node in ranges of segments, at least one."""
        sources = self._pieces_of_leaf(block.index) if self.level == 0 else self.children(block.index)
        still_open, is_empty = self.open_segments(block.index), True
        for rows in ranges(sources):
            is_empty = False
            yield with_closed(rows, still_open)
        if is_empty:
            yield with_closed(no_rows(self.stage), still_open)

    def _pieces_of_leaf(self, leaf: Vector) -> list[Source]:
        name = self.pieces
        tables, blocks = self.job.output.tables(name, name), self.tree.blocks_of_leaf(leaf)
        return [
            Source(tables, block, key_of(self.job, name, block), more=self.more_of_piece(block))
            for block in self.job.plan.active_blocks(name, blocks)
        ]

    def compute(self, block: Block, loaded: Iterator[Columns]) -> Iterator[tuple[Columns, dict[str, bytes]]]:
        """Per range the columns of the table, with one row per closed segment; and the content of the files by name."""
        for rows in loaded:
            closed = rows_where(rows, rows["closed"] == 1)
            first, files = first_rows(closed["segment"]), dict[str, bytes]()
            for of_one in segments_apart(first):
                files |= self.files_of(int(closed["name"][of_one[0]]), rows_where(closed, of_one))
            kept = np.ones(len(rows["segment"]), bool)
            kept[rows["closed"] == 1] = first
            yield rows_where(rows, kept), files

    def store(self, block: Block, computed: Iterator[tuple[Columns, dict[str, bytes]]]) -> Outcome:
        """Write the files and the table, range by range."""
        written: list[Path] = []

        def parts() -> Iterator[Columns]:
            for columns, files in computed:
                for name, content in files.items():
                    write_atomic(self.job.target / name, content)
                    written.append(self.job.target / name)
                yield columns

        outcome = write_table_parts(self.written, block, parts(), self.stage.tables[0].columns)
        outcome.files.extend(written)
        return outcome


class SegmentsFormat(Format):
    """A folder of files per segment, and the sizes of the segments.

    Attributes:
        things: the word for the things that are written, e.g. `"meshes"`.
    """

    options = OPTIONS
    things: ClassVar[str]

    def paths(self, job: ExportJob) -> list[Path]:
        """The folder, and the table of ids."""
        return [job.target, *id_tables(job, KINDS).values()]

    def check(self, job: ExportJob) -> None:
        """Check the chosen segments, and that the region is that of the export so far.

        Raises:
            InputError: an id is no segment, segments are chosen both by id and by size, or the region has grown.
        """
        check_unchanged(job)
        check_choice(job)

    def finish(self, job: ExportJob) -> list[str]:
        """Write the properties of the segments and the table of ids, and remove what killed workers left."""
        remove_unfinished_below(job.target)
        count, lines = write_properties(job), write_id_tables(job, KINDS)
        if count:
            return [*lines, f"{self.things} of {count} segments: {job.to}"]
        least = job.options.min_voxels
        reason = f"no segment has {least} voxels or more" if least > 1 else "the segmentation holds no segment"
        return [*lines, f"{reason}, so {job.to} holds no {self.things}"]


def write_properties(job: ExportJob) -> int:
    """Write the sizes of the chosen segments as segment properties, and return how many segments there are."""
    count, largest = 0, 0
    for segments, voxels in _chosen_sizes(job):
        count, largest = count + len(segments), max(largest, int(voxels.max(initial=0)))
    write_parts(job.target / PROPERTIES / "info", _properties(job, "uint32" if largest <= _LARGEST else "float32"))
    return count


def _chosen_sizes(job: ExportJob) -> Iterator[tuple[Ids, npt.NDArray[np.int64]]]:
    for segments, voxels in all_sizes(job):
        chosen = is_chosen(job, segments, voxels)
        yield segments[chosen], voxels[chosen]


def _properties(job: ExportJob, dtype: str) -> Iterator[bytes]:
    """The file of properties, in parts. It has the ids, then the sizes, so the tables are read twice."""
    written = WrittenIds(job, "segments")
    yield b'{"@type": "neuroglancer_segment_properties", "inline": {"ids": ['
    yield from _listed([f'"{id_}"' for id_ in written.of(segments)] for segments, _ in _chosen_sizes(job))
    described = {"id": "voxels", "type": "number", "data_type": dtype, "description": "voxels of the segment"}
    yield f'], "properties": [{json.dumps(described)[:-1]}, "values": ['.encode()
    yield from _listed([str(size) for size in voxels] for _, voxels in _chosen_sizes(job))
    yield b"]}]}}\n"


def _listed(parts: Iterable[list[str]]) -> Iterator[bytes]:
    """The elements of a JSON list with commas between them."""
    begun = False
    for part in parts:
        if part:
            yield (", " * begun + ", ".join(part)).encode()
            begun = True
