"""Stage predict: raw -> affinities.

Besides the room `training`, this is the only file that computes with the model package.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError, StaleError
from fgnet_pipeline.core.geometry import Grid, vector
from fgnet_pipeline.core.plan import differences
from fgnet_pipeline.core.task import Block, Task
from fgnet_pipeline.kernels.grey import to_grey
from fgnet_pipeline.kernels.tiling import Tiling
from fgnet_pipeline.stages.devices import (
    choose_device,
    compute_one_tile,
    errors_while_computing,
    errors_while_opening,
)
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.model_choice import (
    as_input_errors,
    describe_model,
    geometry_of,
    has_weights,
    is_smaller_in_exact,
    measured_normalisation,
)
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_array
from fgnet_pipeline.stages.stage import ArrayOutput, Stage
from fgnet_pipeline.stages.tile_network import (
    IMPLEMENTATION,
    HostBlocks,
    TileNetwork,
    arithmetic_of,
    computes_on_device,
    implementation_of,
    is_all_padding,
    padding_runs,
)
from fgnet_pipeline.store.arrays import storage_shapes, use_threads
from fgnet_pipeline.store.input_identity import identity, sample

if TYPE_CHECKING:
    import fgnet
    from fgnet.tiles import Predictor

    from fgnet_pipeline.stages.with_torch.device_blocks import DeviceBlocks

#: Blocks that a worker with a GPU handles at a time: one is computed while others are read, copied and written.
DEVICE_LANES = 8


def _load(config: Config, device: str, implementation: int, digest: str | None = None) -> Predictor:
    """Load the network; `digest` is what the SHA-256 of its checkpoint must be, None checks nothing."""
    import fgnet

    model, threads, arithmetic = config.model, config.schedule.threads, arithmetic_of(implementation)
    return fgnet.load_predictor(model.checkpoint, model.mode, device, threads, expect_sha256=digest, **arithmetic)


def tiling_of(geometry: fgnet.Geometry) -> Tiling:
    """The tiling of a model: shape, stride and margin of its tiles."""
    return Tiling(geometry.tile, geometry.stride, geometry.margin)


class PredictStage(Stage):
    """Raw -> affinities by the configured model."""

    name = "predict"
    summary = "Affinities of every voxel and its neighbours, by the model that model.checkpoint names."
    array = ArrayOutput("affinities", "uint8", compressed=0.55)
    lanes = 2
    reads_inputs_only = True
    bytes_per_voxel = (16, 8)
    bytes_per_channel = (0, 18)

    def plan(self, job: Job) -> list[Task]:
        """One task; none if the affinities are the lab's own.

        Raises:
            InputError: model, geometry or storage shapes do not fit, or stored affinities are needed and missing.
            StaleError: another configuration made the stored affinities.
        """
        if job.affinities is not None:
            return []
        if job.raw is None:
            raise InputError("volume.path", None, "the raw volume", "set volume.path, or affinities.path")
        stored = job.output.progress.fingerprint(self.name)
        if job.new_affinities:
            return [self._task(job, predict_fingerprint(job, stored, self.format_version))]
        if stored is None:
            raise InputError(
                "output.path",
                job.output.path,
                "affinities, from an earlier run_predict.py (or affinities.path)",
                "run run_predict.py with this configuration first",
            )
        if different := stored_differences(job, stored):
            raise StaleError(
                "output.path",
                job.output.path,
                f"affinities of this configuration, but its predict stage is stale ({'; '.join(different)})",
                "run run_predict.py with --redo predict, or choose another output.path",
            )
        return [self._task(job, stored)]

    def _task(self, job: Job, fingerprint: dict[str, Any]) -> Task:
        """The task of a fingerprint, new or stored. A stored one needs no checkpoint, no torch and no raw voxels."""
        context, block = vector(fingerprint["context"]), vector(fingerprint["block_shape"])
        return Task(self.name, self.name, Grid(block), context, context, job.bounds, (), fingerprint)

    def open(self, job: Job, task: Task, worker: int) -> Predict:
        """Load the model, once per worker."""
        with as_input_errors():
            return Predict(job, task, worker)

    def array_attributes(self, task: Task) -> tuple[tuple[int, ...], dict[str, Any]]:
        """One axis of channels, and the offsets and the normalisation as attributes."""
        attributes = {key: task.fingerprint[key] for key in ("neighbourhood", "normalisation")}
        return (len(attributes["neighbourhood"]),), attributes

    def tiles(self, job: Job) -> dict[str, Any] | None:
        """The tiles of the network; None without a raw volume or without the checkpoint."""
        return None if job.raw is None else tiles_computed(job)

    def preload(self, config: Config) -> tuple[str, ...]:
        """Torch, the network and the kernels for a CPU, for models with weights."""
        if not has_weights(config):
            return ("fgnet",)
        kernels = "fgnet_pipeline.execution.processes.preload_predict"
        return ("torch", "fgnet.predictor", *([kernels] if config.model.device != "cuda" else []))

    def check_machine(self, job: Job) -> None:
        """Check that the device exists."""
        if job.config.model.device != "auto":
            choose_device(job.config.model.device, 0)

    def check_ready(self, job: Job, first: bool) -> None:
        """Check before the first block that the model can be loaded."""
        if first:
            with as_input_errors():
                _load(job.config, "cpu", implementation=1)  # without kernels: those who compute compile them


def predict_fingerprint(job: Job, stored: dict[str, Any] | None, format_version: int) -> dict[str, Any]:
    """The fingerprint of new affinities: everything that determines them.

    Args:
        job: the opened job, with a raw volume.
        stored: the fingerprint of earlier results, or None. Its normalisation is kept if volume and range are the same.
        format_version: of the predict stage.
    """
    import fgnet

    assert job.raw is not None  # PredictStage.plan has checked it
    config = job.config
    geometry = describe_model(config, job.frame)
    block = config.schedule.block_shape_of("predict")
    shard, chunk = storage_shapes(block, config.output.shard_shape, config.output.chunk_shape, "predict")
    values = sample(job.raw.shape, job.raw.read, "volume.path")
    volume = identity(job.raw.shape, values)
    fingerprint = {
        "format": format_version,
        "block_shape": list(block),
        "shard_shape": list(shard),
        "chunk_shape": list(chunk),
        "volume": volume,
        "range": list(config.volume.range or ()) or None,
        "model": fgnet.checkpoint_digest(config.model.checkpoint),
        "mode": config.model.mode,
        "threads": config.schedule.threads,
        "neighbourhood": [list(o) for o in geometry.neighbourhood],
        "context": list(tiling_of(geometry).context),
    }
    implementation = implementation_of(stored)
    if has_weights(config) and is_all_padding(implementation, geometry.margin):
        implementation = IMPLEMENTATION  # so the fingerprint differs, and the output is refused
    if implementation > 1:
        fingerprint["implementation"] = implementation
    fingerprint["normalisation"] = _normalisation(job, geometry, values, stored, volume)
    return fingerprint


def stored_differences(job: Job, stored: dict[str, Any]) -> list[str]:
    """List how the configuration differs from the one that made the stored affinities. Torch is not needed.

    The checkpoint is compared only if it is on this machine.
    """
    import fgnet

    wanted: dict[str, Any] = {"range": (list(job.config.volume.range or ()) or None), "mode": job.config.model.mode}
    if job.raw is not None:
        wanted["volume"] = identity(job.raw.shape, sample(job.raw.shape, job.raw.read, "volume.path"))
    with contextlib.suppress(fgnet.ModelError):  # a machine that only agglomerates may have no checkpoint
        wanted["model"] = fgnet.checkpoint_digest(job.config.model.checkpoint)
    return differences({key: stored.get(key) for key in wanted}, wanted)


def tiles_computed(job: Job) -> dict[str, Any] | None:
    """Count the tiles of all blocks (see `Stage.tiles`); None if the checkpoint is not on this machine."""
    try:
        with as_input_errors():
            geometry = geometry_of(job.config)
    except InputError:
        return None
    tiling, architecture = tiling_of(geometry), geometry.architecture
    computed, needed = tiling.counts(job.plan.tasks["predict"].grid, job.roi, job.bounds)
    shape, stride = list(tiling.tile), list(tiling.stride)
    return {"shape": shape, "stride": stride, "computed": computed, "needed": needed, "architecture": architecture}


def _normalisation(
    job: Job, geometry: fgnet.Geometry, values: npt.NDArray[Any], stored: dict[str, Any] | None, volume: dict[str, Any]
) -> list[float]:
    if job.config.model.normalisation is not None:
        return list(job.config.model.normalisation)
    known = stored or {}
    if known.get("volume") == volume and known.get("range") == (list(job.config.volume.range or ()) or None):
        return [float(v) for v in known["normalisation"]]
    return list(measured_normalisation(values, job.config.volume.range, geometry.normalisation))


class Predict:
    """Predicts blocks in one worker. The model is loaded once.

    Attributes:
        lanes: blocks that the worker handles at a time.
    """

    def __init__(self, job: Job, task: Task, worker: int) -> None:
        assert job.raw is not None  # PredictStage.plan has checked it
        self.job, self.raw, self.volume, config = job, job.raw, job.bounds, job.config
        self._geometry = geometry_of(config)
        self.tiling = tiling_of(self._geometry)
        device = choose_device(config.model.device, worker) if has_weights(config) else "cpu"
        with errors_while_opening(device, self.tiling.tile, config.model.mode, is_smaller_in_exact(config)):
            self._open(device, task.fingerprint)
        self._errors = partial(errors_while_computing, device, task.grid.block_shape)

    def _open(self, device: str, fingerprint: Mapping[str, Any]) -> None:
        """Load the network, and have a GPU compute one tile."""
        config, geometry = self.job.config, self._geometry
        implementation = implementation_of(fingerprint)
        predictor = _load(config, device, implementation, fingerprint["model"])
        runs = padding_runs(implementation, geometry.margin) if has_weights(config) else None
        normalise = _normalising(config, fingerprint["normalisation"])
        network = TileNetwork(predictor, normalise, geometry.margin, len(geometry.neighbourhood), runs)
        self.blocks: HostBlocks | DeviceBlocks
        if computes_on_device(implementation, device):
            from fgnet.predictor import NetworkPredictor

            from fgnet_pipeline.stages.with_torch.device_blocks import DeviceBlocks

            assert isinstance(predictor, NetworkPredictor)  # models without weights compute on the host
            self.blocks, self.lanes = DeviceBlocks(self.tiling, predictor, network, self.volume), DEVICE_LANES
            use_threads(max(config.schedule.threads, DEVICE_LANES))
        else:
            self.blocks, self.lanes = HostBlocks(self.tiling, network, self.volume, config.model.batch), STAGE.lanes
        if device != "cpu":
            compute_one_tile(predictor)

    def load(self, block: Block) -> Any:
        """The raw voxels (z, y, x) that the tiles of the block need, where they are computed with."""
        reads = self.tiling.reads(block.write, self.volume)
        raw = self.raw.read(reads)
        with self._errors():
            return self.blocks.load(raw, reads.begin, block.write)

    def compute(self, block: Block, loaded: Any) -> Any:
        """Affinities of the write region, where they are computed."""
        with self._errors():
            return self.blocks.compute(loaded, block.write)

    def store(self, block: Block, computed: Any) -> Outcome:
        """Write the affinities: uint8 (C, z, y, x), value / 255 is the affinity."""
        with self._errors():
            affinities = self.blocks.finished(computed)
        return outcome_of_array(affinities, self.job.write_block("affinities", block, affinities))


def _normalising(config: Config, constants: Sequence[float]) -> Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]:
    """Raw voxels of any shape -> float32 as the network takes them."""
    from fgnet.normalise import apply

    shift, scale = constants
    return lambda raw: apply(to_grey(raw, config.volume.range), shift, scale)


STAGE = PredictStage()
