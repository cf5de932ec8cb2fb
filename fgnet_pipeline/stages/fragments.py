"""Stage 2: affinities -> fragments, and a table of them a block.

With ``fragments.path`` the fragments are the lab's own: then only the tables are made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import MAX_FRAGMENTS_PER_BLOCK, Box, Grid, Vector, first_id
from fgnet_pipeline.core.plan import NO_CONTEXT, Task
from fgnet_pipeline.kernels.fragments.components import fragment_table, relabel_components
from fgnet_pipeline.kernels.fragments.method import segment_fragments
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.stage import Outcome, outcome_of_array
from fgnet_pipeline.store.arrays import storage_shapes
from fgnet_pipeline.store.input_identity import identity, sample

FORMAT = 2
#: Voxels read around a block; per-section watershed looks at no other section.
DEFAULT_CONTEXT = {"volume": (16, 16, 16), "sections": (0, 32, 32), "waterz": (16, 16, 16)}


def plan_task(job: Job) -> Task:
    """The fragments task; it reads predicted or the lab's affinities, or lists the lab's fragments."""
    config = job.config.fragments
    block = job.config.schedule.block_shape_of("fragments")
    fingerprint: dict[str, Any] = {"format": FORMAT, "block_shape": list(block)}
    if job.fragments is not None:
        values = sample(job.bounds.shape, job.fragments.read, "fragments.path")
        fingerprint["fragments"] = identity(job.bounds.shape, values)
        return Task(
            "fragments", "fragments", Grid(block), NO_CONTEXT, NO_CONTEXT, job.roi, (), fingerprint, masked=True
        )
    shard, chunk = storage_shapes(block, job.config.output.shard_shape, job.config.output.chunk_shape, "fragments")
    context = config.context or DEFAULT_CONTEXT[config.method]
    fingerprint |= {
        "shard_shape": list(shard),
        "chunk_shape": list(chunk),
        "method": config.method,
        "context": list(context),
        "boundary_threshold": config.boundary_threshold,
        "min_seed_distance": config.min_seed_distance,
    }
    upstream: tuple[str, ...] = ("predict",)
    if job.affinities is not None:
        upstream = ()
        values = sample(job.bounds.shape, job.affinities.read, "affinities.path")
        fingerprint["affinities"] = identity(job.bounds.shape, values)
    return Task("fragments", "fragments", Grid(block), context, context, job.roi, upstream, fingerprint, masked=True)


class Fragments:
    """Watershed in context, cropped to the block, then connected components: every id is one connected piece."""

    def __init__(self, job: Job, worker: int = 0) -> None:
        self.job, self.task = job, job.plan.tasks["fragments"]
        self.tables = job.output.tables("fragments", "fragments")

    def load(self, block: Vector) -> npt.NDArray[Any]:
        return self.job.read_affinities(self.task.read_box(block))

    def compute(self, block: Vector, loaded: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint32], int]:
        config = self.job.config.fragments
        labels = segment_fragments(
            loaded[:3],
            config.method,
            boundary_threshold=config.boundary_threshold,
            min_seed_distance=config.min_seed_distance,
        )
        box = self.job.plan.write_box("fragments", block)
        cropped = np.ascontiguousarray(labels[box.slices(self.task.read_box(block).begin)])
        mask = self.job.mask.read(box) if self.job.mask is not None else None
        return relabel_components(cropped, mask)

    def store(self, block: Vector, computed: tuple[npt.NDArray[np.uint32], int]) -> Outcome:
        labels, n = computed
        if n > MAX_FRAGMENTS_PER_BLOCK:
            raise DamageError(f"block {block} has {n} fragments, more than an id can hold: use smaller blocks")
        base = np.uint64(first_id(block))
        ids = np.where(labels > 0, labels.astype(np.uint64) + base, np.uint64(0))
        box = self.job.plan.write_box("fragments", block)
        columns = {"id": np.arange(1, n + 1, dtype=np.uint64) + base, **describe(labels, n, box)}
        files = self.job.write_block("fragments", self.task.grid.box(block), box, ids)
        files.append(self.tables.write(block, columns, self.job.plan.identity("fragments", block)[0]))
        return outcome_of_array(ids, files)


class Census:
    """Tables of the lab's own fragments: which ids each block holds."""

    def __init__(self, job: Job, worker: int = 0) -> None:
        self.job = job
        self.tables = job.output.tables("fragments", "fragments")

    def load(self, block: Vector) -> npt.NDArray[np.uint64]:
        box = self.job.plan.write_box("fragments", block)
        fragments = self.job.read_fragments(box)
        if self.job.mask is not None:
            fragments = np.where(self.job.mask.read(box), fragments, np.uint64(0))
        return fragments

    def compute(self, block: Vector, loaded: npt.NDArray[np.uint64]) -> dict[str, npt.NDArray[Any]]:
        ids, dense = np.unique(loaded, return_inverse=True)
        if len(ids) and ids[-1] >= np.uint64(1 << 63):
            raise DamageError(f"fragments.path holds id {ids[-1]}, which is not below 2^63: renumber it")
        labels = dense.reshape(loaded.shape).astype(np.uint32)
        if len(ids) and ids[0] == 0:
            ids = ids[1:]
        else:
            labels += np.uint32(1)
        return {"id": ids, **describe(labels, len(ids), self.job.plan.write_box("fragments", block))}

    def store(self, block: Vector, computed: dict[str, npt.NDArray[Any]]) -> Outcome:
        path = self.tables.write(block, computed, self.job.plan.identity("fragments", block)[0])
        outcome = outcome_of_array(computed["id"][:, None, None], [path])
        return Outcome(outcome.checksum, outcome.nonzero, self.job.plan.write_box("fragments", block).size, [path])


def describe(labels: npt.NDArray[np.uint32], n: int, box: Box) -> dict[str, npt.NDArray[Any]]:
    """The rows of fragments 1..n of ``labels`` (z, y, x), which lie at ``box``; positions in voxels of the volume."""
    rows = fragment_table(labels, n) if n else _no_rows()
    for name in ("begin", "end", "point", "centroid"):
        rows[name] = rows[name] + np.asarray(box.begin, rows[name].dtype)
    return rows


def _no_rows() -> dict[str, npt.NDArray[Any]]:
    return {
        "voxels": np.zeros(0, np.int64),
        "begin": np.zeros((0, 3), np.int64),
        "end": np.zeros((0, 3), np.int64),
        "centroid": np.zeros((0, 3), np.float64),
        "point": np.zeros((0, 3), np.int64),
    }
