"""Compact ids: every id gets its rank among all ids of its kind, from 1 on; background stays 0.

Stored ids are up to 2^63 - 1, and many tools take 32 bits, or tables with one row per number. The rank keeps the order
of the ids, and it does not depend on how the work is divided.

1. Per leaf of the octree, `ListIds` writes the sorted ids that belong to the leaf. A segment has the name of a
   fragment, so it belongs to the leaf of that fragment.
2. `CountIds` counts the ids per block of fragments, which is what the upper bits of an id say, and sums up the counts
   in the order of the ids. So it knows the rank of the first id of every block.
3. The rank of an id is that of the first id of its block, plus its place in the block. `Numbering` reads the lists of
   the leaves that it meets.

A lab's own fragments have one leaf, and the upper bits of their ids divide them just as well.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import NUMBER_BITS, Vector, vector
from fgnet_pipeline.core.plan import single
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.exports.job import ExportJob, exported
from fgnet_pipeline.kernels.relabel import places
from fgnet_pipeline.stages.checked_tables import key_of, read_lut
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import lut_task, octree_of
from fgnet_pipeline.stages.outcome import Outcome, write_table
from fgnet_pipeline.stages.stage import Stage, TableOutput
from fgnet_pipeline.store.tables import Columns, Tables, write_stream

Ids = npt.NDArray[np.uint64]
Kind = Literal["segments", "fragments"]
#: Number of leaves whose lists one worker keeps.
LEAVES_HELD = 64
_BITS = np.uint64(NUMBER_BITS)


class ListIds(Stage):
    """The sorted ids of every leaf."""

    scheduled_as = "agglomerate"
    by_voxel = False

    def plan(self, job: Job) -> list[Task]:
        """One task over the leaves of the octree, which reads their LUTs; none if ids stay as they are."""
        if not exported(job).is_compact:
            return []
        grid = octree_of(job).grid(0)
        upstream = (lut_task(0),)
        return [Task(self.name, self.name, grid, NO_CONTEXT, NO_CONTEXT, job.roi, upstream, {"format": 1})]

    def open(self, job: Job, task: Task, worker: int) -> _Lister:
        """Make the object that lists the ids of leaves."""
        return _Lister(exported(job), self)

    @abstractmethod
    def ids_of(self, fragments: Ids, segments: Ids) -> Ids:
        """The sorted ids of a leaf.

        Args:
            fragments: of the leaf, uint64 (n,), sorted.
            segments: of these fragments, uint64 (n,).
        """


class ListSegments(ListIds):
    """The segments that are named after a fragment of the leaf."""

    name = "list-segments"
    summary = "The ids of the segments of every leaf."
    tables = (TableOutput("list-segments", {"id": "uint64"}, redo="list-segments"),)

    def ids_of(self, fragments: Ids, segments: Ids) -> Ids:
        """The fragments that are the name of their segment."""
        return fragments[fragments == segments]


class ListFragments(ListIds):
    """The fragments of the leaf."""

    name = "list-fragments"
    summary = "The ids of the fragments of every leaf."
    tables = (TableOutput("list-fragments", {"id": "uint64"}, redo="list-fragments"),)

    def ids_of(self, fragments: Ids, segments: Ids) -> Ids:
        """All fragments of the leaf."""
        return fragments


class _Lister:
    def __init__(self, job: ExportJob, stage: ListIds) -> None:
        self.job, self.stage = job, stage
        self.written = job.output.tables(stage.name, stage.name)

    def load(self, block: Block) -> tuple[Ids, Ids]:
        """Fragments and segments of the leaf, uint64 (n,) each."""
        return read_lut(self.job.source, 0, block.index)

    def compute(self, block: Block, loaded: tuple[Ids, Ids]) -> Columns:
        """The column `id`."""
        return {"id": self.stage.ids_of(*loaded)}

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the list of the leaf."""
        return write_table(self.written, block, computed)


class CountIds(Stage):
    """The rank of the first id of every block of fragments."""

    scheduled_as = "agglomerate"
    by_voxel = False
    lists: ClassVar[ListIds]

    def plan(self, job: Job) -> list[Task]:
        """One block that reads the lists of all leaves; none if ids stay as they are."""
        if not exported(job).is_compact:
            return []
        grid = exported(job).whole_grid()
        return [
            Task(self.name, self.name, grid, NO_CONTEXT, NO_CONTEXT, job.roi, (self.lists.name,), {"format": 1})
        ]  # fmt: skip

    def open(self, job: Job, task: Task, worker: int) -> _Counter:
        """Make the object that counts."""
        return _Counter(exported(job), self)


class CountSegments(CountIds):
    """The rank of the first segment that is named after a fragment of each block."""

    name = "count-segments"
    summary = "The rank of the first segment of every block."
    lists = ListSegments()
    tables = (TableOutput("count-segments", {"prefix": "uint64", "first": "uint64"}, redo="count-segments"),)


class CountFragments(CountIds):
    """The rank of the first fragment of each block."""

    name = "count-fragments"
    summary = "The rank of the first fragment of every block."
    lists = ListFragments()
    tables = (TableOutput("count-fragments", {"prefix": "uint64", "first": "uint64"}, redo="count-fragments"),)


class _Counter:
    def __init__(self, job: ExportJob, stage: CountIds) -> None:
        self.job, self.stage = job, stage
        self.written = job.output.tables(stage.name, stage.name)

    def load(self, block: Block) -> tuple[Ids, npt.NDArray[np.int64]]:
        """Sorted prefixes of ids and how many ids have each, (n,) each."""
        prefixes, counts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for ids in _lists(self.job, self.stage.lists.name):
            found, number = np.unique(ids >> _BITS, return_counts=True)
            prefixes.append(found)
            counts.append(number)
        both = np.concatenate(prefixes), np.concatenate(counts)
        order = np.argsort(both[0])
        return both[0][order], both[1][order]

    def compute(self, block: Block, loaded: tuple[Ids, npt.NDArray[np.int64]]) -> Columns:
        """The columns `prefix` and `first`; the last row holds the number that the next id would have."""
        prefixes, counts = loaded
        first = np.concatenate([[1], 1 + np.cumsum(counts)]).astype(np.uint64)
        return {"prefix": np.append(prefixes, np.uint64(1 << 63)), "first": first}

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the table."""
        return write_table(self.written, block, computed)


#: Per kind of ids, the stages that number them, in the order of the data flow.
STAGES: dict[Kind, tuple[ListIds, CountIds]] = {
    "segments": (CountSegments.lists, CountSegments()),
    "fragments": (CountFragments.lists, CountFragments()),
}
#: All of these stages, for formats that number ids of both kinds.
NUMBERING: tuple[Stage, ...] = tuple(stage for both in STAGES.values() for stage in both)


def count_task(kind: Kind) -> str:
    """The task that a task with compact ids names as upstream."""
    return STAGES[kind][1].name


class Numbering:
    """The compact ids of one kind, for stages that come after `count_task`.

    Args:
        job: the export.
        kind: whose ids.

    Raises:
        DamageError: a table is missing or torn.
    """

    def __init__(self, job: ExportJob, kind: Kind) -> None:
        self.job, self.kind = job, kind
        self._lists, counts = (job.output.tables(stage.name, stage.name) for stage in STAGES[kind])
        table = counts.read((0, 0, 0), key=key_of(job, count_task(kind), (0, 0, 0)))
        self._prefix, self._first = (table[name].astype(np.uint64) for name in ("prefix", "first"))
        self._tree = octree_of(job.source)
        self._ids_of_leaf = lru_cache(LEAVES_HELD)(self._read)

    @property
    def count(self) -> int:
        """The number of ids, which is the greatest compact id, too."""
        return int(self._first[-1]) - 1

    def compact(self, ids: npt.NDArray[np.uint64]) -> Ids:
        """Replace ids by their ranks.

        Args:
            ids: uint64 of any shape; 0 is background.

        Returns:
            uint64 of the same shape, 0 for background, otherwise 1 to `count`.

        Raises:
            DamageError: an id is in no list.
        """
        found, place = np.unique(ids, return_inverse=True)
        ranks = np.zeros(len(found), np.uint64)
        known = found != 0
        ranks[known] = self._ranks(found[known])
        return ranks[place].reshape(ids.shape)

    def _ranks(self, ids: Ids) -> Ids:
        """The ranks of sorted ids (n,) without 0."""
        ranks = np.zeros(len(ids), np.uint64)
        leaves = self._tree.node_of(ids, 0)
        for leaf in np.unique(leaves, axis=0):
            mine = (leaves == leaf).all(axis=1)
            ranks[mine] = self._ranks_in(self._ids_of_leaf(vector(leaf)), ids[mine])
        return ranks

    def _ranks_in(self, listed: Ids, ids: Ids) -> Ids:
        """The ranks of the sorted ids (n,), which must be among the sorted ids `listed` of one leaf."""
        at, known = places(listed, ids)
        if not known.all():
            raise DamageError(f"id {ids[~known][0]} is in no table of {self.kind}: run again with --redo agglomerate")
        prefixes = ids >> _BITS
        first_in_list = np.searchsorted(listed, prefixes << _BITS)
        ranks: Ids = self._first[np.searchsorted(self._prefix, prefixes)] + (at - first_in_list).astype(np.uint64)
        return ranks

    def _read(self, leaf: Vector) -> Ids:
        name = STAGES[self.kind][0].name
        if not self.job.plan.active(name, single(leaf)).all():
            return np.zeros(0, np.uint64)
        return _read_list(self.job, self._lists, name, leaf)

    def write_table(self, path: Path) -> None:
        """Write the table of stored and compact ids, whole or not at all: Parquet, columns `id` and `compact`.

        The rows are sorted by id within each leaf.
        """
        batches: Iterator[Columns] = (
            {"id": ids, "compact": self.compact(ids)} for ids in _lists(self.job, STAGES[self.kind][0].name)
        )
        write_stream(path, batches, {"id": "uint64", "compact": "uint64"}, {"kind": self.kind})


def _lists(job: ExportJob, name: str) -> Iterator[Ids]:
    """The sorted ids of one leaf after the other."""
    tables = job.output.tables(name, name)
    for leaf in job.plan.active_blocks(name, job.plan.blocks(name)):
        yield _read_list(job, tables, name, leaf)


def _read_list(job: ExportJob, tables: Tables, name: str, leaf: Vector) -> Ids:
    return tables.read(leaf, ["id"], key_of(job, name, leaf))["id"].astype(np.uint64)
