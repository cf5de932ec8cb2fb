"""Read back what one block has stored, and report what is wrong.

- The stored data are compared with the record of the block: its checksum and its number of non-zero voxels or rows.
- The stage checks the content by `Stage.check_voxels` and `Stage.check_tables`, e.g. ids against their range.
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

#: Kinds of damage of a block; docs/guides/verify-and-repair.md explains them.
MISSING, UNDECODABLE, CHECKSUM, IDS, DISAGREES = "missing", "undecodable", "checksum", "ids", "disagrees"
#: Pairs of a kind of table, without its octree level, and the tables of that kind.
KindTables = list[tuple[str, Tables]]


@dataclass(frozen=True, slots=True)
class Expected:
    """Checksum and files that a block wrote, according to its record.

    Attributes:
        task: name of the task.
        block: index, zyx.
        key: identity of the block: 16 hexadecimal digits.
        checksum: of the array, or of the tables if the task writes no array.
        nonzero: number of voxels that are not 0, or number of rows.
    """

    task: str
    block: Vector
    key: str
    checksum: str
    nonzero: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of damage.

    Attributes:
        kind: e.g. `missing`; docs/guides/verify-and-repair.md lists all kinds.
        task: name of the task.
        block: index, zyx. None if no single block is damaged, e.g. for metadata.
        files: paths of the files that hold the damage.
        reason: a clause that says what was found.
        certain: False if the files are as recorded but contradict other files. The other files may be the damaged ones.
    """

    kind: str
    task: str
    block: Vector | None
    files: tuple[str, ...]
    reason: str
    certain: bool = True


def check_block(job: Job, expected: Expected) -> list[Finding]:
    """Check the array and the tables that a finished block has stored.

    Args:
        job: with its plan.
        expected: the record of the block.

    Returns:
        The damage; empty if there is none.
    """
    block = job.plan.block(expected.task, expected.block, identity=(expected.key, ""))
    name = array_of(job, expected.task)
    if name is None:
        return _check_tables(job, expected, block)
    voxels = _check_voxels(job, expected, block, job.output_array(name))
    if isinstance(voxels, Finding):
        return [voxels, *_read_all(_tables(job, expected), expected)[1]]
    return _check_tables_beside(job, expected, block, voxels)


def _check_voxels(job: Job, expected: Expected, block: Block, array: OutputArray) -> npt.NDArray[Any] | Finding:
    """Read the voxels of a block, and check them.

    Returns:
        The voxels ([C,] z, y, x) of the write region; a finding if they are damaged.
    """
    whole = block.whole.intersect(job.bounds)
    # Zarr treats an empty file like a missing one: it returns zeros and raises no error.
    files = [path for path in array.shard_files(whole) if path.exists() and path.stat().st_size]
    if expected.nonzero and not files:
        return _finding(MISSING, expected, array.shard_files(whole), "its record says that it holds non-zero voxels")
    try:
        data = array.read(whole)
    except MemoryError:
        raise
    except Exception as error:  # a codec may raise any error on damaged bytes
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
        return _finding(CHECKSUM, expected, files, "it holds non-zero voxels outside the region that was written")
    return inside


def _undecodable(array: OutputArray, box: Box) -> list[Path]:
    """The shards of `box` (voxels, zyx) that cannot be read."""
    found = []
    for index in indices(array.shards.covering(box)):
        shard = array.shards.box(index).intersect(array.bounds)
        try:
            array.read(shard)
        except Exception:  # as above
            found += array.shard_files(shard)
    return found


def _check_tables_beside(job: Job, expected: Expected, block: Block, voxels: npt.NDArray[Any]) -> list[Finding]:
    """Check the tables of a block whose array is undamaged.

    The checksum in the record is that of the array, so only the stage can check the content of the tables.
    """
    tables = _tables(job, expected)
    read, damaged = _read_all(tables, expected)
    if damaged or not tables:
        return damaged
    wrong = stage_of(job.plan.tasks[expected.task]).check_tables(job, block, read, voxels)
    return [] if wrong is None else [_finding(_kind_of(wrong), expected, _files(tables, expected, wrong), wrong.reason)]


def _check_tables(job: Job, expected: Expected, block: Block) -> list[Finding]:
    """Check the tables of a block that writes no array: first their content, then their checksum."""
    tables = _tables(job, expected)
    read, damaged = _read_all(tables, expected)
    if damaged:
        return damaged
    stage = stage_of(job.plan.tasks[expected.task])
    outcome = outcome_of_tables([(table.path(expected.block), read[kind]) for kind, table in tables], 0)
    # If the array of the stage is the lab's own, the record holds no checksum of the tables.
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
    """Read all tables of a block.

    Returns:
        Kind -> columns of the tables that can be read; findings for the others.
    """
    read, damaged = {}, []
    for kind, table in tables:
        found = _read(table, expected)
        if isinstance(found, Finding):
            damaged.append(found)
        else:
            read[kind] = found
    return read, damaged


def _read(table: Tables, expected: Expected) -> Columns | Finding:
    """The columns of a table of a block; a finding if its file is damaged."""
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
