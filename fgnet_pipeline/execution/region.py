"""The region of interest of a run: what is said about it, and regions that are refused because nothing good follows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.stages.job import Job

#: Layers of blocks that are looked at together for tissue.
SLAB = 16


def region_nm(job: Job) -> list[list[float]]:
    """`[begin, end]` of the region of interest in nm, zyx."""
    size, offset = np.asarray(job.frame.voxel_size), np.asarray(job.frame.offset)
    return [(offset + np.multiply(corner, size)).tolist() for corner in (job.roi.begin, job.roi.end)]


def region_sentence(job: Job) -> str:
    """The region of interest in voxels and nm."""
    begin, end = region_nm(job)
    shape = " x ".join(map(str, job.roi.shape))
    whole = "the whole volume" if job.roi == job.bounds else f"of a volume of {' x '.join(map(str, job.bounds.shape))}"
    return (
        f"region: {shape} voxels (z, y, x), {whole}; "
        f"voxels {list(job.roi.begin)} to {list(job.roi.end)}, {_nm(begin)} to {_nm(end)} nm"
    )


def _nm(corner: list[float]) -> str:
    return "[" + ", ".join(f"{value:g}" if abs(value) < 1e5 else f"{value:.1f}" for value in corner) + "]"


def check_region(job: Job, small_region: bool) -> None:
    """Refuse a region that holds no tissue, and one that is too small.

    Args:
        job: with its plan.
        small_region: whether a region that is shorter than the context of a stage is accepted.

    Raises:
        InputError: it is refused.
    """
    if not small_region:
        refuse_short_region(job)
    refuse_region_without_tissue(job)


def refuse_short_region(job: Job) -> None:
    """Refuse a region that is shorter along an axis than what a stage reads around a block, if the volume is longer.

    Such a region is seldom meant: usually voxels were typed for nanometres.

    Raises:
        InputError: the region is too short.
    """
    needed = largest_context(job)
    # A volume that is itself as thin has no other region.
    short = [axis for axis in range(3) if job.roi.shape[axis] < min(needed[axis], job.bounds.shape[axis])]
    if short:
        begin, end = region_nm(job)
        axes = ", ".join(f"{job.roi.shape[a]} along {'zyx'[a]} (context {needed[a]})" for a in short)
        raise InputError(
            "volume.roi",
            f"{_nm(begin)} to {_nm(end)} nm, which is {list(job.roi.shape)} voxels",
            f"at least as many voxels as are read around a block, not {axes}",
            "volume.roi is in nm: correct it, or add --yes to run this region",
        )


def largest_context(job: Job) -> Vector:
    """The longest context of the model, in voxels, zyx; of all stages if no model is used."""
    tasks = [task for name, task in job.plan.tasks.items() if name == "predict"] or list(job.plan.tasks.values())
    return vector(np.max([[task.below, task.above] for task in tasks], axis=(0, 1)))


def refuse_region_without_tissue(job: Job) -> None:
    """Refuse a mask that leaves no block of the region to compute.

    Raises:
        InputError: the mask has no tissue in the region.
    """
    if job.mask is None or _any_block(job):
        return
    raise InputError(
        "volume.mask",
        job.mask.volume.path,
        f"tissue (values other than 0) in the region of interest; {_why(job)}",
        "correct the mask, its offset or its voxel size, or volume.roi",
    )


def _any_block(job: Job) -> bool:
    """Whether a task has a block with tissue; the grids differ, but all of them cover the region.

    Slabs are looked at from the middle on, because most masks have tissue there, and the first block is enough.
    """
    name = next(iter(job.plan.tasks))
    blocks = job.plan.blocks(name)
    (begin, *low), (end, *high) = blocks.begin, blocks.end
    slabs = sorted(range(begin, end, SLAB), key=lambda z: abs(2 * z + SLAB - begin - end))
    boxes = (Box(vector([z, *low]), vector([min(z + SLAB, end), *high])) for z in slabs)
    return any(job.plan.active(name, box).any() for box in boxes)


def _why(job: Job) -> str:
    """Where the mask lies, in words."""
    assert job.mask is not None and job.mask.volume.frame is not None  # checked when the mask was opened
    frame = job.mask.volume.frame
    begin = np.asarray(frame.offset)
    end = begin + np.multiply(job.mask.volume.shape, frame.voxel_size)
    low, high = region_nm(job)
    if (end <= low).any() or (begin >= high).any():
        return f"the mask covers {_nm(begin.tolist())} to {_nm(end.tolist())} nm, the region {_nm(low)} to {_nm(high)}"
    return f"all blocks of the region {_nm(low)} to {_nm(high)} nm are empty"


def is_empty(job: Job, names: Iterable[str]) -> bool:
    """Whether a finished run has made no segment at all, by its records."""
    if "relabel" not in names:
        return False
    return not job.output.progress.latest("relabel", job.plan.blocks("relabel")).nonzero.any()
