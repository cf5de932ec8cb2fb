"""Done records as columns: files of JSON lines are parsed in large pieces, so that millions of them take seconds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

#: Bytes that are read and parsed at once.
PIECE = 1 << 24
SCHEMA = pa.schema(
    [
        ("block", pa.list_(pa.int64())),
        ("key", pa.string()),
        ("run", pa.int64()),
        ("finished", pa.float64()),
        ("seconds", pa.float64()),
        ("voxels", pa.int64()),
        ("nonzero", pa.int64()),
        ("peak_memory", pa.int64()),
        ("host", pa.string()),
    ]
)
_KEY_LENGTH = 16
#: What stands for a key that cannot be read: no block has it, so the block is done again.
_UNREADABLE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@dataclass(frozen=True)
class Columns:
    """Records, one an entry: ``block`` (n, 3) zyx, ``key`` (n,) where 0 withdraws the block, ``finished`` and
    ``seconds`` in seconds, ``peak_memory`` in bytes, ``host`` (n,) text."""

    block: npt.NDArray[np.int64]
    key: npt.NDArray[np.uint64]
    run: npt.NDArray[np.int64]
    finished: npt.NDArray[np.float64]
    seconds: npt.NDArray[np.float64]
    voxels: npt.NDArray[np.int64]
    nonzero: npt.NDArray[np.int64]
    peak_memory: npt.NDArray[np.int64]
    host: npt.NDArray[np.object_]


def whole_lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """Pieces of a file from ``offset`` on, each ending with a line, and where the next begins.

    An unfinished last line is left out: its writer was killed, or is writing it now.
    """
    rest = b""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
        stream.seek(offset)
        while data := stream.read(PIECE):
            lines, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                offset += len(lines) + 1
                yield lines + newline, offset


def parse(lines: bytes) -> Columns:
    """The records in whole lines of JSON; a line that is no record is passed over."""
    try:
        table = _read(lines)
    except pa.ArrowInvalid:  # a torn line somewhere, or a value of another type
        table = _from_documents(documents(lines.splitlines()))
    block = table["block"].combine_chunks()
    keep = pc.fill_null(pc.and_(pc.equal(pc.list_value_length(block), 3), pc.is_valid(table["key"])), False)
    return _columns(table.filter(keep))


def documents(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects with a block among ``lines``; what cannot be read is passed over."""
    for line in lines:
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if isinstance(document, dict) and "block" in document:
                yield document


def _read(lines: bytes) -> pa.Table:
    return pyarrow.json.read_json(
        pa.BufferReader(lines),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=max(1 << 20, len(lines))),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="ignore"),
    )


def _from_documents(found: Iterable[dict[str, Any]]) -> pa.Table:
    rows = []
    for document in found:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError):
            rows.append(pa.RecordBatch.from_pylist([document], SCHEMA))
    return pa.Table.from_batches(rows, SCHEMA)


def _columns(table: pa.Table) -> Columns:
    def numbers(name: str) -> npt.NDArray[Any]:
        return np.asarray(pc.fill_null(table[name], 0).to_numpy())

    block = table["block"].combine_chunks()
    return Columns(
        block=np.asarray(block.flatten().to_numpy()).reshape(-1, 3),
        key=_parse_keys(table["key"]),
        host=np.asarray(pc.fill_null(table["host"], "").to_numpy(), dtype=object),
        **{name: numbers(name) for name in ("run", "finished", "seconds", "voxels", "nonzero", "peak_memory")},
    )


def _parse_keys(column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Hexadecimal text (n,) to integers; 0 for an empty one."""
    readable = pc.match_substring_regex(column, f"^[0-9a-f]{{{_KEY_LENGTH}}}$").to_numpy()
    result = np.where(pc.equal(column, "").to_numpy(), np.uint64(0), _UNREADABLE)
    text = column.filter(pa.array(readable)).to_numpy().astype(f"S{_KEY_LENGTH}")
    result[readable] = np.frombuffer(bytes.fromhex(text.tobytes().decode()), ">u8").astype(np.uint64)
    return result
