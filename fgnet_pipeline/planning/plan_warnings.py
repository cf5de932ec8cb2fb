"""Warnings of a plan: what may go wrong in a run that is not refused."""

from __future__ import annotations

from fgnet_pipeline.core.durations import duration
from fgnet_pipeline.planning.document import Estimate
from fgnet_pipeline.planning.memory import lacks_memory, machine_memory
from fgnet_pipeline.planning.readable import readable

#: Hours of wall time above which a run is long.
LONG_HOURS = 7 * 24
#: Share of additional tiles, from blocks that are no multiples of the stride, above which a larger block is advised.
MANY_TILES = 0.05
#: Files and folders above which a quota may be exceeded.
MANY_INODES = 10**7
#: Share of the chunks of the raw volume that are stored, below which something may be missing.
WELL_STORED = 0.9


def warnings_of(found: Estimate) -> list[str]:
    """One sentence per risk: disk, inodes, hours, memory and tiles that are computed more than once."""
    said = []
    if found.free_disk_bytes is not None and found.disk_bytes_left > found.free_disk_bytes:
        free, needed = readable(found.free_disk_bytes), readable(found.disk_bytes_left)
        said.append(f"the disk has {free} free, but about {needed} are still to be written")
    if found.free_inodes is not None and found.inodes_left > found.free_inodes:
        said.append(
            f"the file system has {found.free_inodes} inodes free, but up to {found.inodes_left} are still needed"
        )
    elif found.inodes > MANY_INODES:
        said.append(
            f"the output has up to {found.inodes} files and folders: check that your quota allows them, "
            "or use larger blocks"
        )
    if found.wall_hours is not None and found.wall_hours > LONG_HOURS:
        said.append(
            f"the run takes {duration(3600 * found.wall_hours)} with {found.workers} workers: "
            "use more workers or nodes to shorten it"
        )
    said += _memory_warnings(found)
    said += _input_warnings(found)
    if found.tiles and found.tiles["computed"] > (1 + MANY_TILES) * found.tiles["needed"]:
        more = found.tiles["computed"] / found.tiles["needed"] - 1
        said.append(
            f"blocks compute {more:.0%} more tiles than needed: use a larger schedule.predict.block_shape "
            f"in whole multiples of {found.tiles['stride']}"
        )
    return said


def _input_warnings(found: Estimate) -> list[str]:
    said = []
    for given in found.inputs:
        if given.key == "volume.path" and given.stored_share < WELL_STORED:
            said.append(f"only {given.stored_share:.0%} of {given.path} is stored: all else reads as one value; "
                        "check that it was copied as a whole, or set volume.mask")  # fmt: skip
    return said


def _memory_warnings(found: Estimate) -> list[str]:
    said = []
    large = [s for s in found.stages if s.left and lacks_memory(s)]
    if large:
        largest = max(large, key=lambda s: s.memory_bytes)
        said.append(f"a block of {largest.task} needs about {readable(largest.memory_bytes)} ({largest.memory_from}), "
                    f"but a worker has {readable(largest.memory_limit_bytes or 0)}: use a larger node")  # fmt: skip
    if not found.local:
        return said
    limit = machine_memory()
    together = {s.task: s.memory_bytes * min(max(1, found.workers), s.left) for s in found.stages if s not in large}
    task = max(together, key=lambda name: together[name], default=None)
    if task is not None and together[task] > limit:
        said.append(f"{found.workers} workers at {task} may need {readable(together[task])}, but this machine has "
                    f"{readable(limit)}: lower schedule.workers or schedule.STAGE.workers")  # fmt: skip
    return said
