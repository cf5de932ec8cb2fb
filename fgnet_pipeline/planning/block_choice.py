"""Chooses the shape of blocks and the number of workers for a volume, a model and a machine."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fgnet_pipeline.core.config import MINIMUM_BLOCK
from fgnet_pipeline.core.geometry import MAX_BLOCKS_PER_AXIS, Vector, vector
from fgnet_pipeline.planning.machine import Machine
from fgnet_pipeline.stages.registry import stages
from fgnet_pipeline.stages.stage import WORKER_BYTES

#: Share of the memory of a machine that blocks may take together.
MEMORY_SHARE = 0.7
#: Voxels that a block reads on each side, for the estimate of its memory: the largest context of the shipped stages.
CONTEXT = 32
#: Channels of the affinities of the shipped models.
CHANNELS = 3
#: Greatest length of a block along an axis: larger ones hardly save work, but a killed worker loses more.
LONGEST = 288
#: Blocks per worker that a volume should have, so that no worker waits for the others at the end.
BLOCKS_PER_WORKER = 3


@dataclass(frozen=True)
class BlockChoice:
    """How a run is divided.

    Attributes:
        workers: processes.
        block: voxels, zyx.
        step: voxels, zyx, of which the block is a whole multiple: the stride of the model, or chunks.
        blocks: number of blocks of the whole volume.
        memory: bytes that a worker needs at most, by the formulas of `fgnet plan`.
        is_aligned: whether blocks consist of whole chunks along every axis that they divide.
        by_memory: whether memory, and not the number of cores, limits the workers.
    """

    workers: int
    block: Vector
    step: Vector
    blocks: int
    memory: int
    is_aligned: bool
    by_memory: bool


def choose_blocks(shape: Vector, chunk: Vector, stride: Vector | None, machine: Machine) -> BlockChoice:
    """Choose block shape and workers.

    The block is the largest one that fits into memory once per core and leaves every core some blocks; along each axis
    it is made smaller, down to half, if it then consists of whole chunks.

    Args:
        shape: of the volume in voxels, zyx.
        chunk: voxels of a chunk, zyx.
        stride: voxels between two tiles of the model, zyx; None if no model is used.
        machine: that will run.
    """
    step = stride or vector([_at_least(c, 64) for c in chunk])
    allowed = MEMORY_SHARE * machine.memory
    counts = range(max(1, LONGEST // min(step)), 0, -1)
    for count in counts:
        block = _block(shape, step, count)
        fits = memory_of(block) * machine.cores <= allowed
        if fits and _blocks(shape, block) >= BLOCKS_PER_WORKER * machine.cores:
            break
    else:
        block = _block(shape, step, 1)
    block = vector([_aligned(b, s, c, n) for b, s, c, n in zip(block, step, chunk, shape, strict=True)])
    memory = memory_of(block)
    useful, held = min(machine.cores, _blocks(shape, block)), max(1, int(allowed // memory))
    whole = all(b % c == 0 or b >= n for b, c, n in zip(block, chunk, shape, strict=True))
    return BlockChoice(min(useful, held), block, step, _blocks(shape, block), memory, whole, held < useful)


def memory_of(block: Vector) -> int:
    """Bytes that a worker needs for a block of this shape, by the formulas of the stages that work by voxels."""
    read = prod(length + 2 * CONTEXT for length in block)
    return max(
        WORKER_BYTES
        + read * (stage.bytes_per_voxel[0] + CHANNELS * stage.bytes_per_channel[0])
        + prod(block) * (stage.bytes_per_voxel[1] + CHANNELS * stage.bytes_per_channel[1])
        for stage in stages().values()
        if stage.by_voxel
    )


def _block(shape: Vector, step: Vector, count: int) -> Vector:
    """A block of `count` steps per axis, or as many as cover the volume; ids need no more than 4096 blocks."""
    lengths = []
    for length, one in zip(shape, step, strict=True):
        covering, least = -(-length // one), -(-length // (MAX_BLOCKS_PER_AXIS * one))
        lengths.append(one * max(least, min(count, covering)))
    return vector(lengths)


def _blocks(shape: Vector, block: Vector) -> int:
    return int(np.prod(-np.floor_divide(np.negative(shape), block)))


def _aligned(length: int, step: int, chunk: int, whole: int) -> int:
    """The longest multiple of step and chunk between half of `length` and `length`; `length` if there is none."""
    if length >= whole or length % chunk == 0:
        return length
    least = max(length / 2, whole / MAX_BLOCKS_PER_AXIS)
    return max((n for n in range(step, length + 1, step) if n % chunk == 0 and n >= least), default=length)


def _at_least(chunk: int, wanted: int) -> int:
    """The smallest multiple of a chunk that is at least `wanted`, but not below the smallest block."""
    return max(MINIMUM_BLOCK, chunk * -(-wanted // chunk))
