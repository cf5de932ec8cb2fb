"""What verify found, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.store.records.results import Result
from fgnet_pipeline.verification.block_checks import CHECKSUM, DISAGREES, IDS, MISSING, Finding

#: What can be wrong beside the data of a block.
METADATA, UNRECORDED, RECORD = "metadata", "unrecorded", "record"
#: What a reader would have taken for data: later blocks may have been made of it.
SILENT = (MISSING, CHECKSUM, IDS, DISAGREES)
Results = dict[Vector, Result]


@dataclass(frozen=True, slots=True)
class Stray:
    """A file, or a part of one, that nothing refers to; ``ours``: whether repairing removes it."""

    kind: str
    file: str
    reason: str
    ours: bool = True


@dataclass
class Checked:
    """Blocks of a task: with work, read back, not done, and done with another configuration (both are no damage)."""

    blocks: int = 0
    read: int = 0
    left: int = 0
    stale: int = 0


@dataclass
class Report:
    """What was found; ``requeued``: for each task the blocks that repairing has made again."""

    damage: list[Finding] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    checked: dict[str, Checked] = field(default_factory=dict)
    requeued: dict[str, list[Vector]] = field(default_factory=dict)
    running: bool = False
    repaired: bool = False

    @property
    def ok(self) -> bool:
        return not self.damage


class Watcher(Protocol):
    """Told how many blocks of a task have been read back."""

    def __call__(self, task: str, read: int, total: int) -> None: ...
