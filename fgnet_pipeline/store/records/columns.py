"""Done records as columns: JSON lines are parsed in large pieces, so that reading millions of records takes seconds."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from fgnet_pipeline.store.permissions import unreadable
from fgnet_pipeline.store.records.record import NEEDED, Record, documents

#: Bytes that are read and parsed at once.
PIECE = 1 << 24
#: Name of a field of `Record` -> its values, one per record. `block` is int64 (n, 3) zyx; `key` is uint64
#: (n,), 0 for a withdrawal; whole numbers are int64 (n,), other numbers float64 (n,), text object (n,).
Columns = dict[str, npt.NDArray[Any]]
_KEY_LENGTH = 16
#: The key of a record whose key cannot be read. No block has this key, so the block is computed again.
_UNREADABLE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_ARROW: dict[type, pa.DataType] = {int: pa.int64(), float: pa.float64(), str: pa.string()}
_TYPES = get_type_hints(Record)


def open_record_file(path: Path) -> BinaryIO:
    """Open a file of records for reading.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: this user may not read it.
    """
    try:
        return path.open("rb")
    except PermissionError as error:
        raise unreadable(path, error) from error


def whole_lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """Read a file in pieces that end with a line.

    An unfinished last line is left out: its writer was killed, or is still writing it.

    Args:
        path: of the file; a file that does not exist has no pieces.
        offset: the byte to begin with.

    Yields:
        A piece, and the offset of the byte after it.
    """
    rest = b""
    with contextlib.suppress(FileNotFoundError), open_record_file(path) as stream:
        stream.seek(offset)
        while data := stream.read(PIECE):
            lines, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                offset += len(lines) + 1
                yield lines + newline, offset


def parse(lines: bytes, names: Iterable[str]) -> Columns:
    """The records in whole lines of JSON, in their order. A line that is no record is skipped.

    Args:
        lines: JSON lines.
        names: fields of `Record` that hold a number or a text. The needed fields are always read.

    Returns:
        The columns of `names` and of the needed fields. A record that lacks a field has 0 or "" there.
    """
    schema = _schema((*NEEDED, *names))
    try:
        table = _read(lines, schema)
    except pa.ArrowInvalid:  # a torn line somewhere, or a value of another type
        table = _from_documents(documents(lines.splitlines()), schema)
    keep = pc.equal(pc.list_value_length(table["block"]), 3)
    for name in NEEDED:
        keep = pc.and_(keep, pc.is_valid(table[name]))
    table = table.filter(pc.fill_null(keep, False))
    return {name: _values(name, table[name]) for name in schema.names}


def joined(parts: Iterable[Columns], names: Iterable[str]) -> Columns:
    """Columns one after another, for example of several files; `names` as for `parse`."""
    found = [parse(b"", names), *parts]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


@functools.cache
def _schema(names: tuple[str, ...]) -> pa.Schema:
    return pa.schema([(name, _arrow_type(_TYPES[name])) for name in dict.fromkeys(names)])


def _arrow_type(kind: Any) -> pa.DataType:
    """The Arrow type of a field; a tuple or list becomes a list of the type of its first member."""
    return pa.list_(_arrow_type(get_args(kind)[0])) if get_origin(kind) in (list, tuple) else _ARROW[kind]


def _read(lines: bytes, schema: pa.Schema) -> pa.Table:
    if not lines:
        return schema.empty_table()
    return pyarrow.json.read_json(
        pa.BufferReader(lines),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=max(1 << 20, len(lines))),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def _from_documents(found: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    rows = []
    for document in found:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError):
            rows.append(pa.RecordBatch.from_pylist([document], schema))
    return pa.Table.from_batches(rows, schema)


def _values(name: str, column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if name == "block":
        return np.asarray(column.combine_chunks().flatten().to_numpy()).reshape(-1, 3)
    if name == "key":
        return _parse_keys(column)
    filled = pc.fill_null(column, _TYPES[name]()).to_numpy()
    return np.asarray(filled, dtype=object) if _TYPES[name] is str else np.asarray(filled)


def _parse_keys(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Hexadecimal text (n,) as integers (n,); 0 for an empty text."""
    readable = pc.match_substring_regex(column, f"^[0-9a-f]{{{_KEY_LENGTH}}}$").to_numpy()
    result = np.where(pc.equal(column, "").to_numpy(), np.uint64(0), _UNREADABLE)
    text = column.filter(pa.array(readable)).to_numpy().astype(f"S{_KEY_LENGTH}")
    result[readable] = np.frombuffer(bytes.fromhex(text.tobytes().decode()), ">u8").astype(np.uint64)
    return result
