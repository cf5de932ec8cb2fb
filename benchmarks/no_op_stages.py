"""Stages without work: a block has its records, but nothing is computed.

Importing this module leaves out the computation of all stages in this process.

Workers are forked from a process that imports it (`fork_server(["no_op_stages"])`), so they compute nothing either.
"""

from __future__ import annotations

from typing import Any

from fgnet_pipeline.core.task import Block
from fgnet_pipeline.stages.outcome import Outcome
from fgnet_pipeline.stages.registry import stages


class NoOp:
    """The worker of a stage without work."""

    def load(self, block: Block) -> None:
        return None

    def compute(self, block: Block, loaded: Any) -> None:
        return None

    def store(self, block: Block, computed: Any) -> Outcome:
        return Outcome("crc32c:00000000", 0, 0, [])


for stage in stages().values():
    stage.open = lambda job, task, worker: NoOp()  # type: ignore[method-assign]
