"""One voxel of a result: its values in all arrays, and the blocks that hold it with the states of their records.

Results need not be finished: an array has a value as soon as the block that holds the voxel is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import PipelineError
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.core.named_voxel import named_voxel
from fgnet_pipeline.core.plan import format_key, single
from fgnet_pipeline.execution.resume import check_fresh, left
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import plan_job
from fgnet_pipeline.store.arrays import READ_ERRORS, use_threads

#: What a block may be, by its records.
DONE, STALE, FAILED, MISSING = "done", "made with other settings or inputs", "failed", "not computed"
NO_TISSUE, OUTSIDE = "no tissue", "outside the region"


@dataclass(frozen=True)
class BlockState:
    """The block of a task that holds the voxel.

    Attributes:
        task: its name.
        block: index in the grid of the task, zyx.
        begin: first voxel of the block, zyx.
        end: the voxel after its last one, zyx.
        key: of the block now, 16 hexadecimal digits; None if it has no work.
        state: `done`, or why not.
        error: last line of the latest failure; None if the block did not fail.
        log: file of that failure.
    """

    task: str
    block: list[int]
    begin: list[int]
    end: list[int]
    key: str | None
    state: str
    error: str | None = None
    log: str | None = None


@dataclass(frozen=True)
class VoxelFound:
    """What is stored of a voxel.

    Attributes:
        voxel: its position, zyx.
        nm: its middle in nm, zyx.
        in_region: whether it lies in the region of interest.
        is_tissue: whether the mask has tissue there; None without a mask.
        raw: grey value; None if no raw volume is given or it cannot be read.
        affinities: of the voxel and its neighbours, in [0, 1], one per channel; None if they are not computed.
        neighbourhood: offset (zyx) of each channel; None without affinities.
        fragment: its id, 0 for background; None if it is not computed.
        segment: its id, 0 for background; None if it is not computed.
        blocks: of all tasks, in the order of the data flow.
        notes: what could not be read.
    """

    voxel: Vector
    nm: list[float]
    in_region: bool
    is_tissue: bool | None
    raw: int | None
    affinities: list[float] | None
    neighbourhood: list[list[int]] | None
    fragment: int | None
    segment: int | None
    blocks: list[BlockState]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ids are strings, because JavaScript and jq lose whole numbers above 2^53."""
        document = asdict(self)
        ids = {name: None if document[name] is None else str(document[name]) for name in ("fragment", "segment")}
        return {**document, **ids, "voxel": list(self.voxel)}


def inspect_voxel(config: Config, at: str) -> VoxelFound:
    """Look at one voxel.

    Args:
        config: of a run that has begun.
        at: `z,y,x` in voxels, or in nanometres with `nm` at the end.

    Raises:
        InputError: no such voxel, or an output of another configuration.
    """
    use_threads(config.schedule.threads)
    job = open_job(config, only_reads=True)
    plan_job(job, new_affinities=job.output.progress.fingerprint("predict") is None)
    check_fresh(job, list(job.plan.tasks), None)
    voxel = named_voxel(at, job.bounds.shape, (job.frame.offset, job.frame.voxel_size))
    blocks = [_state(job, name, voxel) for name in job.plan.tasks]
    done = {state.task for state in blocks if state.state in (DONE, NO_TISSUE)}
    stored = _Stored(voxel, [])
    raw = stored.value("raw", None if job.raw is None else job.raw.read)
    affinities = stored.value("affinities", job.read_affinities if job.affinities or "predict" in done else None)
    has_fragments = job.fragments is not None or "fragments" in done
    fragment = stored.value("fragments", job.read_tissue_fragments if has_fragments else None)
    segment = stored.value("segmentation", job.read_segmentation if "relabel" in done else None)
    tissue = stored.value("mask", None if job.mask is None else job.mask.read)
    middle = np.asarray(job.frame.offset) + (np.asarray(voxel) + 0.5) * np.asarray(job.frame.voxel_size)
    return VoxelFound(
        voxel=voxel,
        nm=middle.tolist(),
        in_region=job.roi.contains(single(voxel)),
        is_tissue=None if tissue is None else bool(tissue),
        raw=None if raw is None else int(raw),
        affinities=None if affinities is None else [float(v) / 255 for v in affinities],
        neighbourhood=None if affinities is None else [list(offset) for offset in job.neighbourhood],
        fragment=None if fragment is None else int(fragment),
        segment=None if segment is None else int(segment),
        blocks=blocks,
        notes=stored.notes,
    )


@dataclass(frozen=True)
class _Stored:
    """Reads the values of arrays at one voxel.

    Attributes:
        voxel: its position, zyx.
        notes: what could not be read.
    """

    voxel: Vector
    notes: list[str]

    def value(self, name: str, read: Callable[[Box], Any] | None) -> Any:
        """The value of one array, or its values in all channels; None if it is not known.

        Args:
            name: of the array, for the note if it cannot be read.
            read: gives the values of a box of voxels; None if nothing is stored.
        """
        if read is None:
            return None
        try:
            return read(single(self.voxel))[..., 0, 0, 0]
        except (*READ_ERRORS, PipelineError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self.notes.append(f"{name} cannot be read here ({lines[0]})")
            return None


def _state(job: Job, name: str, voxel: Vector) -> BlockState:
    """The block of a task that holds a voxel, and what its records say."""
    grid, blocks = job.plan.tasks[name].grid, job.plan.blocks(name)
    block = grid.index_of(voxel)
    box = grid.box(block).intersect(job.bounds)
    begin, end = list(box.begin), list(box.end)
    if not blocks.contains(single(block)):
        return BlockState(name, list(block), begin, end, None, OUTSIDE)
    place = tuple(np.subtract(block, blocks.begin))
    state, key = left(job, name), int(job.plan.all_keys(name)[place])
    if not state.active[place]:
        return BlockState(name, list(block), begin, end, None, NO_TISSUE)
    found = BlockState(name, list(block), begin, end, format_key(key), DONE)
    if state.done[place]:
        return found
    failure = job.output.progress.failures(name).get(vector(block))
    if failure is not None:
        last = (failure.error.strip().splitlines() or [""])[-1]
        return replace(found, state=FAILED, error=last, log=failure.log)
    return replace(found, state=STALE if state.stale[place] else MISSING)
