"""Parquet tables, one file per block or octree node, written whole or not at all.

Every file states its kind, its format version and the key of the block that made it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.store.atomic_files import whole_or_nothing, write_atomic

FORMAT_VERSION = 1
#: Rows of a row group. A reader of a range of ids decodes only the row groups that overlap the range.
ROWS_PER_GROUP = 1 << 16
#: Name -> values (n,) or (n, k).
Columns = dict[str, npt.NDArray[np.generic]]


class Tables:
    """The tables of one kind.

    Args:
        root: the folder of all tables.
        kind: e.g. `"edges"`.
        stage: that wrote them, to be named if one is damaged.
    """

    def __init__(self, root: Path, kind: str, stage: str) -> None:
        self.root, self.kind, self.stage = root / kind, kind, stage

    def path(self, index: Vector) -> Path:
        """The file of the table of a block or node, given its index, zyx."""
        z, y, x = index
        return self.root / str(z) / str(y) / f"{x}.parquet"

    def write(self, index: Vector, columns: Mapping[str, npt.NDArray[np.generic]], key: str = "") -> Path:
        """Write a table, whole or not at all.

        Args:
            index: of the block or node, zyx.
            columns: name -> values (n,) or (n, k), n the same for all.
            key: of the block that made them.

        Returns:
            The file.
        """
        path = self.path(index)
        write_atomic(path, self.encoded(columns, key))
        return path

    def write_parts(self, index: Vector, parts: Iterable[Columns], dtypes: Mapping[str, str], key: str = "") -> Path:
        """Write a table part by part, whole or not at all.

        Args:
            index: of the block or node, zyx.
            parts: name -> values (n,) or (n, k), of consecutive rows.
            dtypes: dtype per column, in the form of `stages.stage.TableOutput.columns`.
            key: of the block that made them.

        Returns:
            The file.
        """
        path = self.path(index)
        write_stream(path, parts, dtypes, self._metadata(key))
        return path

    def _metadata(self, key: str) -> dict[str, str]:
        return {"kind": self.kind, "format": str(FORMAT_VERSION), "key": key}

    def encoded(self, columns: Mapping[str, npt.NDArray[np.generic]], key: str = "") -> bytes:
        """The bytes of the file that `write` makes: the same bytes for the same columns and version of Arrow."""
        arrays = {name: _to_arrow(values) for name, values in columns.items()}
        table = pa.table(arrays).replace_schema_metadata(self._metadata(key))
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=ROWS_PER_GROUP, write_page_checksum=True)
        return buffer.getvalue()

    def is_as_written(self, index: Vector, columns: Columns, key: str) -> bool:
        """Whether a file has exactly the bytes that `write` makes of its columns.

        This finds damage that the checksums of Parquet do not cover: headers and statistics. If another version of
        Arrow wrote the file, its bytes may differ, and the answer is True without a comparison.

        Args:
            index: of the block or node, zyx.
            columns: as read from the file.
            key: of the block that made them.

        Raises:
            OSError: the file cannot be read.
        """
        path, wanted = self.path(index), self.encoded(columns, key)
        if pq.read_metadata(path).created_by != pq.read_metadata(io.BytesIO(wanted)).created_by:
            return True
        return path.read_bytes() == wanted

    def read(self, index: Vector, columns: list[str] | None = None, key: str | None = None) -> Columns:
        """Read all rows of a table.

        Args:
            index: of the block or node, zyx.
            columns: names of those to read; None reads all.
            key: of the block that must have made it; None accepts any.

        Raises:
            DamageError: no such file, a torn one, one of another kind, format or key.
        """
        return self._read(self.path(index), columns, None, key)

    def read_range(self, index: Vector, column: str, low: int, high: int, key: str | None = None) -> Columns:
        """Read the row groups that may hold values of `column` in `[low, high]`.

        Rows outside the range are read, too, if they are in these groups.

        Args:
            index: of the block or node, zyx.
            column: by which the table is sorted.
            low: smallest value wanted.
            high: largest value wanted.
            key: of the block that must have made it; None accepts any.

        Raises:
            DamageError: as `read`.
        """
        return self._read(self.path(index), None, (column, low, high), key)

    def read_parts(self, index: Vector, columns: list[str], key: str | None = None) -> Iterator[Columns]:
        """Yield the rows of a table row group by row group, so that memory holds one; nothing if it has no rows.

        Args:
            index: of the block or node, zyx.
            columns: names of those to read.
            key: of the block that must have made it; None accepts any.

        Raises:
            DamageError: as `read`.
        """
        path = self.path(index)
        with self._opened(path, columns, key) as file:
            for group in range(file.metadata.num_row_groups):
                table = file.read_row_group(group, columns=columns)
                yield {name: _from_arrow(table.column(name)) for name in columns}

    def read_key(self, index: Vector) -> str:
        """The key that `write` was given.

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

    def rows(self, index: Vector) -> int:
        """How many rows the table of a block or node has, by the end of its file.

        Raises:
            DamageError: no such file, or a torn one.
        """
        path = self.path(index)
        try:
            return int(pq.read_metadata(path).num_rows)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damage(path, str(error)) from error

    def exists(self, index: Vector) -> bool:
        """Whether there is a file for a block or node, given its index, zyx."""
        return self.path(index).exists()

    def _read(
        self, path: Path, columns: list[str] | None, bounds: tuple[str, int, int] | None, key: str | None
    ) -> Columns:
        with self._opened(path, columns, key) as file:
            table = file.read_row_groups(_groups(file, bounds), columns=columns)
        return {name: _from_arrow(table.column(name)) for name in table.column_names}

    @contextmanager
    def _opened(self, path: Path, columns: list[str] | None, key: str | None) -> Iterator[pq.ParquetFile]:
        """The file of a table, checked. Errors while it is read say that the table is damaged."""
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                self._check(path, file.schema_arrow, key)
                if missing := set(columns or []) - set(file.schema_arrow.names):
                    raise self._damage(path, f"it has no column {min(missing)!r}")
                yield file
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise self._damage(path, str(error).strip().splitlines()[0] if str(error) else repr(error)) from error

    def damage(self, index: Vector, reason: str) -> DamageError:
        """An error that names the table of a block or node, the `reason` and the stage to redo."""
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


def write_stream(
    path: Path, batches: Iterable[Columns], dtypes: Mapping[str, str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write one Parquet file batch by batch, whole or not at all. Each batch becomes a row group.

    Args:
        path: of the file.
        batches: name -> values (n,) or (n, k).
        dtypes: dtype per column, in the form of `stages.stage.TableOutput.columns`.
        metadata: of the file.

    Raises:
        OSError: the file cannot be written; nothing of it is left.
    """
    schema = pa.schema([(name, _arrow_type(dtype)) for name, dtype in dtypes.items()], metadata=dict(metadata or {}))
    options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
    with whole_or_nothing(path) as partial, pq.ParquetWriter(partial, schema, **options) as writer:
        for batch in batches:
            arrays = [_to_arrow(batch[name]).cast(schema.field(name).type) for name in dtypes]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROWS_PER_GROUP)


def _arrow_type(dtype: str) -> pa.DataType:
    name, _, width = dtype.rstrip("]").partition("[")
    one = pa.from_numpy_dtype(np.dtype(name))
    return pa.list_(one, int(width)) if width else one


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
