"""Ways to damage an output, and what a repair must leave as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pipeline_tools import assert_same_output, state_of

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.tables import Tables
from fgnet_pipeline.verification.verify import Report, verify

Block = tuple[int, int, int]
Table = dict[str, Any]
Change = Callable[[Table], Table | None]
#: The block that tests damage.
ONE = (0, 1, 1)


def shard(out: Path, array: str, block: Block = ONE) -> Path:
    """File of the shard of a block, if shards have the shape of blocks."""
    lead = ("0",) if array == "affinities" else ()
    return out.joinpath(array, "c", *lead, *map(str, block))


def table(out: Path, kind: str, block: Block = ONE) -> Path:
    """File of the table of a block."""
    z, y, x = block
    return state_of(out) / "tables" / kind / str(z) / str(y) / f"{x}.parquet"


def flip(path: Path, at: int) -> None:
    """Invert the bits of one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    """Cut off the second half of a file."""
    os.truncate(path, path.stat().st_size // 2)


def set_voxel(out: Path, array: str, value: int) -> None:
    """Change one voxel of block ONE through Zarr, so that every checksum of the storage fits."""
    opened = zarr.open_array(out / array, mode="r+")
    opened[..., 5, 30, 30] = value


def rewrite(out: Path, kind: str, block: Block, change: Change) -> Path:
    """Write other rows into a table, under the table's own key.

    Args:
        out: the output.
        kind: of the tables.
        block: index of the block.
        change: edits the columns in place, or returns others.

    Returns:
        The file of the table.
    """
    tables = Tables(state_of(out) / "tables", kind, "")
    key, columns = tables.read_key(block), {name: np.array(v) for name, v in tables.read(block).items()}
    return tables.write(block, change(columns) or columns, key)


def drop_last(columns: Table) -> Table:
    """The table without its last row."""
    return {name: values[:-1] for name, values in columns.items()}


def repeat_first(columns: Table) -> Table:
    """The table with its first row twice."""
    return {name: np.concatenate([values[:1], values]) for name, values in columns.items()}


def add_to(column: str, amount: int) -> Callable[[Table], None]:
    """A change of the last value of a column."""

    def change(columns: Table) -> None:
        columns[column][-1] += columns[column].dtype.type(amount)

    return change


def change_record(out: Path, stage: str, **fields: Any) -> None:
    """Change the record of block ONE, or drop it if no fields are given."""
    path = next((state_of(out) / "progress" / stage).glob("done-*.jsonl"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in [line for line in lines if tuple(line["block"]) == ONE]:
        line.update(fields)
        lines = lines if fields else [other for other in lines if other is not line]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def state(out: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and bytes of every file."""
    return {str(p.relative_to(out)): (p.stat().st_mtime_ns, p.read_bytes()) for p in out.rglob("*") if p.is_file()}


def is_bookkeeping(path: str) -> bool:
    """Whether a file says who works on the output and what is withdrawn, and not what was made."""
    return path.endswith(("progress/lock", "progress/driver.json")) or "done-withdrawn-" in path


def assert_untouched(before: dict[str, tuple[int, bytes]], out: Path, report: Report) -> None:
    """Repairing changes the files that it names, and nothing else."""
    named = {str(Path(file).relative_to(out)) for finding in report.damage for file in finding.files}
    named |= {str(Path(stray.file).relative_to(out)) for stray in report.strays}
    after = state(out)
    different = {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)}
    assert {p for p in different if not is_bookkeeping(p)} <= named


def assert_mended(finished_run: Path, config: Path, out: Path) -> None:
    """A run after the repair ends in the bytes of the undamaged output, and nothing is wrong with it."""
    run(load_config(config))
    assert_same_output(finished_run / "out.zarr", out)
    after = verify(load_config(config))
    assert after.ok and not after.strays and not after.requeued
    assert all(c.left == c.stale == 0 and c.read == c.blocks for c in after.checked.values())
