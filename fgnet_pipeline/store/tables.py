"""Parquet tables, one file a block or octree node, written whole or not at all.

Every file states its kind and format version. A file that cannot be decoded is a :class:`DamageError` that names the
stage to redo.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.store.atomic_files import write_atomic

FORMAT_VERSION = 1
#: Rows a group: a reader of an id range decodes the groups that overlap it, no more.
ROWS_PER_GROUP = 1 << 16
Columns = dict[str, npt.NDArray[np.generic]]


class Tables:
    """The tables of one kind, e.g. ``edges``; ``stage`` is what to redo when one is damaged."""

    def __init__(self, root: Path, kind: str, stage: str) -> None:
        self.root, self.kind, self.stage = root / kind, kind, stage

    def path(self, index: Vector) -> Path:
        z, y, x = index
        return self.root / str(z) / str(y) / f"{x}.parquet"

    def write(self, index: Vector, columns: Mapping[str, npt.NDArray[np.generic]], key: str = "") -> Path:
        """Write equally long columns (n,) or (n, k) and the key of the block that made them; returns the file."""
        path = self.path(index)
        write_atomic(path, self.encoded(columns, key))
        return path

    def encoded(self, columns: Mapping[str, npt.NDArray[np.generic]], key: str = "") -> bytes:
        """The bytes of the file that :meth:`write` makes; the same for the same columns and version of Arrow."""
        arrays = {name: _to_arrow(values) for name, values in columns.items()}
        metadata = {"kind": self.kind, "format": str(FORMAT_VERSION), "key": key}
        table = pa.table(arrays).replace_schema_metadata(metadata)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=ROWS_PER_GROUP, write_page_checksum=True)
        return buffer.getvalue()

    def is_as_written(self, index: Vector, columns: Columns, key: str) -> bool:
        """Whether the file of ``columns``, as read from it, is what :meth:`write` makes of them, to the last byte.

        True without a look where another version of Arrow wrote it. Page checksums leave out headers and statistics.
        """
        path, wanted = self.path(index), self.encoded(columns, key)
        if pq.read_metadata(path).created_by != pq.read_metadata(io.BytesIO(wanted)).created_by:
            return True
        return path.read_bytes() == wanted

    def read(self, index: Vector, columns: list[str] | None = None, key: str | None = None) -> Columns:
        """All rows of a table; ``key``: what :meth:`write` must have been given.

        Raises:
            DamageError: no such file, a torn one, one of another kind, format or key.
        """
        return self._read(self.path(index), columns, None, key)

    def read_range(self, index: Vector, column: str, low: int, high: int, key: str | None = None) -> Columns:
        """The row groups in which ``column``, by which the table is sorted, may lie in ``[low, high]``."""
        return self._read(self.path(index), None, (column, low, high), key)

    def read_key(self, index: Vector) -> str:
        """The key that :meth:`write` was given.

        Raises:
            DamageError: no such file, or a torn one.
        """
        path = self.path(index)
        try:
            schema = pq.read_schema(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damage(path, str(error)) from error
        self._check(path, schema)
        return str((schema.metadata or {}).get(b"key", b"").decode())

    def exists(self, index: Vector) -> bool:
        return self.path(index).exists()

    def _read(
        self, path: Path, columns: list[str] | None, bounds: tuple[str, int, int] | None, key: str | None
    ) -> Columns:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                self._check(path, file.schema_arrow, key)
                if missing := set(columns or []) - set(file.schema_arrow.names):
                    raise self._damage(path, f"it has no column {min(missing)!r}")
                groups = _groups(file, bounds)
                table = file.read_row_groups(groups, columns=columns)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise self._damage(path, str(error).strip().splitlines()[0] if str(error) else repr(error)) from error
        return {name: _from_arrow(table.column(name)) for name in table.column_names}

    def damage(self, index: Vector, reason: str) -> DamageError:
        """An error that names the table, what is wrong with it, and the stage to redo."""
        return self._damage(self.path(index), reason)

    def _check(self, path: Path, schema: pa.Schema, key: str | None = None) -> None:
        metadata = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
        if metadata.get("kind") != self.kind:
            raise self._damage(path, f"it holds {metadata.get('kind')!r} instead of {self.kind!r}")
        if metadata.get("format") != str(FORMAT_VERSION):
            raise self._damage(path, f"it has format {metadata.get('format')}, this program writes {FORMAT_VERSION}")
        if key is not None and metadata.get("key") != key:
            raise self._damage(path, "it was made of other fragments, for another region or with other settings")

    def _damage(self, path: Path, reason: str) -> DamageError:
        return DamageError(f"table {path} cannot be used ({reason}): run again with --redo {self.stage}", reason)


def _groups(file: pq.ParquetFile, bounds: tuple[str, int, int] | None) -> list[int]:
    everything = range(file.metadata.num_row_groups)
    if bounds is None:
        return list(everything)
    key, low, high = bounds
    column = file.schema_arrow.get_field_index(key)
    chosen = []
    for group in everything:
        statistics = file.metadata.row_group(group).column(column).statistics
        if statistics is None or not statistics.has_min_max or (statistics.min <= high and statistics.max >= low):
            chosen.append(group)
    return chosen


def _to_arrow(values: npt.NDArray[np.generic]) -> pa.Array:
    values = np.ascontiguousarray(values)
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _from_arrow(column: pa.ChunkedArray) -> npt.NDArray[np.generic]:
    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
        return np.asarray(column.combine_chunks().flatten()).reshape(-1, width)
    return column.to_numpy()
