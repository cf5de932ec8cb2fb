"""Format graph: the region adjacency graph in a database that `funlib.persistence` reads.

Every leaf of the octree makes a table of its fragments and one of the edges that it owns (`rag`). One task then writes
all of them to the database: an SQLite file that is renamed when it is complete, or one transaction of PostgreSQL.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import NUMBERING
from fgnet_pipeline.exports.rag import AXES, RAG_EDGES, RAG_NODES
from fgnet_pipeline.exports.whole_file import WholeFile, description, leaf_tables
from fgnet_pipeline.store.graph_database import Server, meta_path, require_postgres_url, write_sqlite
from fgnet_pipeline.store.graph_rows import Rows, attribute_types
from fgnet_pipeline.store.tables import Columns

NODE_TYPES: dict[str, type] = {"voxels": int, "segment": int}
#: Further attributes of nodes if ids are compact.
STORED_TYPES: dict[str, type] = {"stored_id": int, "stored_segment": int}
EDGE_TYPES: dict[str, type] = {
    "sum": int, "count": int, "affinity": float, "score": float, "used": bool, "merged": bool,
    **{f"contact_{axis}": float for axis in AXES},
}  # fmt: skip


class WriteGraph(WholeFile):
    """All fragments and edges in one database."""

    name = "write-graph"
    summary = "The fragments and edges of all leaves in one database."
    upstream = ("rag-nodes", "rag-edges")

    def write(self, job: ExportJob, block: Block) -> int:
        """Write the database; returns the number of nodes and edges."""
        document = {**description(job), "made_of": identity(job), "key": block.key}
        nodes = NODE_TYPES | (STORED_TYPES if job.is_compact else {})
        types, parts = attribute_types(nodes, EDGE_TYPES), _parts(job, ("position", *nodes))
        if is_url(job.to):
            return Server(job.to).write(types, parts, document)
        return write_sqlite(job.target, types, parts, document)


def identity(job: ExportJob) -> str:
    """A digest of what the graph is made of: fingerprints of all tasks, and the place of the volume."""
    tasks = {name: dict(task.fingerprint) for name, task in job.plan.tasks.items() if not task.level}
    place = [job.bounds.shape, job.frame.voxel_size, job.frame.offset]
    return hashlib.sha256(json.dumps([tasks, place, job.options.to_dict()], sort_keys=True).encode()).hexdigest()


def _parts(job: ExportJob, nodes: tuple[str, ...]) -> Iterator[Rows]:
    """All nodes, then all edges, leaf by leaf."""
    for columns in leaf_tables(job, "rag-nodes"):
        centre = columns["point"].astype(np.float64) + 0.5  # a voxel's index is its centre, the offset is a corner
        position = centre * np.asarray(job.frame.voxel_size) + np.asarray(job.frame.offset)
        columns = {**columns, "position": position}
        yield Rows({name: columns[name] for name in ("id", *nodes)}, ("id",))
    for columns in leaf_tables(job, "rag-edges"):
        contacts: Columns = {f"contact_{axis}": columns[f"position_{axis}"] for axis in AXES}
        columns = {**columns, **contacts}
        yield Rows({name: columns[name] for name in ("u", "v", *EDGE_TYPES)}, ("u", "v"))


class GraphFormat(Format):
    """An SQLite file, or tables of PostgreSQL."""

    name = "graph"
    summary = "The region adjacency graph in an SQLite file or in PostgreSQL, for funlib.persistence."
    is_folder = False
    takes_urls = True
    options = ("compact_ids",)
    stages = (*NUMBERING, RAG_NODES, RAG_EDGES, WriteGraph())

    def plan(self, job: ExportJob) -> Sequence[Task]:
        """The tasks. A URL that is none of PostgreSQL is refused first."""
        if is_url(job.to):
            require_postgres_url(job.to)
        return super().plan(job)

    def paths(self, job: ExportJob) -> list[Path]:
        """The database and its metadata."""
        return [] if is_url(job.to) else [job.target, meta_path(job.target)]

    def check(self, job: ExportJob) -> None:
        """Ask the database whether the graph can be written."""
        if not is_url(job.to):
            return
        server = Server(job.to)
        held = server.held()
        if held is not None and (not job.state.is_begun() or held.get("made_of") != identity(job)):
            raise server.in_the_way("another graph" if job.state.is_begun() else "a graph")

    def is_written(self, job: ExportJob) -> bool:
        """Whether the files or the tables are there."""
        return Server(job.to).held() is not None if is_url(job.to) else super().is_written(job)

    def begin(self, job: ExportJob) -> None:
        """Do nothing: the last task makes the database."""

    def finish(self, job: ExportJob) -> list[str]:
        """Say how the graph is read."""
        if is_url(job.to):
            return ["read it with funlib.persistence.graphs.PgSQLGraphDatabase (docs/reference/exports-graphs.md)"]
        return ["read it with funlib.persistence.graphs.SQLiteGraphDataBase (docs/reference/exports-graphs.md)"]


FORMAT = GraphFormat()
