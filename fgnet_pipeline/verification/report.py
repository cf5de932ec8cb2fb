"""The report of `fgnet verify`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.store.records.results import Result
from fgnet_pipeline.verification.block_checks import CHECKSUM, DISAGREES, IDS, MISSING, Finding

#: Kinds of damage outside the data of a recorded block.
METADATA, UNRECORDED, RECORD = "metadata", "unrecorded", "record"
#: Kinds of damage that may raise no error when a later block reads the data. Later blocks may be wrong, too.
SILENT = (MISSING, CHECKSUM, IDS, DISAGREES)
#: Block (index, zyx) -> its latest record.
Results = dict[Vector, Result]


@dataclass(frozen=True, slots=True)
class Stray:
    """A file, or a part of a file, that belongs to no result. It is no damage.

    Attributes:
        kind: `unfinished`, `torn record` or `unknown`.
        file: path.
        reason: a clause that says what was found.
        ours: whether this program wrote it. Repairing removes only such files.
    """

    kind: str
    file: str
    reason: str
    ours: bool = True


@dataclass
class Checked:
    """Numbers of blocks of one task.

    Attributes:
        blocks: blocks that have work.
        read: finished blocks, which were read back.
        left: blocks that are not done. They are no damage.
        stale: blocks that were made with another configuration or from other inputs. They are no damage.
    """

    blocks: int = 0
    read: int = 0
    left: int = 0
    stale: int = 0


@dataclass
class Report:
    """The findings of `fgnet verify`.

    Attributes:
        damage: everything that is wrong.
        strays: files that belong to no result.
        checked: task -> numbers of its blocks.
        requeued: task -> blocks (zyx) that must be computed again. Repairing withdraws their records.
        running: whether a run was writing to the output. Then files without records were not searched for.
        repaired: whether the damage was repaired.
    """

    damage: list[Finding] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    checked: dict[str, Checked] = field(default_factory=dict)
    requeued: dict[str, list[Vector]] = field(default_factory=dict)
    running: bool = False
    repaired: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage


class Watcher(Protocol):
    """A function that is told about progress."""

    def __call__(self, task: str, read: int, total: int) -> None:
        """Take note that `read` of `total` blocks of `task` have been read back."""
