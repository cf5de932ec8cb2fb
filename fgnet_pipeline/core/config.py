"""The configuration: strict, frozen, and the only place where a default lives.

A TOML file has the tables ``[volume] [output] [model] [affinities] [fragments] [edges] [agglomerate] [schedule]``;
every key can be overridden with ``--set table.key=value``. Relative paths in the file are relative to the file, in
``--set`` to the working directory.
"""

from __future__ import annotations

import json
import re
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector

MINIMUM_BLOCK = 16
#: The field's aff85_his256. Decimals are limited so that a quantile times a count fits into 64 bits.
DEFAULT_QUANTILE, QUANTILE_DECIMALS = 0.85, 4
BlockShape = Annotated[tuple[int, int, int], Field(description=f"voxels, zyx, each at least {MINIMUM_BLOCK}")]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
StorageShape = tuple[Positive, Positive, Positive]
Size3 = tuple[float, float, float]
#: Object stores that arrays can be written to.
WRITABLE_SCHEMES = ("s3://",)
#: Stages in the order of the data flow; ``schedule`` has a table for each.
STAGES = ("predict", "fragments", "edges", "agglomerate", "relabel")
PATH_KEYS = (
    ("volume", "path"),
    ("volume", "mask"),
    ("output", "path"),
    ("output", "state"),
    ("affinities", "path"),
    ("fragments", "path"),
    ("model", "checkpoint"),
)


class Strict(BaseModel):
    """Unknown keys are refused and values cannot change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


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
    """Watershed of the affinities, or fragments of the lab's own."""

    path: str | None = None
    method: Literal["volume", "sections", "waterz"] = "volume"
    context: (
        Annotated[tuple[NotNegative, NotNegative, NotNegative], Field(description="voxels read around a block, zyx")]
        | None
    ) = None
    boundary_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    min_seed_distance: Annotated[int, Field(ge=1)] = 5


class EdgesConfig(Strict):
    """The edge tables. ``histogram``: keep 256 bins of affinities an edge; unset means where the score needs them."""

    histogram: bool | None = None


class AgglomerateConfig(Strict):
    """Agglomeration. ``leaf_blocks`` sets the leaves of the octree, in blocks an axis."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    leaf_blocks: Annotated[int, Field(ge=1)] = 4
    score: Literal["mean", "quantile"] = "mean"
    quantile: Annotated[float, Field(ge=0, lt=1, description="with score = quantile; 0.85 where unset")] | None = None
    min_contact: Annotated[int, Field(ge=1, description="faces; smaller contacts of fragments are ignored")] = 1
    max_segment_voxels: Annotated[int, Field(ge=1)] | None = None

    @property
    def quantile_part(self) -> tuple[int, int] | None:
        """The quantile as the fraction (p, q) that was typed; None where the score is the mean."""
        if self.score == "mean":
            return None
        part = Fraction(str(DEFAULT_QUANTILE if self.quantile is None else self.quantile))
        return part.numerator, part.denominator

    @model_validator(mode="after")
    def _quantile_fits_the_score(self) -> AgglomerateConfig:
        if self.quantile is None:
            return self
        if self.score == "mean":
            raise InputError(
                "agglomerate.quantile",
                self.quantile,
                "no value, since agglomerate.score is the mean",
                'leave it out, or set agglomerate.score = "quantile"',
            )
        if Fraction(str(self.quantile)).denominator > 10**QUANTILE_DECIMALS:
            expected = f"at most {QUANTILE_DECIMALS} decimals"
            raise InputError("agglomerate.quantile", self.quantile, expected, "round it")
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


#: Options of sbatch that the pipeline sets itself.
OWN_SBATCH_OPTIONS = (
    "--array", "--begin", "--chdir", "--comment", "--dependency", "--error", "--hold", "--input", "--job-name",
    "--kill-on-invalid-dep", "--open-mode", "--output", "--parsable", "--requeue", "--no-requeue", "--signal",
    "--test-only", "--wait", "--wrap",
)  # fmt: skip
OneLine = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", description="one line, no control characters")]


def _text_of_number(value: Any) -> Any:
    """Slurm takes bare numbers too: minutes, megabytes, GPUs."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = BeforeValidator(_text_of_number)
SlurmTime = Annotated[str, Text, Field(pattern=r"^(\d+-\d+(:\d+){0,2}|\d+(:\d+){0,2})$")]


class SlurmStage(Strict):
    """What Slurm is asked for; a stage's own table overrides key by key. None: the cluster's default.

    ``time`` as sbatch takes it, e.g. ``"8:00:00"`` or ``"2-12"``; ``memory`` a node, e.g. ``"32G"``; ``gpus`` a number
    or ``type:number``. ``prologue``: shell lines before the worker. ``command``: words that start fgnet on a node.
    ``grow``: time and memory of the second, and last, array of a stage whose first did not finish.
    """

    partition: OneLine | None = None
    account: OneLine | None = None
    qos: OneLine | None = None
    constraint: OneLine | None = None
    time: SlurmTime | None = None
    memory: Annotated[str, Text, Field(pattern=r"^[1-9]\d*[KMGT]?$")] | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    gpus: Annotated[str, Text, Field(pattern=r"^([A-Za-z][\w.-]*:)?[1-9]\d*$")] | None = None
    options: tuple[OneLine, ...] | None = None
    prologue: tuple[OneLine, ...] | None = None
    command: Annotated[tuple[OneLine, ...], Field(min_length=1)] | None = None
    signal_seconds: Annotated[int, Field(ge=1, le=65535)] | None = None
    grow: Annotated[float, Field(gt=1, le=16)] | None = None

    @model_validator(mode="after")
    def _options_are_options(self) -> SlurmStage:
        for option in self.options or ():
            name = option.partition("=")[0]
            if not re.match(r"^(--[a-z]|-[A-Za-z])", option):
                raise InputError("schedule.slurm.options", option, "one option of sbatch", "write it as --name=value")
            # sbatch takes abbreviations, so --arr is --array.
            if any(own == name or (len(name) > 2 and own.startswith(name)) for own in OWN_SBATCH_OPTIONS):
                raise InputError("schedule.slurm.options", option, "an option that fgnet does not set itself",
                                 "leave it out")  # fmt: skip
        return self


class SlurmConfig(SlurmStage):
    """``[schedule.slurm]``: for all stages; ``[schedule.slurm.STAGE]`` for one.

    ``host``: the address at which nodes reach the driver, for ``backend = "slurm"``.
    """

    signal_seconds: Annotated[int, Field(ge=1, le=65535)] | None = 60
    options: tuple[OneLine, ...] | None = ()
    prologue: tuple[OneLine, ...] | None = ()
    host: OneLine | None = None
    poll_seconds: Annotated[float, Field(gt=0, description="between two looks at the queue")] = 15.0
    predict: SlurmStage = SlurmStage()
    fragments: SlurmStage = SlurmStage()
    edges: SlurmStage = SlurmStage()
    agglomerate: SlurmStage = SlurmStage()
    relabel: SlurmStage = SlurmStage()

    def of(self, stage: str) -> SlurmStage:
        """What holds for ``stage`` (one of :data:`STAGES`)."""
        own: SlurmStage = getattr(self, stage)
        merged = {name: getattr(self, name) for name in SlurmStage.model_fields}
        merged |= {name: value for name in merged if (value := getattr(own, name)) is not None}
        return SlurmStage.model_construct(**merged)


class StageSchedule(Strict):
    """What one stage overrides."""

    workers: Annotated[int, Field(ge=1)] | None = None
    block_shape: BlockShape | None = None


class ScheduleConfig(Strict):
    """How the work is divided and run. ``workers`` is a total over all stages; 0 runs serially in this process."""

    workers: Annotated[int, Field(ge=0)] = 2
    block_shape: BlockShape = (128, 128, 128)
    threads: Annotated[int, Field(ge=1)] = 1
    backend: Literal["local", "slurm", "array"] = "local"
    block_timeout: Annotated[float, Field(gt=0, description="seconds after which a block's worker is ended")] = 14400.0
    retries: Annotated[int, Field(ge=0)] = 2
    predict: StageSchedule = StageSchedule()
    fragments: StageSchedule = StageSchedule()
    edges: StageSchedule = StageSchedule()
    agglomerate: StageSchedule = StageSchedule()
    relabel: StageSchedule = StageSchedule()
    slurm: SlurmConfig = SlurmConfig()

    @model_validator(mode="after")
    def _backend_has_what_it_needs(self) -> ScheduleConfig:
        if self.backend != "local" and self.workers == 0:
            raise InputError("schedule.workers", 0, f"at least 1 with schedule.backend={self.backend}",
                             "set schedule.workers, or schedule.backend=local to run serially")  # fmt: skip
        if self.backend == "slurm" and self.slurm.host is None:
            raise InputError("schedule.slurm.host", None, "the address at which compute nodes reach this machine",
                             "set it, e.g. to this machine's name in the cluster's network")  # fmt: skip
        return self

    def of(self, stage: str) -> StageSchedule:
        """The overrides of ``stage`` (one of :data:`STAGES`)."""
        chosen: StageSchedule = getattr(self, stage)
        return chosen

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

    @property
    def has_histograms(self) -> bool:
        """Whether edge tables hold histograms."""
        return bool(self.edges.histogram) or self.agglomerate.score == "quantile"

    @model_validator(mode="after")
    def _score_has_its_histograms(self) -> Config:
        if self.edges.histogram is False and self.agglomerate.score == "quantile":
            raise InputError(
                "edges.histogram",
                False,
                'true, since agglomerate.score = "quantile" is taken of histograms',
                "leave it out, or score by the mean",
            )
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
        named |= {f"schedule.{s}.block_shape": self.schedule.of(s).block_shape for s in STAGES}
        for field, shape in named.items():
            if shape is not None and min(shape) < MINIMUM_BLOCK:
                raise InputError(field, list(shape), f"at least {MINIMUM_BLOCK} voxels an axis", "use larger blocks")
        return self


def is_url(path: str) -> bool:
    """True for ``scheme://`` locations, which are never made absolute."""
    return "://" in path


def load_config(file: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML file, apply ``section.key=value`` overrides and validate.

    Raises:
        InputError: no such file, no TOML, unknown key, wrong type or range.
    """
    file = Path(file)
    tables = read_toml(file)
    _make_absolute(tables, file.resolve().parent)
    for override in overrides or []:
        apply_override(tables, override)
    return validate(tables)


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file, or an InputError that says what is wrong with it."""
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("CONFIG", str(file), "a readable TOML file", f"check the path ({reason})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("CONFIG", str(file), "valid TOML", f"mend the file: {error}") from error


def validate(tables: dict[str, Any]) -> Config:
    """Tables to a :class:`Config`; pydantic's errors become one InputError sentence."""
    try:
        # As JSON: strict there means no text or truth value for a number, but lists are tuples and 1 is a float.
        return Config.model_validate_json(json.dumps(tables, default=str))
    except ValidationError as error:
        raise input_error(error) from error


def input_error(error: ValidationError) -> InputError:
    """The first of pydantic's errors as an :class:`InputError`."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "CONFIG"
    if first["type"] == "extra_forbidden":
        return InputError(field, first["input"], "a known key", "check the spelling (docs/configuration.md lists them)")
    if first["type"] == "missing":
        return InputError(field, None, "a value", f"set it in the file or with --set {field}=...")
    return InputError(field, first["input"], first["msg"][0].lower() + first["msg"][1:], "change the value")


def apply_override(tables: dict[str, Any], override: str) -> None:
    """Apply one ``section.key=value`` to ``tables`` in place; paths are taken from the working directory."""
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise InputError("--set", override, "section.key=value", "e.g. --set schedule.workers=4")
    table = tables
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise InputError("--set", override, f"a section, but {key} is a value", "check the key")
    table[keys[-1]] = _parse_value(text.strip())
    if tuple(keys) in PATH_KEYS:
        # A path is never read as TOML: a folder may well be called 1.5 or true.
        table[keys[-1]] = _absolute(text.strip(), Path.cwd(), tuple(keys))


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _make_absolute(tables: dict[str, Any], base: Path) -> None:
    for section, key in PATH_KEYS:
        table = tables.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = _absolute(table[key], base, (section, key))


def _absolute(path: str, base: Path, keys: tuple[str, ...]) -> str:
    path = path.strip("\"'")
    looks_like_a_name = "/" not in path and not path.endswith((".safetensors", ".pt"))
    if is_url(path) or (keys == ("model", "checkpoint") and looks_like_a_name):
        return path
    return str((base / Path(path).expanduser()).resolve()) if path else path
