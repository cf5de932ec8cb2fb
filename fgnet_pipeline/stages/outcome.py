"""What a stage says of a block that it has finished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Outcome:
    """Checksum and non-zero count of what was written, and the files that hold it."""

    checksum: str
    nonzero: int
    voxels: int
    files: list[Path]


def outcome_of_array(data: npt.NDArray[Any], files: list[Path]) -> Outcome:
    """The outcome of a block of voxels.

    Args:
        data: (..., z, y, x) of any dtype; the checksum is the crc32c of its bytes in C order.
        files: that hold it, to be flushed before the block counts as done.
    """
    checksum = crc32c.crc32c(np.ascontiguousarray(data).data.cast("B"))  # type: ignore[arg-type]
    voxels = int(np.prod(data.shape[-3:]))
    return Outcome(f"crc32c:{checksum:08x}", int(np.count_nonzero(data)), voxels, files)


def outcome_of_tables(tables: Iterable[tuple[Path, dict[str, npt.NDArray[Any]]]], voxels: int) -> Outcome:
    """The outcome of tables.

    Args:
        tables: (file, columns); the checksum is the crc32c over the columns in the order of their names, table after
            table. The number of rows stands for the non-zero count.
        voxels: that the block writes, for rates.
    """
    checksum, rows, files = 0, 0, []
    for path, columns in tables:
        for name in sorted(columns):
            values = np.ascontiguousarray(columns[name])
            if values.size:
                checksum = crc32c.crc32c(values.data.cast("B"), checksum)  # type: ignore[arg-type]
        rows += len(next(iter(columns.values()))) if columns else 0
        files.append(path)
    return Outcome(f"crc32c:{checksum:08x}", rows, voxels, files)
