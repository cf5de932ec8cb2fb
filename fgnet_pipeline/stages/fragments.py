"""Stage fragments: affinities -> fragments, and one table of fragments per block.

With `fragments.path` the fragments are the lab's own. Then only the tables are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import DamageError, InputError
from fgnet_pipeline.core.geometry import MAX_FRAGMENTS_PER_BLOCK, Grid, first_id
from fgnet_pipeline.core.task import NO_CONTEXT, Block, Task
from fgnet_pipeline.kernels.fragments.components import describe, relabel_components
from fgnet_pipeline.kernels.fragments.method import FragmentsMethod, methods, segment_fragments
from fgnet_pipeline.kernels.padding import void_of
from fgnet_pipeline.stages.density import Density, written_voxels
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.known_inputs import identity_of
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array
from fgnet_pipeline.stages.stage import ArrayOutput, BlockWorker, Contradiction, Stage, TableOutput
from fgnet_pipeline.stages.tile_network import fills_padding, implementation_of
from fgnet_pipeline.store.arrays import storage_shapes
from fgnet_pipeline.store.tables import Columns

Ids = npt.NDArray[np.uint64]
Labels = npt.NDArray[np.uint32]


class FragmentsStage(Stage):
    """Affinities -> fragments; every id is one connected piece of one block."""

    name = "fragments"
    summary = "Fragments of every block by the method that fragments.method names, and a table of them."
    after = ("predict",)
    format_version = 2
    array = ArrayOutput("fragments", "uint64", compressed=0.015)
    tables = (
        TableOutput(
            "fragments",
            {
                "id": "uint64", "voxels": "int64", "begin": "int64[3]", "end": "int64[3]", "centroid": "float64[3]",
                "point": "int64[3]",
            },
            redo="fragments",
            row_bytes=60,
        ),
    )  # fmt: skip
    bytes_per_voxel = (32, 32)
    bytes_per_channel = (1, 0)

    def plan(self, job: Job) -> list[Task]:
        """One task. It reads predicted affinities or the lab's own, or it lists the lab's own fragments.

        Raises:
            InputError: the method does not fit the affinities, or the storage shapes do not fit.
        """
        block = job.config.schedule.block_shape_of(self.name)
        fingerprint: dict[str, Any] = {"format": self.format_version, "block_shape": list(block)}
        context, upstream = NO_CONTEXT, tuple[str, ...]()
        if job.fragments is not None:
            fingerprint["fragments"] = identity_of(job, "fragments", self.name)
        else:
            method = method_of(job)
            context = job.config.fragments.context or method.context
            fingerprint |= _settings(job, method, block) | {"context": list(context)}
            if job.affinities is None:
                upstream = ("predict",)
                if fills_padding(implementation_of(job.output.progress.fingerprint("predict"))):
                    fingerprint["void"] = "background"
            else:
                fingerprint["affinities"] = identity_of(job, "affinities", self.name)
                if method.channels is None:
                    fingerprint["neighbourhood"] = [list(offset) for offset in job.neighbourhood]
        return [
            Task(self.name, self.name, Grid(block), context, context, job.roi, upstream, fingerprint, masked=True)
        ]  # fmt: skip

    def open(self, job: Job, task: Task, worker: int) -> BlockWorker:
        """Make the object that computes fragments, or that lists the lab's own."""
        return Fragments(job, "void" in task.fingerprint) if job.fragments is None else Census(job)

    def array_of(self, job: Job) -> ArrayOutput | None:
        """No array if the fragments are the lab's own."""
        return self.array if job.fragments is None else None

    def rows(self, job: Job, task: Task, density: Density) -> float:
        """Estimate the fragments of one block."""
        return written_voxels(job, task) * density.fragments / 1e6

    def check_voxels(self, block: Block, voxels: npt.NDArray[Any]) -> Contradiction | None:
        """Check that every id lies in the block's own range."""
        reason = _ids_reason(np.unique(voxels), block)
        return Contradiction.if_any(reason, ids=True)

    def check_tables(
        self, job: Job, block: Block, tables: Mapping[str, Columns], voxels: npt.NDArray[Any] | None
    ) -> Contradiction | None:
        """Check that the table describes the fragments, our own or the lab's.

        Raises:
            DamageError: the lab's fragments cannot be read.
        """
        columns = tables["fragments"]
        if voxels is None:
            try:
                census = Census(job)
                wanted = census.compute(block, census.load(block))
            except MemoryError:
                raise
            except Exception as error:  # a damaged array of the lab may raise any error
                raise DamageError(
                    f"fragments.path cannot be read in this block: {type(error).__name__}: {error}"
                ) from error
        else:
            listed = columns["id"].astype(np.uint64)
            if reason := _ids_reason(listed, block, listed=True):
                return Contradiction(reason, "fragments", ids=True)
            labels = np.where(voxels > 0, voxels - np.uint64(first_id(block.index)), np.uint64(0)).astype(np.uint32)
            wanted = fragment_columns(labels, int(labels.max(initial=0)), block)
        for name in wanted:
            if name not in columns or not np.array_equal(columns[name], wanted[name]):
                return Contradiction(f"the fragment table disagrees with the fragments in column {name!r}", "fragments")
        return None


def method_of(job: Job) -> FragmentsMethod:
    """The method that the configuration names.

    Raises:
        InputError: the lab's affinities lack channels that the method reads, or do not state the offset of one.
    """
    method, given = methods()[job.config.fragments.method], job.affinities
    if given is not None:
        needed, known = method.channels or given.channels, min(given.channels, len(given.neighbourhood))
        if needed > known:
            expected = f"affinities with {needed} channels and the offset of each, not {known}"
            remedy = "choose another method, or give affinities.path its attribute neighbourhood"
            raise InputError("fragments.method", method.name, expected, remedy)
    return method


def _settings(job: Job, method: FragmentsMethod, block: tuple[int, int, int]) -> dict[str, Any]:
    """The part of the fingerprint that comes from the configuration."""
    config, output = job.config.fragments, job.config.output
    shard, chunk = storage_shapes(block, output.shard_shape, output.chunk_shape, "fragments")
    return {
        "shard_shape": list(shard),
        "chunk_shape": list(chunk),
        "method": method.name,
        "boundary_threshold": config.boundary_threshold,
        "min_seed_distance": config.min_seed_distance,
        **method.resolve(config.method_options),
    }


class Fragments:
    """Computes the fragments of blocks.

    The method segments the read region. The result is cropped to the write region. Every connected piece in it becomes
    one fragment.

    Args:
        job: the opened job.
        without_void: whether the inside of padding is background.
    """

    def __init__(self, job: Job, without_void: bool) -> None:
        self.job, self.tables = job, job.output.tables("fragments", "fragments")
        self.without_void = without_void

    def load(self, block: Block) -> npt.NDArray[np.uint8]:
        """Affinities uint8 (C, z, y, x) of the read region."""
        return self.job.read_affinities(block.read)

    def compute(self, block: Block, loaded: npt.NDArray[np.uint8]) -> tuple[Labels, int]:
        """Segment the block.

        Returns:
            (labels, n): labels uint32 (z, y, x) of the write region, 0 = background, otherwise 1..n.
        """
        config = self.job.config.fragments
        labels = segment_fragments(
            loaded,
            config.method,
            boundary_threshold=config.boundary_threshold,
            min_seed_distance=config.min_seed_distance,
            neighbourhood=self.job.neighbourhood,
            **config.method_options,
        )
        written = block.write.slices(block.read.begin)
        cropped = np.ascontiguousarray(labels[written])
        mask = self.job.mask.read(block.write) if self.job.mask is not None else None
        if self.without_void and (void := void_of(loaded)[written]).any():
            mask = ~void if mask is None else mask & ~void
        return relabel_components(cropped, mask)

    def store(self, block: Block, computed: tuple[Labels, int]) -> Outcome:
        """Write the fragments and their table.

        Raises:
            DamageError: the block has more fragments than ids can number.
        """
        labels, n = computed
        if n > MAX_FRAGMENTS_PER_BLOCK:
            raise DamageError(f"block {block.index} has {n} fragments, more than an id can hold: use smaller blocks")
        ids = np.where(labels > 0, labels.astype(np.uint64) + np.uint64(first_id(block.index)), np.uint64(0))
        files = self.job.write_block("fragments", block, ids)
        files.append(self.tables.write(block.index, fragment_columns(labels, n, block), block.key))
        return outcome_of_array(ids, files)


class Census:
    """Lists the lab's own fragments: one table per block."""

    def __init__(self, job: Job) -> None:
        self.job, self.tables = job, job.output.tables("fragments", "fragments")

    def load(self, block: Block) -> Ids:
        """The lab's fragments uint64 (z, y, x) of the write region, 0 outside the mask."""
        return self.job.read_tissue_fragments(block.write)

    def compute(self, block: Block, loaded: Ids) -> Columns:
        """The columns of the table.

        Raises:
            DamageError: an id is not below 2^63.
        """
        ids, dense = np.unique(loaded, return_inverse=True)
        if len(ids) and ids[-1] >= np.uint64(1 << 63):
            raise DamageError(f"fragments.path holds id {ids[-1]}, which is not below 2^63: renumber it")
        labels = dense.reshape(loaded.shape).astype(np.uint32)
        if len(ids) and ids[0] == 0:
            ids = ids[1:]
        else:
            labels += np.uint32(1)
        return {"id": ids, **describe(labels, len(ids), block.write)}

    def store(self, block: Block, computed: Columns) -> Outcome:
        """Write the table. The number of fragments stands for the non-zero count."""
        path = self.tables.write(block.index, computed, block.key)
        outcome = outcome_of_array(computed["id"][:, None, None], [path])
        return Outcome(outcome.checksum, outcome.nonzero, block.write.size, [path])


def fragment_columns(labels: Labels, n: int, block: Block) -> Columns:
    """The table of the fragments of a block.

    Args:
        labels: uint32 (z, y, x) of the write region, 0 = background, otherwise 1..n.
        n: number of fragments.
        block: the block.
    """
    ids = np.arange(1, n + 1, dtype=np.uint64) + np.uint64(first_id(block.index))
    return {"id": ids, **describe(labels, n, block.write)}


def _ids_reason(ids: Ids, block: Block, listed: bool = False) -> str | None:
    """Why these cannot be the ids of fragments of the block; None if they can.

    Every id must lie in the block's own range.

    Args:
        ids: uint64 (n,).
        block: the block.
        listed: whether a table lists the ids. Then each may occur once, and 0 is refused.
    """
    low, high = first_id(block.index) + 1, first_id(block.index) + MAX_FRAGMENTS_PER_BLOCK
    outside = ids[((ids < low) | (ids > high)) & (listed | (ids != 0))]
    if len(outside):
        return f"it holds id {outside[0]}, which is not of this block ({low} to {high})"
    if listed and len(np.unique(ids)) != len(ids):
        return "it lists an id twice"
    return None


STAGE = FragmentsStage()
