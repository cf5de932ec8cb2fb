"""``fgnet train``: labelled Zarr volumes in, weights with their geometry out.

The loop itself lives in ``fgnet.training`` and knows nothing of Zarr. Everything that is written lies in
``output.path``: the resolved configuration, ``last.pt`` (the state to resume from), ``log.jsonl`` (one line an
iteration), ``scores.jsonl`` (validation) and at the end ``weights.safetensors`` (averaged weights).
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from fgnet import Geometry, ModelError, normalise
from fgnet.config import NetworkConfig, preset
from fgnet.training.settings import LoopSettings
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from fgnet_pipeline.core.config_file import apply_override, input_error, read_toml
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.core.strict import Strict
from fgnet_pipeline.execution.processes.fork_server import server_with
from fgnet_pipeline.store.tissue_mask import Mask
from fgnet_pipeline.store.volume import Volume, open_volume

if TYPE_CHECKING:
    from fgnet.training.loop import Step, Trainer
    from fgnet.training.sampling import LabelledVolume

    from fgnet_pipeline.training.tensorboard import Board

logger = logging.getLogger(__name__)
Triple = tuple[int, int, int]
HeldOut = tuple[NDArray[np.float32], NDArray[np.int32], str]
#: Raw values that the normalisation constants are taken from: every n-th of the volume, at most about this many.
NORMALISATION_SAMPLES = 2_000_000
#: Of a volume with large sections at least so many are looked at.
FEWEST_SECTIONS = 8
ISOTROPY = 1.5
MOST_LOADERS = 16


class TrainingVolume(Strict):
    """One labelled volume, or a zyx box [begin, end) of it in voxels.

    weight: how often it is drawn. mask: array whose zeros are ignored like label 0, at any coarser or equal resolution.
    """

    raw: str
    labels: str
    begin: Triple = (0, 0, 0)
    end: Triple | None = None
    weight: Annotated[float, Field(gt=0)] = 1.0
    mask: Annotated[str | None, Field(exclude_if=lambda mask: mask is None)] = None


class Architecture(Strict):
    """Which network: a preset, how guides enter, and what to begin from.

    weights: exported ones of the same architecture, a shipped name or a file, to go on from. encoder_checkpoint: an
    official SAM 2.1 checkpoint.
    """

    preset: str = "nano"
    guidance: str = "fga"
    encoder_checkpoint: str | None = None
    weights: Annotated[str | None, Field(exclude_if=lambda weights: weights is None)] = None


class TileGeometry(Strict):
    """The geometry stated in the exported weights, in voxels and nm, zyx."""

    tile: Triple = (96, 96, 96)
    margin: Triple = (8, 8, 8)
    stride: Triple = (72, 72, 72)
    voxel_size: tuple[float, float, float] = (10.0, 10.0, 10.0)


class Export(Strict):
    """What is done to the averaged weights: see ``fgnet.training.checkpoints.sharpened``."""

    sharpness: Annotated[float, Field(gt=0)] = 1.0
    shift: float = 0.0


class DataConfig(Strict):
    """What to learn from, and what to be scored on."""

    volumes: Annotated[tuple[TrainingVolume, ...], Field(min_length=1)]
    validation: tuple[TrainingVolume, ...] = ()
    normalisation: Literal["robust", "range"] = "robust"


class TrainOutput(Strict):
    """Where, and how often.

    every, validate_every: iterations between two states, two validations (0 = never). tensorboard: also write its
    event files.
    """

    path: str
    every: Annotated[int, Field(gt=0)] = 100
    validate_every: Annotated[int, Field(ge=0)] = 0
    tensorboard: bool = False

    def validates_after(self, iteration: int) -> bool:
        return self.validate_every > 0 and iteration % self.validate_every == 0


class Machine(Strict):
    """device: cpu, cuda or auto; threads: of torch.

    loaders: processes that draw patches ahead of the training. Where it is left out: none on a CPU; beside a GPU its
    share of the processors, at most `MOST_LOADERS`.
    """

    device: str = "auto"
    threads: Annotated[int, Field(gt=0)] = 2
    loaders: Annotated[int | None, Field(ge=0)] = None

    def torch_device(self) -> str:
        """``auto`` resolved."""
        import torch

        return self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"

    def loading_processes(self) -> int:
        """``loaders``, or the default of the device."""
        if self.loaders is not None:
            return self.loaders
        share = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return 0 if self.torch_device() == "cpu" else min(MOST_LOADERS, max(1, share))


class TrainConfig(Strict):
    """A whole training. ``optimise`` holds the fields of ``fgnet.training.settings.LoopSettings``."""

    model: Architecture = Architecture()
    geometry: TileGeometry = TileGeometry()
    export: Export = Export()
    data: DataConfig
    optimise: LoopSettings
    output: TrainOutput
    machine: Machine = Machine()

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
        """Read a TOML file with ``section.key=value`` overrides; its relative paths are relative to the file.

        Raises:
            InputError: no such file, no TOML, an unknown key, a wrong type or range.
        """
        file = Path(path)
        tables = read_toml(file)
        _resolve(tables, file.resolve().parent)
        for override in overrides:
            apply_override(tables, override)
        return cls.validated(tables)

    @classmethod
    def validated(cls, tables: dict[str, Any]) -> TrainConfig:
        """Tables to a configuration; what is wrong with them becomes one InputError."""
        try:
            config = cls.model_validate_json(json.dumps(tables, default=str))
        except ValidationError as error:
            raise input_error(error) from error
        config.check()
        return config

    def check(self) -> None:
        """Raise InputError where the parts do not fit each other."""
        shapes = {"geometry.tile": self.geometry.tile}
        shapes |= {f"optimise.phases.{i}.patch": p.patch for i, p in enumerate(self.optimise.phases)}
        depth = int(np.prod([s[0] for s in self.network().fine.strides]))
        for field, shape in shapes.items():
            if shape[0] < depth or shape[0] % depth or any(n < 32 or n % 32 for n in shape[1:]):
                expected = f"z a multiple of {depth}, y and x multiples of 32"
                raise InputError(field, list(shape), expected, "round it up")
        if not self.optimise.phases or self.optimise.phases[0].begin != 0:
            raise InputError("optimise.phases", len(self.optimise.phases), "a first phase with begin = 0", "add it")
        if not self.optimise.cycles or list(self.optimise.cycles) != sorted(set(self.optimise.cycles)):
            expected = "rising iteration numbers, the last one the end"
            raise InputError("optimise.cycles", list(self.optimise.cycles), expected, "sort them")
        if not 1 <= self.optimise.ends <= len(self.optimise.cycles):
            expected = f"1 to the number of cycles, {len(self.optimise.cycles)}"
            raise InputError("optimise.ends", self.optimise.ends, expected, "lower it, or add cycles")
        self.exported_geometry()

    def network(self) -> NetworkConfig:
        """The architecture with its guidance."""
        try:
            return dataclasses.replace(preset(self.model.preset), guidance=self.model.guidance)
        except ModelError as error:
            raise _as_input_error(error) from error

    def exported_geometry(self) -> Geometry:
        """What the exported weights say of themselves."""
        g, network = self.geometry, self.network()
        try:
            return Geometry(
                g.tile, g.stride, g.margin, g.voxel_size, network.neighbourhood, network.name, self.data.normalisation
            )
        except ModelError as error:
            raise _as_input_error(error) from error


def _as_input_error(error: ModelError) -> InputError:
    return InputError(error.field, error.value, error.expected, error.remedy)


def _resolve(tables: dict[str, Any], base: Path) -> None:
    """Make the paths of a file absolute, in place."""
    entries = [(tables.get("output"), "path"), (tables.get("model"), "encoder_checkpoint")]
    model = tables.get("model")
    if isinstance(model, dict) and "/" in str(model.get("weights")):  # else a shipped name
        entries.append((model, "weights"))
    data = tables.get("data")
    if isinstance(data, dict):
        for name in ("volumes", "validation"):
            volumes = data.get(name, [])
            entries += [(v, key) for v in volumes if isinstance(v, dict) for key in ("raw", "labels", "mask")]
    for table, key in entries:
        if isinstance(table, dict) and isinstance(table.get(key), str) and "://" not in table[key]:
            table[key] = str((base / Path(table[key]).expanduser()).resolve())


def sampled_constants(volume: Volume, kind: str) -> tuple[float, float]:
    """Normalisation constants from evenly spaced sections of a whole volume."""
    z, y, x = volume.shape
    step = max(1, (z * y * x) // NORMALISATION_SAMPLES)
    sections = range(0, z, min(step, max(1, z // FEWEST_SECTIONS)))
    every = max(1, len(sections) * y * x // NORMALISATION_SAMPLES)
    values = [volume.read(Box((k, 0, 0), (k + 1, y, x))).ravel()[::every] for k in sections]
    return normalise.constants(np.concatenate(values), kind)


def read_pair(entry: TrainingVolume, field: str, kind: str) -> tuple[NDArray[np.float32], NDArray[np.int32], bool]:
    """(normalised raw, dense labels, isotropic) of the box of one volume.

    Raises:
        InputError: unreadable arrays, labels of another shape or offset than raw, an empty box or one without labels.
    """
    raw, labels = open_volume(entry.raw, f"{field}.raw"), open_volume(entry.labels, f"{field}.labels")
    if raw.shape != labels.shape:
        remedy = "give labels for the same voxels, or crop raw"
        raise InputError(f"{field}.labels", list(labels.shape), f"the shape of raw, {list(raw.shape)}", remedy)
    if raw.frame and labels.frame and raw.frame != labels.frame:
        expected = f"the voxel size and offset of raw, {raw.frame.voxel_size} and {raw.frame.offset} nm"
        found = f"{labels.frame.voxel_size} and {labels.frame.offset} nm"
        raise InputError(f"{field}.labels", found, expected, "correct the attributes, or crop")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{field}.labels", str(labels.dtype), "an integer dtype", "give ids, not affinities")
    box = Box(entry.begin, entry.end or raw.shape)
    if any(not 0 <= b < e <= n for b, e, n in zip(box.begin, box.end, raw.shape, strict=True)):
        raise InputError(f"{field}.end", list(box.end), f"a box inside {list(raw.shape)}", "correct begin and end")
    dense = dense_labels(_unmasked(labels.read(box), raw, entry, box, f"{field}.mask"))
    if not dense.any():
        raise InputError(f"{field}.labels", 0, "labelled voxels", "choose a box that has some")
    values = normalise.apply(raw.read(box), *sampled_constants(raw, kind))
    if not np.isfinite(values).all():
        raise InputError(f"{field}.raw", entry.raw, "finite values", "replace nan and infinity, or choose another box")
    size = raw.frame.voxel_size if raw.frame else (1.0, 1.0, 1.0)
    return values, dense, max(size) <= ISOTROPY * min(size)


def _unmasked(ids: NDArray[Any], raw: Volume, entry: TrainingVolume, box: Box, field: str) -> NDArray[Any]:
    """Labels of a box of raw, 0 where the mask is. Raises InputError where it cannot be placed."""
    if entry.mask is None:
        return ids
    if raw.frame is None:
        expected = "raw with voxel_size and offset attributes, which place the mask"
        raise InputError(field, entry.mask, expected, "add them to raw")
    mask = Mask(open_volume(entry.mask, field), raw.frame, field)
    return np.where(mask.read(box), ids, ids.dtype.type(0))


def dense_labels(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Ids renumbered 1.. in their order, 0 kept: the sampler needs them below 2**24."""
    ids, index = np.unique(labels, return_inverse=True)
    first = 0 if len(ids) and ids[0] == 0 else 1
    return (index.reshape(labels.shape) + first).astype(np.int32)


def load_volumes(config: TrainConfig) -> list[LabelledVolume]:
    """Every training volume in memory."""
    import torch
    from fgnet.training.sampling import LabelledVolume

    volumes = []
    for i, entry in enumerate(config.data.volumes):
        raw, labels, isotropic = read_pair(entry, f"data.volumes.{i}", config.data.normalisation)
        volumes.append(LabelledVolume(torch.from_numpy(raw), torch.from_numpy(labels), entry.weight, isotropic))
    return volumes


def make_trainer(config: TrainConfig) -> Trainer:
    """Data, network and optimiser, on the configured device with the configured threads."""
    import torch
    from fgnet.encoder import load_official
    from fgnet.training.checkpoints import begin_from
    from fgnet.training.distributed import join
    from fgnet.training.loop import Trainer

    torch.set_num_threads(config.machine.threads)
    crew, device = join(config.machine.torch_device())
    torch.backends.cudnn.benchmark = True  # shapes change with the phase alone
    loaders = config.machine.loading_processes()
    if loaders:
        server_with(["fgnet.training.batches"])
    trainer = Trainer(config.network(), config.optimise, load_volumes(config), device, crew, loaders=loaders)
    if config.model.weights is not None:
        begin_from(trainer.network, config.model.weights)
        trainer.reset_average()
    if config.model.encoder_checkpoint is not None:
        load_official(trainer.network.encoder, Path(config.model.encoder_checkpoint))
        trainer.reset_average()
    return trainer


def train(config: TrainConfig, progress: Callable[[Step], None] | None = None) -> Path:
    """Train to the end, resuming what ``output.path`` holds; returns the path of the exported weights.

    Raises:
        InputError: data or settings that do not fit, a state of another network, a loss that is not finite; what was
            written before stays as it is.
    """
    from fgnet.training.checkpoints import export, write_whole
    from fgnet.training.distributed import leave
    from fgnet.training.loop import resume, run, truncate

    folder = Path(config.output.path)
    try:
        trainer = make_trainer(config)
        held_out = load_validation(config)
        check_board(config)
        resume(trainer, folder)  # what cannot be resumed is refused before anything is written
        if trainer.crew.leads:
            write_whole(folder / "config.json", config.model_dump_json(indent=1).encode())
            truncate(folder / "scores.jsonl", trainer.iteration + 1)
        board = make_board(config, folder, trainer)

        def after_step(step: Step) -> None:
            if progress is not None:
                progress(step)
            if board is not None:
                board.step(step)
                if trainer.iteration % config.output.every == 0:
                    board.picture(trainer)
            if held_out and config.output.validates_after(trainer.iteration):
                record_scores(trainer, config, held_out, folder / "scores.jsonl", board)

        run(trainer, folder, config.output.every, after_step)
        if board is not None:
            board.close()
        weights = folder / "weights.safetensors"
        if not trainer.crew.leads:
            return weights
        export(weights, trainer.network, exported_weights(trainer, config), config.exported_geometry())
    except ModelError as error:
        raise _as_input_error(error) from error
    finally:
        leave()
    write_whole(folder / "summary.json", json.dumps(_summary(trainer)).encode())
    logger.info("weights: %s", weights)
    return weights


def check_board(config: TrainConfig) -> None:
    """Raise InputError where TensorBoard is wanted and not installed."""
    if config.output.tensorboard and importlib.util.find_spec("tensorboard") is None:
        remedy = "pip install 'fgnet-pipeline[tensorboard]', or leave the option out"
        raise InputError("output.tensorboard", True, "the package tensorboard", remedy)


def make_board(config: TrainConfig, folder: Path, trainer: Trainer) -> Board | None:
    """TensorBoard's event files, where they are wanted and by the first process alone."""
    if not (config.output.tensorboard and trainer.crew.leads):
        return None
    from fgnet_pipeline.training.tensorboard import Board

    return Board(folder / "tensorboard", trainer.iteration)


def load_validation(config: TrainConfig) -> list[HeldOut]:
    """(normalised raw, labels, method of the watershed) of every validation box."""
    pairs = []
    for i, entry in enumerate(config.data.validation):
        raw, labels, isotropic = read_pair(entry, f"data.validation.{i}", config.data.normalisation)
        pairs.append((raw, labels, "volume" if isotropic else "sections"))
    return pairs


def record_scores(
    trainer: Trainer, config: TrainConfig, held_out: Sequence[HeldOut], path: Path, board: Board | None = None
) -> None:
    """Append one line to `path`: the scores of the averaged weights on every held-out box, and their plateau."""
    from fgnet.predictor import NetworkPredictor

    from fgnet_pipeline.training.validation import plateau, predict_alone, score_affinities

    geometry = config.exported_geometry()
    threads = config.machine.threads
    network = trainer.averaged_network()
    network.load_state_dict(exported_weights(trainer, config))
    predictor = NetworkPredictor(network, geometry, "exact", str(trainer.device), threads)
    curves = []
    for raw, labels, method in held_out:
        curves.append(score_affinities(predict_alone(raw, geometry, predictor), labels, method))
    threshold, voi_sum = plateau(curves)
    logger.info("iteration %d: VOI sum %.3f at threshold %.2f", trainer.iteration, voi_sum, threshold)
    if board is not None:
        board.scores(trainer.iteration, curves, threshold)
    line = {
        "iteration": trainer.iteration,
        "threshold": threshold,
        "voi_sum": voi_sum,
        "curves": [[s.to_dict() for s in curve] for curve in curves],
    }
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def exported_weights(trainer: Trainer, config: TrainConfig) -> dict[str, Any]:
    """The averaged weights (at the end, the mean of those of the last cycles), sharpened as configured."""
    from fgnet.training.checkpoints import sharpened

    return sharpened(trainer.result(), config.export.sharpness, config.export.shift)


def _summary(trainer: Trainer) -> dict[str, Any]:
    parameters = sum(p.numel() for p in trainer.network.parameters())
    return {"iterations": trainer.iteration, "seconds": round(trainer.seconds, 1), "parameters": parameters}


def write_preview(config: TrainConfig, path: Path, count: int = 6) -> None:
    """A PNG of `count` augmented patches, one a row: raw, labels and affinity targets of a middle section."""
    from fgnet_pipeline.training.preview import draw_preview

    draw_preview(load_volumes(config), config.optimise, config.network(), path, count)
