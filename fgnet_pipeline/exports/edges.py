"""Format edges: the region adjacency graph as one Parquet table.

Every leaf of the octree makes the table of the edges that it owns (`rag`). One task then copies all tables into one
file, leaf by leaf in C order, and renames the file when it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from fgnet_pipeline.core.task import Block
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.exports.id_tables import id_tables, write_id_tables
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import NUMBERING
from fgnet_pipeline.exports.rag import EDGE_DTYPES, RAG_EDGES
from fgnet_pipeline.exports.whole_file import KINDS, WholeFile, description, leaf_tables
from fgnet_pipeline.exports.written_ids import id_dtype
from fgnet_pipeline.store.tables import Columns, write_stream

#: Rows after which a row group is written. A leaf with more rows makes one of its own.
ROWS = 1 << 16
#: Columns that hold ids.
ID_COLUMNS = ("u", "v", "segment_u", "segment_v")


class WriteEdges(WholeFile):
    """All tables of edges in one file."""

    name = "write-edges"
    summary = "The tables of edges of all leaves in one Parquet file."
    upstream = ("rag-edges",)

    def write(self, job: ExportJob, block: Block) -> int:
        """Write the file; returns its rows."""
        rows = 0

        def counted() -> Iterator[Columns]:
            nonlocal rows
            for batch in leaf_tables(job, "rag-edges", ROWS):
                rows += len(batch["u"])
                yield batch

        ids = id_dtype(job, job.is_compact)
        dtypes = {name: ids if name in ID_COLUMNS else dtype for name, dtype in EDGE_DTYPES.items()}
        write_stream(job.target, counted(), dtypes, {"fgnet_export": json.dumps(description(job), sort_keys=True)})
        return rows


class EdgesFormat(Format):
    """One Parquet file."""

    name = "edges"
    summary = "The region adjacency graph as one Parquet table."
    is_folder = False
    options = ("compact_ids",)
    stages = (*NUMBERING, RAG_EDGES, WriteEdges())

    def paths(self, job: ExportJob) -> list[Path]:
        """The table, and those of ids."""
        return [job.target, *id_tables(job, KINDS).values()]

    def begin(self, job: ExportJob) -> None:
        """Do nothing: the last task makes the file."""

    def finish(self, job: ExportJob) -> list[str]:
        """Write the tables of ids."""
        return write_id_tables(job, KINDS)


FORMAT = EdgesFormat()
