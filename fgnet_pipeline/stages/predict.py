"""Stage 1: raw -> affinities. The only room of the pipeline that uses the model package besides training."""

from __future__ import annotations

import contextlib
from typing import Any

import fgnet
import fgnet.normalise
import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, vector
from fgnet_pipeline.core.plan import differences
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.kernels.tiling import Tiling, to_uint8
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.stage import Outcome, outcome_of_array
from fgnet_pipeline.store.arrays import storage_shapes
from fgnet_pipeline.store.input_identity import identity, sample
from fgnet_pipeline.store.volume import Frame

FORMAT = 1
#: A voxel size fits a model within this fraction an axis.
VOXEL_SIZE_TOLERANCE = 0.2


def describe_model(config: Config, frame: Frame) -> fgnet.Geometry:
    """The geometry of the configured model, checked against the voxel size; torch is not needed.

    Raises:
        InputError: no such checkpoint, not one of ours, or a voxel size that it was not trained for.
    """
    try:
        geometry = fgnet.read_geometry(config.model.checkpoint, config.model.mode)
    except fgnet.ModelError as error:
        raise InputError(error.field, error.value, error.expected, error.remedy) from error
    ratio = np.divide(frame.voxel_size, geometry.voxel_size)
    fits = (np.abs(ratio - 1) <= VOXEL_SIZE_TOLERANCE + 1e-9).all()
    if not (fits or config.model.any_voxel_size or geometry.any_voxel_size):
        raise InputError(
            "volume.voxel_size",
            list(frame.voxel_size),
            f"{list(geometry.voxel_size)} nm within 20 % an axis, for which {config.model.checkpoint} was trained",
            "use another model or level of the volume, or set model.any_voxel_size=true",
        )
    return geometry


def tiling_of(geometry: fgnet.Geometry) -> Tiling:
    return Tiling(geometry.tile, geometry.stride, geometry.margin)


def plan_task(job: Job, stored: dict[str, Any] | None) -> Task:
    """The predict task; ``stored`` is the fingerprint of earlier results, whose normalisation is kept."""
    assert job.raw is not None  # open_job
    config = job.config
    geometry = describe_model(config, job.frame)
    block = config.schedule.block_shape_of("predict")
    shard, chunk = storage_shapes(block, config.output.shard_shape, config.output.chunk_shape, "predict")
    values = sample(job.raw.shape, job.raw.read, "volume.path")
    volume = identity(job.raw.shape, values)
    fingerprint = {
        "format": FORMAT,
        "block_shape": list(block),
        "shard_shape": list(shard),
        "chunk_shape": list(chunk),
        "volume": volume,
        "range": list(config.volume.range) if config.volume.range else None,
        "model": fgnet.checkpoint_digest(config.model.checkpoint),
        "mode": config.model.mode,
        "threads": config.schedule.threads,
        "neighbourhood": [list(o) for o in geometry.neighbourhood],
        "context": list(tiling_of(geometry).context),
    }
    fingerprint["normalisation"] = _normalisation(job, geometry, values, stored, volume)
    context = tiling_of(geometry).context
    return Task("predict", "predict", Grid(block), context, context, job.bounds, (), fingerprint)


def stored_differences(job: Job, stored: dict[str, Any]) -> list[str]:
    """What tells the configuration from the one that made the stored affinities; torch is not needed."""
    wanted: dict[str, Any] = {"range": _listed(job.config.volume.range), "mode": job.config.model.mode}
    if job.raw is not None:
        wanted["volume"] = identity(job.raw.shape, sample(job.raw.shape, job.raw.read, "volume.path"))
    with contextlib.suppress(fgnet.ModelError):  # a machine that only agglomerates may have no checkpoint
        wanted["model"] = fgnet.checkpoint_digest(job.config.model.checkpoint)
    return differences({key: stored.get(key) for key in wanted}, wanted)


def stored_task(job: Job, fingerprint: dict[str, Any]) -> Task:
    """The predict task that made the stored affinities: no checkpoint, no torch and no raw voxels needed."""
    context = vector(fingerprint["context"])
    block = vector(fingerprint["block_shape"])
    return Task("predict", "predict", Grid(block), context, context, job.bounds, (), fingerprint)


def tiles_computed(job: Job) -> dict[str, Any] | None:
    """How many tiles all blocks of the region of interest compute together, and how many there are; the mask is not
    looked at. None where the checkpoint is not here."""
    try:
        tiling = tiling_of(fgnet.read_geometry(job.config.model.checkpoint, job.config.model.mode))
    except fgnet.ModelError:
        return None
    blocks, grid = job.plan.blocks("predict"), job.plan.tasks["predict"].grid
    computed, needed = 1, 1
    for axis in range(3):
        parts = [grid.box(vector([i] * 3)).intersect(job.roi) for i in range(blocks.begin[axis], blocks.end[axis])]
        computed *= sum(_tiles_along(tiling, axis, part, job.bounds) for part in parts)
        needed *= _tiles_along(tiling, axis, job.roi, job.bounds)
    return {"shape": list(tiling.tile), "stride": list(tiling.stride), "computed": computed, "needed": needed}


def _tiles_along(tiling: Tiling, axis: int, box: Box, bounds: Box) -> int:
    """Tiles that touch ``box``, counted along one axis."""
    begin, end = [0, 0, 0], [1, 1, 1]
    begin[axis], end[axis] = box.begin[axis], box.end[axis]
    return len({tile.begin[axis] for tile in tiling.tiles(Box(vector(begin), vector(end)), bounds)})


def _normalisation(
    job: Job, geometry: fgnet.Geometry, values: npt.NDArray[Any], stored: dict[str, Any] | None, volume: dict[str, Any]
) -> list[float]:
    if job.config.model.normalisation is not None:
        return list(job.config.model.normalisation)
    if (
        stored is not None
        and stored.get("volume") == volume
        and stored.get("range") == _listed(job.config.volume.range)
    ):
        return [float(v) for v in stored["normalisation"]]
    shift, scale = fgnet.normalise.constants(to_grey(values, job.config.volume.range), geometry.normalisation)
    return [float(shift), float(scale)]


def _listed(values: tuple[float, float] | None) -> list[float] | None:
    return list(values) if values else None


def to_grey(raw: npt.NDArray[Any], limits: tuple[float, float] | None) -> npt.NDArray[np.float32]:
    """Raw values on the model's scale of grey, 0..255: ``limits`` (black, white) are spread over it and clipped."""
    if limits is None:
        return raw.astype(np.float32)
    black, white = limits
    return np.clip((raw.astype(np.float32) - black) * np.float32(255 / (white - black)), 0, 255)


def choose_device(wanted: str, worker: int) -> str:
    """``auto``, ``cpu`` or ``cuda`` to a torch device; worker i takes GPU i modulo their number."""
    if wanted == "cpu":
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        if wanted == "cuda":
            raise InputError("model.device", "cuda", "a CUDA device that torch can see", "use model.device=auto or cpu")
        return "cpu"
    return f"cuda:{worker % count}"


def check_device(config: Config) -> None:
    """See that the configured device exists; torch is needed where one is named. InputError where there is none."""
    if config.model.device != "auto":
        choose_device(config.model.device, 0)


def check_model(config: Config) -> None:
    """Load the configured model on the CPU.

    Raises:
        InputError: keys or shapes of the checkpoint that differ from the network's.
    """
    try:
        fgnet.load_predictor(config.model.checkpoint, mode=config.model.mode, threads=config.schedule.threads)
    except fgnet.ModelError as error:
        raise InputError(error.field, error.value, error.expected, error.remedy) from error


class Predict:
    """The predict stage in one worker: the model is loaded once."""

    def __init__(self, job: Job, worker: int = 0) -> None:
        assert job.raw is not None  # open_job
        self.job, self.raw, self.volume = job, job.raw, job.bounds
        task = job.plan.tasks["predict"]
        self.fingerprint = dict(task.fingerprint)
        config = job.config
        geometry = fgnet.read_geometry(config.model.checkpoint, config.model.mode)
        self.tiling, self.channels = tiling_of(geometry), len(geometry.neighbourhood)
        self.network = fgnet.load_predictor(
            config.model.checkpoint,
            mode=config.model.mode,
            device=choose_device(config.model.device, worker),
            threads=config.schedule.threads,
            expect_sha256=self.fingerprint["model"],
        )

    def load(self, block: Vector) -> npt.NDArray[Any]:
        return self.raw.read(self._reads(block))

    def _reads(self, block: Vector) -> Box:
        return self.tiling.reads(self.job.plan.write_box("predict", block), self.volume)

    def compute(self, block: Vector, loaded: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        shift, scale = self.fingerprint["normalisation"]
        normalised = fgnet.normalise.apply(to_grey(loaded, self.job.config.volume.range), shift, scale)
        box = self.job.plan.write_box("predict", block)
        affinities = self.tiling.predict(
            normalised,
            self._reads(block).begin,
            self.volume,
            box,
            self.network,
            self.channels,
            self.job.config.model.batch,
        )
        return to_uint8(affinities)

    def store(self, block: Vector, computed: npt.NDArray[np.uint8]) -> Outcome:
        whole_block = self.job.plan.tasks["predict"].grid.box(block)
        written = self.job.plan.write_box("predict", block)
        return outcome_of_array(computed, self.job.write_block("affinities", whole_block, written, computed))
