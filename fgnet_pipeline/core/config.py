"""The configuration: strict and frozen, with the defaults of its keys.

A file has the tables `[volume] [output] [model] [affinities] [fragments] [edges] [agglomerate] [schedule]`.
docs/reference/configuration.md explains every key.

This file lists no stages, fragments methods or scores. The caller that validates a configuration passes `Choices`,
which `fgnet_pipeline.stages.configuration` makes from the registries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, model_validator

from fgnet_pipeline.core.cluster_config import ClusterTables
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.known_keys import unknown_key
from fgnet_pipeline.core.strict import Strict
from fgnet_pipeline.core.suggestions import closest, unknown_choice

MINIMUM_BLOCK = 16
BlockShape = Annotated[tuple[int, int, int], Field(description=f"voxels, zyx, each at least {MINIMUM_BLOCK}")]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
StorageShape = tuple[Positive, Positive, Positive]
Size3 = tuple[float, float, float]
#: Object stores that arrays can be written to.
WRITABLE_SCHEMES = ("s3://",)


@dataclass(frozen=True)
class Choices:
    """The names that a configuration may use beside the keys of this file.

    Attributes:
        stages: names of the stages that may have a table in `[schedule]`, in the order of the data flow.
        fragments_methods: per name of a method, a function that checks the method's own keys in `[fragments]`; it
            raises InputError.
        scores: per name of a score, a function that checks the rest of the configuration; it raises InputError.
    """

    stages: tuple[str, ...]
    fragments_methods: Mapping[str, Callable[[Mapping[str, Any]], object]]
    scores: Mapping[str, Callable[[Config], None]]


def _choices(info: ValidationInfo) -> Choices | None:
    """The `Choices` of this validation. None while a table is built from its defaults, which needs no choices."""
    return info.context if isinstance(info.context, Choices) else None


def _require_known(found: str, known: tuple[str, ...], field: str) -> None:
    if found not in known:
        raise unknown_choice(field, found, known)


class VolumeConfig(Strict):
    """The table `[volume]`: the raw volume, its place in the world, the region of interest and the mask."""

    path: str | None = None
    voxel_size: Annotated[Size3, Field(description="nm, zyx")] | None = None
    offset: Annotated[Size3, Field(description="nm, zyx")] | None = None
    axes: tuple[str, ...] | None = None
    roi: Annotated[tuple[Size3, Size3], Field(description="[begin, end) in nm, zyx")] | None = None
    mask: str | None = None
    range: Annotated[tuple[float, float], Field(description="raw values shown as black and white")] | None = None


class OutputConfig(Strict):
    """The table `[output]`: the Zarr v3 group of all results. In an object store, `state` holds all but the arrays."""

    path: str
    state: str | None = None
    chunk_shape: StorageShape | None = None
    shard_shape: StorageShape | None = None

    @model_validator(mode="after")
    def _state_is_a_folder_of_its_own(self) -> OutputConfig:
        if is_url(self.path) and not self.path.startswith(WRITABLE_SCHEMES):
            raise InputError("output.path", self.path, "a folder or s3://...", "choose another output.path")
        if is_url(self.path) and self.state is None:
            raise InputError(
                "output.state",
                None,
                "a folder for tables, records and logs, since output.path is an object store",
                "set output.state to a folder that all workers share",
            )
        if self.state is not None and (is_url(self.state) or not is_url(self.path)):
            raise InputError(
                "output.state",
                self.state,
                "a folder, and only if output.path is an object store",
                "name a folder" if is_url(self.state) else "leave output.state out",
            )
        return self


class ModelConfig(Strict):
    """The table `[model]`: the network. `normalisation` is (shift, scale) of grey values; None: it is measured."""

    checkpoint: str = "nano-fib25"
    mode: Literal["reference", "exact", "fast"] = "exact"
    any_voxel_size: bool = False
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda)$")] = "auto"
    batch: Annotated[int, Field(ge=1)] = 1
    normalisation: tuple[float, float] | None = None


class AffinitiesConfig(Strict):
    """The table `[affinities]`: the lab's own affinities instead of predicted ones. `channels` chooses some of them."""

    path: str | None = None
    channels: Annotated[tuple[NotNegative, ...], Field(min_length=3, description="indices of channels")] | None = None


class FragmentsConfig(Strict):
    """The table `[fragments]`: a watershed, or the lab's own fragments. A method may add keys of its own."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any] = Field(init=False)

    path: str | None = None
    method: str = "volume"
    context: (
        Annotated[tuple[NotNegative, NotNegative, NotNegative], Field(description="voxels read around a block, zyx")]
        | None
    ) = None
    boundary_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    min_seed_distance: Annotated[int, Field(ge=1)] = 5

    @model_validator(mode="after")
    def _method_is_known(self, info: ValidationInfo) -> FragmentsConfig:
        if (choices := _choices(info)) is None:
            return self
        _require_known(self.method, tuple(choices.fragments_methods), "fragments.method")
        try:
            choices.fragments_methods[self.method](self.method_options)
        except InputError as error:
            if (near := closest(error.field.rpartition(".")[2], type(self).model_fields)) is None:
                raise
            raise InputError(error.field, error.value, error.expected, f"did you mean fragments.{near}?") from error
        return self

    @property
    def method_options(self) -> dict[str, Any]:
        """The method's own keys, if the configuration sets them. Keys that it leaves out are missing here."""
        return dict(self.__pydantic_extra__)


class EdgesConfig(Strict):
    """The table `[edges]`. `histogram` keeps 256 bins of affinities per edge; None: only if the score needs them."""

    histogram: bool | None = None


class AgglomerateConfig(Strict):
    """The table `[agglomerate]`. `leaf_blocks` counts the blocks of a leaf of the octree per axis."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    leaf_blocks: Annotated[int, Field(ge=1)] = 4
    score: str = "mean"
    quantile: Annotated[float, Field(ge=0, lt=1, description="with score = quantile; 0.85 if unset")] | None = None
    min_contact: Annotated[int, Field(ge=1, description="faces; smaller contacts of fragments are ignored")] = 1
    max_segment_voxels: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _score_is_known(self, info: ValidationInfo) -> AgglomerateConfig:
        if (choices := _choices(info)) is not None:
            _require_known(self.score, tuple(choices.scores), "agglomerate.score")
        return self

    @model_validator(mode="after")
    def _has_no_largest_segment(self) -> AgglomerateConfig:
        if self.max_segment_voxels is not None:
            raise InputError(
                "agglomerate.max_segment_voxels",
                self.max_segment_voxels,
                "no value: this version cannot limit segments, because nodes of the octree do not know the sizes of "
                "clusters that other nodes made (docs/decisions/guards.md)",
                "leave it out; agglomerate.min_contact and a higher agglomerate.threshold guard against mergers",
            )
        return self


class StageSchedule(Strict):
    """The table `[schedule.STAGE]`: values that one stage overrides."""

    workers: Annotated[int, Field(ge=1)] | None = None
    block_shape: BlockShape | None = None


class ScheduleConfig(ClusterTables):
    """The table `[schedule]`: how the work is divided and run.

    Every stage may have a table of its own, `[schedule.STAGE]`. `workers` is a total over all stages; 0 runs serially
    in this process.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, StageSchedule] = Field(init=False)

    workers: Annotated[int, Field(ge=0)] = 2
    block_shape: BlockShape = (128, 128, 128)
    threads: Annotated[int, Field(ge=1)] = 1
    block_timeout: Annotated[float, Field(gt=0, description="seconds after which a block's worker is ended")] = 14400.0
    retries: Annotated[int, Field(ge=0)] = 2

    @classmethod
    def check_keys(cls, tables: Any, choices: Choices) -> None:
        """Refuse a key of `[schedule]` that is unknown and names no stage.

        Pydantic would take every unknown key for the table of a stage. So this check runs before pydantic.

        Args:
            tables: the table `[schedule]` as it was read, of any type.
            choices: has the stages that may have a table.

        Raises:
            InputError: a key is unknown; the error names the first one.
        """
        for key in tables if isinstance(tables, dict) else ():
            if key not in cls.model_fields and key not in choices.stages:
                raise unknown_key(Config, ("schedule", key), tables[key], choices.stages)
        if isinstance(tables, dict):
            cls.check_cluster_keys(tables, choices.stages)

    @model_validator(mode="after")
    def _cluster_has_workers(self) -> ScheduleConfig:
        if not self.is_local and self.workers == 0:
            raise InputError("schedule.workers", 0, f"at least 1 with schedule.backend={self.backend}",
                             "set schedule.workers, or schedule.backend=local to run serially")  # fmt: skip
        return self

    def of(self, stage: str) -> StageSchedule:
        """The table of `stage`; a table without values if there is none."""
        return self.__pydantic_extra__.get(stage, StageSchedule())

    def block_shape_of(self, stage: str) -> Vector:
        """The block shape of `stage`, in voxels, zyx."""
        return self.of(stage).block_shape or self.block_shape

    def workers_of(self, stage: str) -> int:
        """The number of worker processes for `stage`."""
        return self.of(stage).workers or self.workers


class Config(Strict):
    """The whole configuration, one attribute per table."""

    volume: VolumeConfig = VolumeConfig()
    output: OutputConfig
    model: ModelConfig = ModelConfig()
    affinities: AffinitiesConfig = AffinitiesConfig()
    fragments: FragmentsConfig = FragmentsConfig()
    edges: EdgesConfig = EdgesConfig()
    agglomerate: AgglomerateConfig = AgglomerateConfig()
    schedule: ScheduleConfig = ScheduleConfig()

    @model_validator(mode="after")
    def _has_an_input(self) -> Config:
        if self.volume.path is None and self.affinities.path is None:
            raise InputError(
                "volume.path",
                None,
                "the raw volume (or affinities.path, to start from affinities)",
                "set volume.path in the configuration or with --set volume.path=...",
            )
        return self

    @model_validator(mode="after")
    def _fits_its_score(self, info: ValidationInfo) -> Config:
        choices = _choices(info)
        if choices is None:
            raise TypeError("validate a configuration with Choices (fgnet_pipeline.stages.configuration)")
        choices.scores[self.agglomerate.score](self)
        return self

    @model_validator(mode="after")
    def _range_is_a_range(self) -> Config:
        if (limits := self.volume.range) is not None and limits[0] >= limits[1]:
            raise InputError("volume.range", list(limits), "[black, white] with black < white", "correct it")
        return self

    @model_validator(mode="after")
    def _blocks_are_large_enough(self) -> Config:
        named = {"schedule.block_shape": self.schedule.block_shape}
        named |= {f"schedule.{s}.block_shape": own.block_shape for s, own in self.schedule.__pydantic_extra__.items()}
        for field, shape in named.items():
            if shape is not None and min(shape) < MINIMUM_BLOCK:
                raise InputError(field, list(shape), f"at least {MINIMUM_BLOCK} voxels per axis", "use larger blocks")
        return self


def is_url(path: str) -> bool:
    """Whether `path` has the form `scheme://...`. Such a path is never made absolute."""
    return "://" in path
