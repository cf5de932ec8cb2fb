"""Reading back what one block has stored, and saying what is wrong with it.

Stored data are compared with the record of the block (checksum and non-zero count of what was written). What else they
must agree with, their stage says (:meth:`fgnet_pipeline.stages.stage.Stage.check_tables`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, Vector, indices
from fgnet_pipeline.core.task import Block
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array, outcome_of_tables
from fgnet_pipeline.stages.registry import array_of, stage_of, tables_of
from fgnet_pipeline.stages.stage import Contradiction
from fgnet_pipeline.store.arrays import OutputArray
from fgnet_pipeline.store.tables import Columns, Tables

#: What can be wrong with a block.
MISSING, UNDECODABLE, CHECKSUM, IDS, DISAGREES = "missing", "undecodable", "checksum", "ids", "disagrees"
#: Pairs of a kind without its octree level, and the tables of that kind.
KindTables = list[tuple[str, Tables]]


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

    Attributes:
        certain: False if the files are as recorded, and contradict others that may be the damaged ones.
    """

    kind: str
    task: str
    block: Vector | None
    files: tuple[str, ...]
    reason: str
    certain: bool = True


def check_block(job: Job, expected: Expected) -> list[Finding]:
    """Everything that is wrong with what a finished block has stored."""
    block = job.plan.block(expected.task, expected.block, identity=(expected.key, ""))
    name = array_of(job, expected.task)
    if name is None:
        return _check_tables(job, expected, block)
    voxels = _check_voxels(job, expected, block, job.output_array(name))
    if isinstance(voxels, Finding):
        return [voxels, *_read_all(_tables(job, expected), expected)[1]]
    return _check_tables_beside(job, expected, block, voxels)


def _check_voxels(job: Job, expected: Expected, block: Block, array: OutputArray) -> npt.NDArray[Any] | Finding:
    """The voxels of a block's write region, or what is wrong with them."""
    whole = block.whole.intersect(job.bounds)
    # Zarr reads an empty file as it reads none: zeros, and no error.
    files = [path for path in array.shard_files(whole) if path.exists() and path.stat().st_size]
    if expected.nonzero and not files:
        return _finding(MISSING, expected, array.shard_files(whole), "its record says that it holds non-zero voxels")
    try:
        data = array.read(whole)
    except MemoryError:
        raise
    except Exception as error:  # whatever a codec says of bytes that are not its own
        return _finding(UNDECODABLE, expected, _undecodable(array, whole), _first_line(error))
    inside = np.ascontiguousarray(data[(..., *block.write.slices(whole.begin))])
    wrong = stage_of(job.plan.tasks[expected.task]).check_voxels(block, inside)
    if wrong is not None:
        return _finding(_kind_of(wrong), expected, files, wrong.reason)
    outcome = outcome_of_array(inside, [])
    if not _is_recorded(outcome, expected):
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


def _check_tables_beside(job: Job, expected: Expected, block: Block, voxels: npt.NDArray[Any]) -> list[Finding]:
    """Tables of a block whose array is as recorded: the record's checksum is of the array."""
    tables = _tables(job, expected)
    read, damaged = _read_all(tables, expected)
    if damaged or not tables:
        return damaged
    wrong = stage_of(job.plan.tasks[expected.task]).check_tables(job, block, read, voxels)
    return [] if wrong is None else [_finding(_kind_of(wrong), expected, _files(tables, expected, wrong), wrong.reason)]


def _check_tables(job: Job, expected: Expected, block: Block) -> list[Finding]:
    """Tables alone: what they must agree with, then their checksum."""
    tables = _tables(job, expected)
    read, damaged = _read_all(tables, expected)
    if damaged:
        return damaged
    stage = stage_of(job.plan.tasks[expected.task])
    outcome = outcome_of_tables([(table.path(expected.block), read[kind]) for kind, table in tables], 0)
    # A stage whose array is the lab's own has no checksum of its tables: they follow from that array.
    as_recorded = stage.array is not None or _is_recorded(outcome, expected)
    try:
        wrong = stage.check_tables(job, block, read, None)
    except DamageError as error:
        return [_finding(UNDECODABLE, expected, [], error.reason)]
    if wrong is not None:
        certain = stage.array is not None or not as_recorded
        files = tuple(str(path) for path in _files(tables, expected, wrong))
        return [Finding(_kind_of(wrong), expected.task, expected.block, files, wrong.reason, certain)]
    if as_recorded:
        return []
    reason = f"it holds {outcome.nonzero} rows with {outcome.checksum}, {_recorded(expected)}"
    return [_finding(CHECKSUM, expected, [table.path(expected.block) for _, table in tables], reason)]


def _tables(job: Job, expected: Expected) -> KindTables:
    kinds = [output.kind for output in stage_of(job.plan.tasks[expected.task]).tables]
    return list(zip(kinds, tables_of(job, expected.task), strict=True))


def _read_all(tables: KindTables, expected: Expected) -> tuple[dict[str, Columns], list[Finding]]:
    """(kind -> columns, what is wrong with files)."""
    read, damaged = {}, []
    for kind, table in tables:
        found = _read(table, expected)
        if isinstance(found, Finding):
            damaged.append(found)
        else:
            read[kind] = found
    return read, damaged


def _read(table: Tables, expected: Expected) -> Columns | Finding:
    """The columns of a block's table, or what is wrong with its file."""
    path = table.path(expected.block)
    if not path.exists():
        return _finding(MISSING, expected, [path], "its record says that it was written")
    try:
        columns = table.read(expected.block, None, expected.key)
    except DamageError as error:
        return _finding(UNDECODABLE, expected, [path], error.reason)
    if not table.is_as_written(expected.block, columns, expected.key):
        return _finding(UNDECODABLE, expected, [path], "its bytes are not those that were written")
    return columns


def _files(tables: KindTables, expected: Expected, wrong: Contradiction) -> list[Path]:
    return [table.path(expected.block) for kind, table in tables if wrong.table in (None, kind)]


def _kind_of(wrong: Contradiction) -> str:
    return IDS if wrong.ids else DISAGREES


def _is_recorded(outcome: Outcome, expected: Expected) -> bool:
    return (outcome.checksum, outcome.nonzero) == (expected.checksum, expected.nonzero)


def _recorded(expected: Expected) -> str:
    return f"its record says {expected.nonzero} with {expected.checksum}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _finding(kind: str, expected: Expected, files: Iterable[Path], reason: str) -> Finding:
    return Finding(kind, expected.task, expected.block, tuple(str(path) for path in files), reason)
