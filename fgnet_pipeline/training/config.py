"""The configuration of a training: strict and frozen, one class per table of the TOML file.

`fgnet.training.settings.LoopSettings` holds the table `[optimise]`. Importing this module does not import torch.
docs/reference/training-configuration.md lists every key.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fgnet import Geometry, ModelError
from fgnet.config import NetworkConfig, preset
from fgnet.training.settings import LoopSettings
from pydantic import Field, ValidationError

from fgnet_pipeline.core.config_file import apply_override, input_error
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.strict import Strict
from fgnet_pipeline.core.toml_file import read_toml
from fgnet_pipeline.core.user_paths import absolute_path
from fgnet_pipeline.training.model_errors import as_input_error

Triple = tuple[int, int, int]
#: What a path begins with that names an array of a sample, as `sample:fib25/raw`.
SAMPLE = "sample:"
#: The encoder halves y and x five times.
IN_PLANE_MULTIPLE = 32
MOST_LOADERS = 16
#: A window of less holds no neighbour.
LEAST_SIGMA = 0.5


class TrainingVolume(Strict):
    """One labelled volume, or a box of it.

    Attributes:
        raw: path of a Zarr array (z, y, x). `sample:fib25/raw` names an array of the demo's sample.
        labels: path of a Zarr array of integers in the same voxel grid, 0 = ignored.
        begin: zyx in voxels, the first voxel of the box.
        end: zyx in voxels, behind the last voxel of the box; None for the end of the volume.
        weight: how often patches are drawn from it, relative to the other volumes.
        mask: path of an array whose zeros are ignored as label 0 is, at any coarser or equal resolution.
    """

    raw: str
    labels: str
    begin: Triple = (0, 0, 0)
    end: Triple | None = None
    weight: Annotated[float, Field(gt=0)] = 1.0
    mask: Annotated[str | None, Field(exclude_if=lambda mask: mask is None)] = None


class Architecture(Strict):
    """Which network, and what it begins from.

    Attributes:
        preset: a name of `fgnet.config.PRESETS`.
        guidance: how guides enter the fine encoder, one of `fgnet.config.GUIDANCE`.
        encoder_checkpoint: path of an official SAM 2.1 checkpoint, whose image encoder is the first one.
        weights: exported weights of the same architecture to go on from, a shipped name or a path.
    """

    preset: str = "nano"
    guidance: str = "fga"
    encoder_checkpoint: str | None = None
    weights: Annotated[str | None, Field(exclude_if=lambda weights: weights is None)] = None


class TileGeometry(Strict):
    """The geometry stated in the exported weights: zyx in voxels, `voxel_size` in nm. See `fgnet.Geometry`."""

    tile: Triple = (96, 96, 96)
    margin: Triple = (8, 8, 8)
    stride: Triple = (72, 72, 72)
    voxel_size: tuple[float, float, float] = (10.0, 10.0, 10.0)


class Export(Strict):
    """Changes to the averaged weights before they are written, and the header that they carry.

    Attributes:
        sharpness: see `fgnet.training.checkpoints.sharpened`.
        shift: see there.
        fragments: values of `[fragments]` that the weights recommend for a run.
        agglomerate: values of `[agglomerate]` that the weights recommend for a run.
    """

    sharpness: Annotated[float, Field(gt=0)] = 1.0
    shift: float = 0.0
    fragments: Annotated[dict[str, Any] | None, Field(exclude_if=lambda table: table is None)] = None
    agglomerate: Annotated[dict[str, Any] | None, Field(exclude_if=lambda table: table is None)] = None

    @property
    def recommended(self) -> dict[str, dict[str, Any]]:
        """The tables that hold values."""
        tables = {"fragments": self.fragments, "agglomerate": self.agglomerate}
        return {name: table for name, table in tables.items() if table}


class DataConfig(Strict):
    """What to learn from, and what to be scored on.

    Attributes:
        volumes: to learn from.
        validation: to be scored on.
        normalisation: see `fgnet.normalise`.
        zero: what label 0 is: voxels without label, or membranes, which are filled from both sides. None: per volume
            what its labels look like, see `fgnet_pipeline.training.zero_labels`.
    """

    volumes: Annotated[tuple[TrainingVolume, ...], Field(min_length=1)]
    validation: tuple[TrainingVolume, ...] = ()
    normalisation: Literal["robust", "range"] = "robust"
    zero: Annotated[Literal["ignore", "membrane"] | None, Field(exclude_if=lambda zero: zero is None)] = None


class TrainOutput(Strict):
    """Where results are written, and how often.

    Attributes:
        path: the folder.
        every: iterations between two states to resume from.
        validate_every: iterations between two validations, 0 = only at the end.
        tensorboard: also write event files for TensorBoard.
    """

    path: str
    every: Annotated[int, Field(gt=0)] = 100
    validate_every: Annotated[int, Field(ge=0)] = 0
    tensorboard: bool = False

    def validates_after(self, iteration: int) -> bool:
        """True if a validation follows the iteration of this number, counted from 1."""
        return self.validate_every > 0 and iteration % self.validate_every == 0


class Machine(Strict):
    """The devices and processes that the training runs on.

    Attributes:
        device: as torch names it, or `auto`: a GPU if torch sees one.
        threads: of torch, per process.
        loaders: processes that draw patches ahead of the training. None: no process on a CPU; beside a GPU this
            process's share of the processors, at most `MOST_LOADERS`.
    """

    device: str = "auto"
    threads: Annotated[int, Field(gt=0)] = 2
    loaders: Annotated[int | None, Field(ge=0)] = None

    def torch_device(self) -> str:
        """`device`, with `auto` resolved."""
        import torch

        return self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"

    def loading_processes(self) -> int:
        """`loaders`, or the default of the device."""
        if self.loaders is not None:
            return self.loaders
        share = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return 0 if self.torch_device() == "cpu" else min(MOST_LOADERS, max(1, share))


class TrainConfig(Strict):
    """A whole training."""

    model: Architecture = Architecture()
    geometry: TileGeometry = TileGeometry()
    export: Export = Export()
    data: DataConfig
    optimise: LoopSettings
    output: TrainOutput
    machine: Machine = Machine()

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
        """Read a TOML file, apply `section.key=value` overrides and validate.

        Relative paths in the file are relative to the file.

        Raises:
            InputError: no such file, no TOML, an unknown key, a wrong type or range.
        """
        file = Path(path)
        tables = read_toml(file)
        make_paths_absolute(tables, file.resolve().parent)
        for override in overrides:
            apply_override(tables, override, cls)
        return cls.validated(tables)

    @classmethod
    def validated(cls, tables: dict[str, Any]) -> TrainConfig:
        """The configuration that `tables` hold; what is wrong with them becomes one InputError."""
        try:
            config = cls.model_validate_json(json.dumps(tables, default=str))
        except ValidationError as error:
            raise input_error(error, cls) from error
        config.check()
        return config

    def check(self) -> None:
        """Raise InputError if values are out of range or do not fit each other."""
        self._check_shapes()
        self._check_schedule()
        self._check_descriptors()
        self.exported_geometry()
        self._check_recommended()
        try:
            self.optimise.augment.check()
        except ModelError as error:
            raise as_input_error(error) from error

    def _check_shapes(self) -> None:
        """The network halves its input some times, so tiles and patches must be divisible."""
        shapes = {"geometry.tile": self.geometry.tile}
        shapes |= {f"optimise.phases.{i}.patch": p.patch for i, p in enumerate(self.optimise.phases)}
        depth = math.prod(s[0] for s in self.network().fine.strides)
        for field, shape in shapes.items():
            in_plane = all(n >= IN_PLANE_MULTIPLE and n % IN_PLANE_MULTIPLE == 0 for n in shape[1:])
            if shape[0] < depth or shape[0] % depth or not in_plane:
                expected = f"z a multiple of {depth}, y and x multiples of {IN_PLANE_MULTIPLE}"
                raise InputError(field, list(shape), expected, "round it up")

    def _check_schedule(self) -> None:
        """Phases and cycles must cover the training from its first iteration to its last one."""
        optimise = self.optimise
        if optimise.phases and optimise.phases[0].begin != 0:
            raise InputError("optimise.phases", len(optimise.phases), "a first phase with begin = 0", "add it")
        if not optimise.cycles or list(optimise.cycles) != sorted(set(optimise.cycles)):
            expected = "rising iteration numbers, the last one the end"
            raise InputError("optimise.cycles", list(optimise.cycles), expected, "sort them")
        if not 1 <= optimise.ends <= len(optimise.cycles):
            expected = f"1 to the number of cycles, {len(optimise.cycles)}"
            raise InputError("optimise.ends", optimise.ends, expected, "lower it, or add cycles")

    def _check_descriptors(self) -> None:
        optimise = self.optimise
        if optimise.lsd_weight < 0:
            raise InputError("optimise.lsd_weight", optimise.lsd_weight, "0 or more", "raise it, or leave it out")
        if min(optimise.lsd_sigma) < LEAST_SIGMA:
            expected = f"{LEAST_SIGMA} voxels or more along each axis"
            raise InputError("optimise.lsd_sigma", list(optimise.lsd_sigma), expected, "raise it, or leave it out")

    def _check_recommended(self) -> None:
        """Recommended values must be such that a run accepts them."""
        if self.export.recommended:
            from fgnet_pipeline.stages.recommended import check_recommended  # compiled kernels, which few need

            try:
                check_recommended(self.export.recommended)
            except InputError as error:
                raise InputError(f"export.{error.field}", error.value, error.expected, error.remedy) from error

    def network(self) -> NetworkConfig:
        """The architecture with its guidance."""
        try:
            chosen = preset(self.model.preset)
            return dataclasses.replace(chosen, guidance=self.model.guidance, descriptors=self.optimise.lsd_weight > 0)
        except ModelError as error:
            raise as_input_error(error) from error

    def exported_geometry(self) -> Geometry:
        """The header that the exported weights carry."""
        g, network = self.geometry, self.network()
        try:
            return Geometry(
                g.tile, g.stride, g.margin, g.voxel_size, network.neighbourhood, network.name, self.data.normalisation
            )
        except ModelError as error:
            raise as_input_error(error) from error


def make_paths_absolute(tables: dict[str, Any], base: Path) -> None:
    """Make the paths in the tables of a file absolute, in place; `base` is the file's folder."""
    entries = [("output.path", tables.get("output")), ("model.encoder_checkpoint", tables.get("model"))]
    model = tables.get("model")
    if isinstance(model, dict) and "/" in str(model.get("weights")):  # else a shipped name
        entries.append(("model.weights", model))
    data = tables.get("data")
    if isinstance(data, dict):
        for name in ("volumes", "validation"):
            volumes = data.get(name, [])
            for i, volume in enumerate(volumes if isinstance(volumes, list) else []):
                entries += [(f"data.{name}.{i}.{key}", volume) for key in ("raw", "labels", "mask")]
    for field, table in entries:
        key = field.rpartition(".")[2]
        named = isinstance(table, dict) and str(table.get(key)).startswith(SAMPLE)
        if isinstance(table, dict) and isinstance(table.get(key), str) and "://" not in table[key] and not named:
            table[key] = absolute_path(table[key], base, field)
