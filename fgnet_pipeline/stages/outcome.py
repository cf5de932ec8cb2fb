"""The outcome of a block: what a stage reports of a block that it has finished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.task import Block
from fgnet_pipeline.store.tables import Columns, Tables


@dataclass(frozen=True)
class Outcome:
    """Checksum and counts of the stored result of a block, and the files that hold it.

    Attributes:
        checksum: `"crc32c:"` and 8 hexadecimal digits.
        nonzero: non-zero values of an array, or rows of tables.
        voxels: voxels that the block writes.
        files: the files to flush to disk before the block counts as done.
    """

    checksum: str
    nonzero: int
    voxels: int
    files: list[Path]


def outcome_of_array(data: npt.NDArray[Any], files: list[Path]) -> Outcome:
    """The outcome of a block of voxels.

    Args:
        data: (..., z, y, x) of any dtype. The checksum is the crc32c of its bytes in C order.
        files: files that hold the data.
    """
    # The view of an array without elements, such as the ids of a block of background, cannot be cast.
    checksum = crc32c.crc32c(np.ascontiguousarray(data).data.cast("B")) if data.size else 0  # type: ignore[arg-type]
    voxels = int(np.prod(data.shape[-3:]))
    return Outcome(f"crc32c:{checksum:08x}", int(np.count_nonzero(data)), voxels, files)


def outcome_of_tables(tables: Iterable[tuple[Path, dict[str, npt.NDArray[Any]]]], voxels: int) -> Outcome:
    """The outcome of a block of tables.

    Args:
        tables: (file, columns) per table. The checksum is the crc32c of all columns: table after table, and within a
            table in the order of the column names. The number of rows stands for the non-zero count.
        voxels: voxels that the block writes, from which rates are computed.
    """
    checksum, rows, files = 0, 0, []
    for path, columns in tables:
        checksum = _checksum(columns, checksum)
        rows += len(next(iter(columns.values()))) if columns else 0
        files.append(path)
    return Outcome(f"crc32c:{checksum:08x}", rows, voxels, files)


def _checksum(columns: Columns, before: int) -> int:
    """The crc32c of all columns in the order of their names, after bytes of which `before` is the crc32c."""
    checksum = before
    for name in sorted(columns):
        values = np.ascontiguousarray(columns[name])
        if values.size:
            checksum = crc32c.crc32c(values.data.cast("B"), checksum)  # type: ignore[arg-type]
    return checksum


def write_table(tables: Tables, block: Block, columns: Columns) -> Outcome:
    """Write the one table of a block with the block's key; the outcome of the block."""
    path = tables.write(block.index, columns, block.key)
    return outcome_of_tables([(path, columns)], block.write.size)


def write_table_parts(tables: Tables, block: Block, parts: Iterable[Columns], dtypes: Mapping[str, str]) -> Outcome:
    """Write the one table of a block part by part, so that memory holds one part; the outcome of the block.

    Args:
        tables: that hold it.
        block: the block.
        parts: columns of consecutive rows. The checksum is that of one part after the other.
        dtypes: dtype per column, in the form of `stages.stage.TableOutput.columns`.
    """
    checksum, rows = 0, 0

    def counted() -> Iterator[Columns]:
        nonlocal checksum, rows
        for columns in parts:
            checksum, rows = _checksum(columns, checksum), rows + len(next(iter(columns.values())))
            yield columns

    path = tables.write_parts(block.index, counted(), dtypes, block.key)
    return Outcome(f"crc32c:{checksum:08x}", rows, block.write.size, [path])
