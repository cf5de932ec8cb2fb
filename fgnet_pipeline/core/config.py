"""The configuration: strict and frozen, with the defaults of its keys.

A file has the tables ``[volume] [output] [model] [affinities] [fragments] [edges] [agglomerate] [schedule]``. Which
stages, fragments methods and scores there are is not written here: whoever validates a configuration passes
:class:`Choices`, which the registries of stages, methods and scores make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, model_validator

from fgnet_pipeline.core.cluster_config import ClusterTables
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.strict import Strict

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
    """What a configuration may name beside the keys of this file.

    Attributes:
        stages: names of the stages that ``schedule`` may have a table for, in the order of the data flow.
        fragments_methods: name of a method -> what checks its own keys in ``[fragments]``; raises InputError.
        scores: name of a score -> what checks the rest of the configuration for it; raises InputError.
    """

    stages: tuple[str, ...]
    fragments_methods: Mapping[str, Callable[[Mapping[str, Any]], object]]
    scores: Mapping[str, Callable[[Config], None]]


def _choices(info: ValidationInfo) -> Choices | None:
    """What the validation was given; None for the default of a table, which names nothing."""
    return info.context if isinstance(info.context, Choices) else None


def _require_known(found: str, known: tuple[str, ...], field: str) -> None:
    if found not in known:
        raise InputError(field, found, f"one of {', '.join(known)}", "choose one of them")


def _unknown_key(field: str, value: Any) -> InputError:
    return InputError(field, value, "a known key", "check the spelling (docs/reference/configuration.md lists them)")


class VolumeConfig(Strict):
    """The raw volume and where it lies in the world."""

    path: str | None = None
    voxel_size: Annotated[Size3, Field(description="nm, zyx")] | None = None
    offset: Annotated[Size3, Field(description="nm, zyx")] | None = None
    axes: tuple[str, ...] | None = None
    roi: Annotated[tuple[Size3, Size3], Field(description="[begin, end) in nm, zyx")] | None = None
    mask: str | None = None
    range: Annotated[tuple[float, float], Field(description="raw values shown as black and white")] | None = None


class OutputConfig(Strict):
    """The Zarr v3 group that everything is written to; with an object store, ``state`` holds all but the arrays."""

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
                "a folder, and only where output.path is an object store",
                "name a folder" if is_url(self.state) else "leave output.state out",
            )
        return self


class ModelConfig(Strict):
    """The network. ``normalisation`` overrides the (shift, scale) that are measured on the volume."""

    checkpoint: str = "nano-fib25"
    mode: Literal["reference", "exact", "fast"] = "exact"
    any_voxel_size: bool = False
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda)$")] = "auto"
    batch: Annotated[int, Field(ge=1)] = 1
    normalisation: tuple[float, float] | None = None


class AffinitiesConfig(Strict):
    """Affinities of the lab's own instead of predicted ones."""

    path: str | None = None


class FragmentsConfig(Strict):
    """Watershed of the affinities, or fragments of the lab's own. A method may add keys of its own to this table."""

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
        choices.fragments_methods[self.method](self.method_options)
        return self

    @property
    def method_options(self) -> dict[str, Any]:
        """The keys that belong to the method alone, as far as the configuration sets them."""
        return dict(self.__pydantic_extra__)


class EdgesConfig(Strict):
    """The edge tables. ``histogram``: keep 256 bins of affinities an edge; unset means where the score needs them."""

    histogram: bool | None = None


class AgglomerateConfig(Strict):
    """Agglomeration. ``leaf_blocks`` sets the leaves of the octree, in blocks per axis."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    leaf_blocks: Annotated[int, Field(ge=1)] = 4
    score: str = "mean"
    quantile: Annotated[float, Field(ge=0, lt=1, description="with score = quantile; 0.85 where unset")] | None = None
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
                "no value: a node of the octree would have to know the sizes of clusters that other nodes made, which "
                "this version does not hand on, and a limit within nodes would depend on where they were cut",
                "leave it out; agglomerate.min_contact and a higher agglomerate.threshold guard against mergers",
            )
        return self


class StageSchedule(Strict):
    """What one stage overrides."""

    workers: Annotated[int, Field(ge=1)] | None = None
    block_shape: BlockShape | None = None


class ScheduleConfig(ClusterTables):
    """How the work is divided and run. ``workers`` is a total over all stages; 0 runs serially in this process.

    Any stage may have a table of its own, ``[schedule.STAGE]``.
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
        """Refuse a table of no stage, before pydantic takes it for one.

        Args:
            tables: the table ``[schedule]`` as it was read, of any type.

        Raises:
            InputError: the first unknown key.
        """
        for key in tables if isinstance(tables, dict) else ():
            if key not in cls.model_fields and key not in choices.stages:
                raise _unknown_key(f"schedule.{key}", tables[key])
        if isinstance(tables, dict):
            cls.check_cluster_keys(tables, choices.stages)

    @model_validator(mode="after")
    def _cluster_has_workers(self) -> ScheduleConfig:
        if not self.is_local and self.workers == 0:
            raise InputError("schedule.workers", 0, f"at least 1 with schedule.backend={self.backend}",
                             "set schedule.workers, or schedule.backend=local to run serially")  # fmt: skip
        return self

    def of(self, stage: str) -> StageSchedule:
        """What the table of ``stage`` overrides; nothing if there is none."""
        return self.__pydantic_extra__.get(stage, StageSchedule())

    def block_shape_of(self, stage: str) -> Vector:
        return self.of(stage).block_shape or self.block_shape

    def workers_of(self, stage: str) -> int:
        return self.of(stage).workers or self.workers


class Config(Strict):
    """The whole configuration."""

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
            raise TypeError("a configuration is validated with Choices (fgnet_pipeline.stages.configuration)")
        choices.scores[self.agglomerate.score](self)
        return self

    @model_validator(mode="after")
    def _range_is_a_range(self) -> Config:
        limits = self.volume.range
        if limits is not None and limits[0] >= limits[1]:
            raise InputError("volume.range", list(limits), "[black, white] with black < white", "correct it")
        return self

    @model_validator(mode="after")
    def _blocks_are_large_enough(self) -> Config:
        named = {"schedule.block_shape": self.schedule.block_shape}
        named |= {f"schedule.{s}.block_shape": own.block_shape for s, own in self.schedule.__pydantic_extra__.items()}
        for field, shape in named.items():
            if shape is not None and min(shape) < MINIMUM_BLOCK:
                raise InputError(field, list(shape), f"at least {MINIMUM_BLOCK} voxels an axis", "use larger blocks")
        return self


def is_url(path: str) -> bool:
    """True for ``scheme://`` locations, which are never made absolute."""
    return "://" in path
