"""Reading back what a block has stored, and saying what is wrong with it.

What lies there is compared with the record of the block (checksum and non-zero count of what was written), and with
what it must agree with: a fragment table with the fragments, an edge table and a LUT with the fragment tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import MAX_FRAGMENTS_PER_BLOCK, Box, Vector, first_id, indices
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, check_edges, check_tree
from fgnet_pipeline.stages.checked_tables import EDGE_COLUMNS
from fgnet_pipeline.stages.fragments import Census, describe
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.registry import array_of
from fgnet_pipeline.stages.stage import outcome_of_array, outcome_of_tables
from fgnet_pipeline.store.arrays import OutputArray
from fgnet_pipeline.store.tables import Columns, Tables

#: What can be wrong with a block.
MISSING, UNDECODABLE, CHECKSUM, IDS, DISAGREES = "missing", "undecodable", "checksum", "ids", "disagrees"
Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the record of a block says that was written."""

    task: str
    block: Vector
    key: str
    checksum: str
    nonzero: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong: what kind, where, which files hold it, and why it is thought so.

    ``certain``: False where the files are as recorded, and contradict others that may be the damaged ones.
    """

    kind: str
    task: str
    block: Vector | None
    files: tuple[str, ...]
    reason: str
    certain: bool = True


def tables_of(job: Job, task: str) -> list[Tables]:
    """The tables that a task writes, in the order in which their checksum is taken."""
    stage, _, level = task.partition("-")
    if stage == "agglomerate":
        return [job.output.tables(f"{kind}-{level}", stage) for kind in ("residual", "merges")]
    if stage == "lut":
        return [job.output.tables(task, "agglomerate")]
    return [job.output.tables(task, stage)] if stage in ("fragments", "edges") else []


def check_block(job: Job, expected: Expected) -> list[Finding]:
    """Everything that is wrong with what a finished block has stored."""
    name = array_of(job, expected.task)
    if name is None:
        return _check_tables(job, expected)
    voxels = _check_voxels(job, expected, job.output_array(name))
    if isinstance(voxels, Finding):
        damage = [_read(table, expected)[1] for table in tables_of(job, expected.task)]
        return [voxels, *(found for found in damage if found is not None)]
    return _check_fragment_table(job, expected, voxels) if expected.task == "fragments" else []


def _check_voxels(job: Job, expected: Expected, array: OutputArray) -> npt.NDArray[Any] | Finding:
    """The voxels of a block's write region, or what is wrong with them."""
    whole = job.plan.tasks[expected.task].grid.box(expected.block).intersect(job.bounds)
    written = job.plan.write_box(expected.task, expected.block)
    # Zarr reads a file of no bytes as it reads none: zeros, without a word.
    files = [path for path in array.shard_files(whole) if path.exists() and path.stat().st_size]
    if expected.nonzero and not files:
        return _finding(MISSING, expected, array.shard_files(whole), "its record says that it holds non-zero voxels")
    try:
        data = array.read(whole)
    except MemoryError:
        raise
    except Exception as error:  # whatever a codec says of bytes that are not its own
        return _finding(UNDECODABLE, expected, _undecodable(array, whole), _first_line(error))
    inside = np.ascontiguousarray(data[(..., *written.slices(whole.begin))])
    if expected.task == "fragments" and (reason := _ids_reason(np.unique(inside), expected.block)):
        return _finding(IDS, expected, files, reason)
    outcome = outcome_of_array(inside, [])
    if (outcome.checksum, outcome.nonzero) != (expected.checksum, expected.nonzero):
        reason = f"it holds {outcome.nonzero} non-zero voxels with {outcome.checksum}, {_recorded(expected)}"
        return _finding(CHECKSUM, expected, array.shard_files(whole), reason)
    if np.count_nonzero(data) != outcome.nonzero:
        return _finding(CHECKSUM, expected, files, "it holds voxels outside of the region that was written")
    return inside


def _undecodable(array: OutputArray, box: Box) -> list[Path]:
    """The shards of ``box`` that cannot be read."""
    found = []
    for index in indices(array.shards.covering(box)):
        shard = array.shards.box(index).intersect(array.bounds)
        try:
            array.read(shard)
        except Exception:  # as above
            found += array.shard_files(shard)
    return found


def _check_fragment_table(job: Job, expected: Expected, ids: Ids) -> list[Finding]:
    """The table of a block's fragments must say what the fragments do."""
    table = tables_of(job, "fragments")[0]
    columns, damage = _read(table, expected)
    if damage or columns is None:
        return [damage] if damage else []
    listed = columns["id"].astype(np.uint64)
    if reason := _ids_reason(listed, expected.block, listed=True):
        return [_finding(IDS, expected, [table.path(expected.block)], reason)]
    base = np.uint64(first_id(expected.block))
    labels = np.where(ids > 0, ids - base, np.uint64(0)).astype(np.uint32)
    n = int(labels.max(initial=0))
    rows = describe(labels, n, job.plan.write_box("fragments", expected.block))
    wanted: Columns = {"id": np.arange(1, n + 1, dtype=np.uint64) + base, **rows}
    return _compared(table, expected, columns, wanted)


def _check_tables(job: Job, expected: Expected) -> list[Finding]:
    """Tables alone: their checksum, and what they must agree with."""
    read, damaged = [], []
    for table in tables_of(job, expected.task):
        columns, damage = _read(table, expected)
        if damage is not None:
            damaged.append(damage)
        elif columns is not None:
            read.append((table, columns))
    if damaged:
        return damaged
    stage = expected.task.partition("-")[0]
    if stage == "fragments":
        return _check_census(job, expected, *read[0])
    outcome = outcome_of_tables([(table.path(expected.block), columns) for table, columns in read], 0)
    as_recorded = (outcome.checksum, outcome.nonzero) == (expected.checksum, expected.nonzero)
    for table, columns in read:
        if reason := _REASONS[stage](job, expected, table, columns):
            path = str(table.path(expected.block))
            return [Finding(DISAGREES, expected.task, expected.block, (path,), reason, certain=not as_recorded)]
    files = [table.path(expected.block) for table, _ in read]
    reason = f"it holds {outcome.nonzero} rows with {outcome.checksum}, {_recorded(expected)}"
    return [] if as_recorded else [_finding(CHECKSUM, expected, files, reason)]


def _check_census(job: Job, expected: Expected, table: Tables, columns: Columns) -> list[Finding]:
    """The table of a lab's own fragments must say what these do."""
    census = Census(job)
    try:
        wanted = census.compute(expected.block, census.load(expected.block))
    except MemoryError:
        raise
    except Exception as error:  # the lab's array may be damaged, too
        return [_finding(UNDECODABLE, expected, [], f"fragments.path cannot be read there: {_first_line(error)}")]
    return _compared(table, expected, columns, wanted)


def _compared(table: Tables, expected: Expected, columns: Columns, wanted: Columns) -> list[Finding]:
    for name in wanted:
        if name not in columns or not np.array_equal(columns[name], wanted[name]):
            reason = f"the fragment table disagrees with the fragments in column {name!r}"
            return [_finding(DISAGREES, expected, [table.path(expected.block)], reason)]
    return []


def _read(table: Tables, expected: Expected) -> tuple[Columns | None, Finding | None]:
    """The columns of a block's table, or what is wrong with its file."""
    path = table.path(expected.block)
    if not path.exists():
        return None, _finding(MISSING, expected, [path], "its record says that it was written")
    try:
        columns = table.read(expected.block, None, expected.key)
    except DamageError as error:
        return None, _finding(UNDECODABLE, expected, [path], error.reason)
    if not table.is_as_written(expected.block, columns, expected.key):
        return None, _finding(UNDECODABLE, expected, [path], "its bytes are not those that were written")
    return columns, None


def _ids_reason(ids: Ids, block: Vector, listed: bool = False) -> str | None:
    """Why these ids cannot be those of ``block``: each of its own range, and each once where they are ``listed``."""
    low, high = first_id(block) + 1, first_id(block) + MAX_FRAGMENTS_PER_BLOCK
    outside = ids[((ids < low) | (ids > high)) & (listed | (ids != 0))]
    if len(outside):
        return f"it holds id {outside[0]}, which is not of this block ({low} to {high})"
    if listed and len(np.unique(ids)) != len(ids):
        return "it lists an id twice"
    return None


def _edges_reason(job: Job, expected: Expected, table: Tables, columns: Columns) -> str | None:
    """Why these cannot be the edges of a block."""
    if reason := _refused(lambda: check_edges(*(columns[name].astype(np.uint64) for name in EDGE_COLUMNS))):
        return reason
    around = job.plan.tasks["fragments"].grid.covering(job.plan.tasks["edges"].read_box(expected.block))
    known = _listed_ids(job, around)
    ends = np.concatenate([columns["u"], columns["v"]])
    unknown = ends[~np.isin(ends, known)] if known is not None else ends[:0]
    return f"it names fragment {unknown[0]}, which does not exist" if len(unknown) else None


def _lut_reason(job: Job, expected: Expected, table: Tables, columns: Columns) -> str | None:
    """Why this cannot be the LUT of a node."""
    names, segments = (columns[name].astype(np.uint64) for name in ("fragment", "segment"))
    if (names[1:] <= names[:-1]).any() or (segments == 0).any():
        return "its fragments are out of order, or one has no segment"
    if expected.task != "lut-0":
        return None
    known = _listed_ids(job, octree_of(job).blocks_of_leaf(expected.block))
    missed = known[~np.isin(known, names)] if known is not None else names[:0]
    return f"it misses fragment {missed[0]}" if len(missed) else None


def _tree_reason(job: Job, expected: Expected, table: Tables, columns: Columns) -> str | None:
    """Why these cannot be the merges, or what is left, of a node."""
    if table.kind.startswith("residual"):
        return _refused(lambda: check_edges(*_sorted_edges(columns)))
    return _refused(lambda: check_tree(Merges(*(columns[name].astype(np.uint64) for name in Merges._fields))))


_REASONS: dict[str, Callable[[Job, Expected, Tables, Columns], str | None]] = {
    "edges": _edges_reason,
    "lut": _lut_reason,
    "agglomerate": _tree_reason,
}


def _sorted_edges(columns: Columns) -> list[Ids]:
    order = np.lexsort((columns["v"], columns["u"]))
    return [columns[name].astype(np.uint64)[order] for name in EDGE_COLUMNS]


def _refused(check: Callable[[], None]) -> str | None:
    try:
        check()
    except DamageError as error:
        return error.reason
    except KeyError as error:
        return f"it has no column {error}"
    return None


def _listed_ids(job: Job, blocks: Box) -> Ids | None:
    """Ids in the fragment tables of an index box; None where one cannot be read, which is a finding of its own."""
    tables = job.output.tables("fragments", "fragments")
    found = [np.zeros(0, np.uint64)]
    try:
        for block in job.plan.active_blocks("fragments", blocks):
            found.append(tables.read(block, ["id"])["id"].astype(np.uint64))
    except DamageError:
        return None
    return np.concatenate(found)


def _recorded(expected: Expected) -> str:
    return f"its record says {expected.nonzero} with {expected.checksum}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _finding(kind: str, expected: Expected, files: Iterable[Path], reason: str) -> Finding:
    return Finding(kind, expected.task, expected.block, tuple(str(path) for path in files), reason)
