"""What a done record is: one JSON line that says that a block is finished, and what was written.

The fields of `Record` are listed here alone. The writer and the reader (`columns`) take names and types
from it. A field that is added later is read as the default of its type (0, 0.0 or "") from records that lack it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fgnet_pipeline.core.geometry import Vector

#: The fields without which a line is no record.
NEEDED = ("block", "key", "run", "finished")


@dataclass(frozen=True, slots=True)
class Record:
    """One finished block.

    Attributes:
        stage: name of the task, e.g. `"edges"` or `"agglomerate-0"`.
        block: index of the block in the task's grid, zyx.
        read: `[begin, end]` of the clipped read region, in voxels, zyx.
        key: identity of region, inputs and configuration, as 16 hexadecimal digits.
        inputs: identity of the inputs alone, as 16 hexadecimal digits.
        checksum: of what was written, e.g. `"crc32c:00000000"`.
        nonzero: number of voxels that are not 0, or number of rows of a table.
        voxels: number of voxels that the block covers.
        seconds: time that the block took, without waiting for other blocks.
        finished: when the block was finished, in seconds since 1970.
        host: name of the machine.
        peak_memory: largest resident memory of the worker so far, in bytes.
        run: number of the run that the worker belongs to.
    """

    stage: str
    block: Vector
    read: list[list[int]]
    key: str
    inputs: str
    checksum: str
    nonzero: int
    voxels: int
    seconds: float
    finished: float
    host: str
    peak_memory: int
    run: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A block that could not be computed.

    Attributes:
        stage: name of the task.
        block: index of the block in the task's grid, zyx.
        error: the end of the traceback.
        log: path of the log that holds the rest.
        time: when the block failed, in seconds since 1970.
    """

    stage: str
    block: Vector
    error: str
    log: str
    time: float


def to_line(entry: Record | Failure) -> str:
    """The JSON line of a record or a failure, without a newline."""
    return json.dumps(asdict(entry))


def withdrawal(stage: str, block: Vector, run: int, time: float) -> str:
    """The JSON line, without a newline, that withdraws the records of a block: a record with an empty key.

    Args:
        stage: name of the task.
        block: index of the block, zyx.
        run: number of the run. Records of this run and of earlier ones are withdrawn if they are older than `time`.
        time: seconds since 1970.
    """
    return json.dumps({"stage": stage, "block": block, "key": "", "run": run, "finished": time})


def documents(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects with a `block` among `lines`. A line that cannot be read is skipped."""
    for line in lines:
        with contextlib.suppress(ValueError):
            document = json.loads(line)
            if isinstance(document, dict) and "block" in document:
                yield document


def is_complete(document: Any) -> bool:
    """Whether a JSON value has the needed fields of a record or of a withdrawal.

    A line that a disk has damaged can still be valid JSON, for example with another name for a field.
    """
    if not isinstance(document, dict) or not isinstance(document.get("block"), list) or len(document["block"]) != 3:
        return False
    numbers = [*document["block"], document.get("run"), document.get("finished")]
    return isinstance(document.get("key"), str) and all(isinstance(n, int | float) for n in numbers)


def is_record(line: bytes) -> bool:
    """Whether `line` is a whole record or a whole withdrawal."""
    try:
        return is_complete(json.loads(line))
    except ValueError:
        return False
