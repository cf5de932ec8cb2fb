"""The memory that is there for a worker, and the refusal of blocks that need more."""

from __future__ import annotations

import os
from pathlib import Path

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.planning.document import Estimate, StageEstimate
from fgnet_pipeline.planning.readable import readable
from fgnet_pipeline.stages.density import Density
from fgnet_pipeline.stages.registry import stage_of, stages


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the control group that this process is confined to."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(installed, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such group, or "max"
        return installed


def memory_limit(config: Config, task: Task) -> int | None:
    """Bytes that one worker of `task` can have; None if the default of the cluster applies."""
    if config.schedule.is_local:
        return machine_memory()
    from fgnet_pipeline.execution.cluster.lookup import cluster_of

    return cluster_of(config).memory_limit(stage_of(task).schedule)


def lacks_memory(stage: StageEstimate) -> bool:
    """Whether one block needs more memory than a worker can have."""
    return stage.memory_limit_bytes is not None and stage.memory_bytes > stage.memory_limit_bytes


def refuse_large_blocks(config: Config, found: Estimate) -> None:
    """Refuse blocks that do not fit into the memory of a worker.

    The memory of an octree node follows from the number of fragments. Nodes are refused only if this number was
    measured; an assumed number leads to a warning.

    Args:
        config: names the keys to change.
        found: the complete estimate.

    Raises:
        InputError: one block needs more memory than a worker can have.
    """
    for stage in found.stages:
        described = stages()[stage.stage]
        known = described.by_voxel or found.density.source != Density.source
        if known and stage.left and lacks_memory(stage):
            octree = not described.by_voxel
            raise InputError(
                "agglomerate.leaf_blocks" if octree else f"schedule.{described.schedule}.block_shape",
                config.agglomerate.leaf_blocks if octree else stage.block_shape,
                f"blocks of {stage.task} that fit into the memory of a worker: one needs "
                f"{readable(stage.memory_bytes)} ({stage.memory_from}), but {_limit_in_words(config, stage)}",
                "use smaller leaves, or a machine with more memory" if octree else "use smaller blocks",
            )


def _limit_in_words(config: Config, stage: StageEstimate) -> str:
    limit = readable(stage.memory_limit_bytes or 0)
    if config.schedule.is_local:
        return f"this machine has {limit}"
    from fgnet_pipeline.execution.cluster.lookup import cluster_of

    return f"{cluster_of(config).memory_key} is {limit}"
