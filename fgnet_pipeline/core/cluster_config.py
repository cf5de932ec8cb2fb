"""The keys of `[schedule]` that say where the work runs, and one table per cluster system.

A second system adds its table here, and its implementation in `fgnet_pipeline.execution.cluster`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.known_keys import unknown_key
from fgnet_pipeline.core.memory_size import megabytes, whole_size
from fgnet_pipeline.core.strict import Strict

_TIME = re.compile(r"[0-9]+-[0-9]+(:[0-9]+){0,2}|[0-9]+(:[0-9]+){0,2}")
#: Options that the pipeline sets, or with which sbatch submits nothing -> their letter, or "" if they have none.
_OWN_OPTIONS = {
    "--array": "a", "--begin": "b", "--chdir": "D", "--comment": "", "--dependency": "d", "--error": "e", "--help": "h",
    "--hold": "H", "--input": "i", "--job-name": "J", "--kill-on-invalid-dep": "", "--no-requeue": "",
    "--open-mode": "", "--output": "o", "--parsable": "", "--requeue": "", "--signal": "", "--test-only": "",
    "--usage": "u", "--version": "V", "--wait": "W", "--wrap": "",
}  # fmt: skip
#: Letters of options without a value; another option could follow on the same dash.
_OPTION_FLAGS = "OQsv"
_OPTIONS_FIELD = "schedule.slurm.options"
_OPTION_SHAPE = re.compile(r"--[a-z][a-z0-9-]*(=.*)?|-[A-Za-z].*", re.DOTALL)
OneLine = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", description="one line, no control characters")]


def _text_of_number(value: Any) -> Any:
    """Turn a bare number into text: Slurm takes minutes, megabytes and GPUs as numbers too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _time(text: str) -> str:
    """Refuse what sbatch does not take for a time."""
    if not _TIME.fullmatch(text):
        raise ValueError('minutes, "hours:minutes:seconds" or "days-hours", e.g. 480, "8:00:00", "2-12"')
    return text


def _check_option(option: str) -> None:
    """Refuse what is not one option of sbatch, and an option that the pipeline sets itself.

    sbatch reads options with getopt_long: a long option may be abbreviated, a value may follow a short option without
    a space (`-a0-3`), and short options without a value may share a dash (`-HJname`). Source: sbatch(1) of Slurm 22.05.

    Raises:
        InputError: the sentence names the option.
    """
    if not _OPTION_SHAPE.fullmatch(option):
        raise InputError(_OPTIONS_FIELD, option, "one option of sbatch per entry", "write it as --name=value")
    if option.startswith("--"):
        name = option.partition("=")[0]
        # sbatch accepts abbreviations: --arr means --array.
        own = next((own for own in _OWN_OPTIONS if own.startswith(name)), None)
    else:
        letter, value = option[1], option[2:]
        own = next((own for own, short in _OWN_OPTIONS.items() if short == letter), None)
        if own is None and ((value[:1] in ("=", " ") and value) or (letter in _OPTION_FLAGS and value)):
            raise InputError(_OPTIONS_FIELD, option, "one option of sbatch per entry", "write it as --name=value")
    if own is not None:
        expected = f"an option that fgnet does not set itself (sbatch reads it as {own})"
        raise InputError(_OPTIONS_FIELD, option, expected, "leave it out")


Text = BeforeValidator(_text_of_number)
SlurmTime = Annotated[str, AfterValidator(_time), Text]


class SlurmStage(Strict):
    """What one stage asks Slurm for. A value of None is left to the defaults of the cluster.

    The table of a stage overrides the common table key by key.

    Attributes:
        partition: as sbatch takes it; so are `account`, `qos` and `constraint`.
        time: walltime as sbatch takes it: minutes, `"8:00:00"` or `"2-12"` (days-hours).
        memory: per element of a job array, e.g. `"32G"` or `"32 GB"`; a bare number is in megabytes. Stored as sbatch
            takes it.
        cpus: per element, at least 1.
        gpus: per element: a number or `type:number`.
        options: further options of sbatch, each `--name=value`.
        prologue: shell lines that run before the worker.
        command: words that start fgnet on a node; None: the Python that submits.
        signal_seconds: seconds before the end of the walltime at which a worker gets SIGTERM.
        grow: factor, above 1 and at most 16, for time and memory of a second array. The second array follows if the
            first one of a stage did not finish. There is no third. None: no second array.
    """

    partition: OneLine | None = None
    account: OneLine | None = None
    qos: OneLine | None = None
    constraint: OneLine | None = None
    time: SlurmTime | None = None
    memory: Annotated[str, AfterValidator(whole_size), Text] | None = None
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
            _check_option(option)
        return self

    def grown(self) -> SlurmStage:
        """The same request with `grow` times the time and the memory, both rounded up."""
        factor = self.grow or 1.0
        time = None if self.time is None else _minutes_text(math.ceil(minutes(self.time) * factor))
        memory = None if self.memory is None else f"{math.ceil(megabytes(self.memory) * factor)}M"
        return self.model_copy(update={"time": time, "memory": memory})


def minutes(text: str) -> float:
    """Convert a time of sbatch to minutes.

    Args:
        text: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`.
    """
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, mins, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, mins, seconds = parts
    else:
        hours, mins, seconds = 0, parts[0], parts[1] if len(parts) == 2 else 0
    return int(days or 0) * 1440 + hours * 60 + mins + seconds / 60


def _minutes_text(total: int) -> str:
    days, rest = divmod(total, 1440)
    return f"{days}-{rest // 60:02d}:{rest % 60:02d}:00"


class SlurmConfig(SlurmStage):
    """The table `[schedule.slurm]`, which holds for all stages, with the tables `[schedule.slurm.STAGE]`.

    Attributes:
        host: address at which nodes reach the driver; required by `backend = "slurm"`.
        poll_seconds: seconds between two looks at the queue.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, SlurmStage] = Field(init=False)

    signal_seconds: Annotated[int, Field(ge=1, le=65535)] | None = 60
    options: tuple[OneLine, ...] | None = ()
    prologue: tuple[OneLine, ...] | None = ()
    host: OneLine | None = None
    poll_seconds: Annotated[float, Field(gt=0, description="between two looks at the queue")] = 15.0

    def own(self, stage: str) -> SlurmStage | None:
        """The table of `stage` alone; None if there is none."""
        return self.__pydantic_extra__.get(stage)

    def of(self, stage: str) -> SlurmStage:
        """The values for `stage`: its own table, completed by the common one."""
        own = self.own(stage) or SlurmStage()
        merged = {name: getattr(self, name) for name in SlurmStage.model_fields}
        merged |= {name: value for name in merged if (value := getattr(own, name)) is not None}
        return SlurmStage.model_construct(**merged)


class ClusterTables(Strict):
    """The keys of `[schedule]` that say where the work runs.

    Attributes:
        backend: `"local"`: all workers run on this machine. `"array"`: elements of job arrays, each with a fixed share
            of the blocks. `"slurm"`: elements of job arrays that take blocks from a driver.
        cluster: name of the system that takes job arrays; its table is `[schedule.NAME]`.
    """

    backend: Literal["local", "slurm", "array"] = "local"
    cluster: OneLine = "slurm"
    slurm: SlurmConfig = SlurmConfig()

    @property
    def is_local(self) -> bool:
        """Whether all workers run on this machine."""
        return self.backend == "local"

    @property
    def takes_blocks_from_driver(self) -> bool:
        """Whether workers on nodes ask a driver for blocks. Elements with a fixed share read it from a submission."""
        return self.backend == "slurm"

    @classmethod
    def check_cluster_keys(cls, tables: dict[str, Any], stages: Sequence[str]) -> None:
        """Refuse a table `[schedule.slurm.NAME]` if there is no stage NAME.

        Args:
            tables: the table `[schedule]` as it was read.
            stages: names of the stages that may have a table.

        Raises:
            InputError: a key is unknown; the error names the first one.
        """
        own = tables.get("slurm")
        if not isinstance(own, dict):
            return
        for key in own:
            if key not in SlurmConfig.model_fields and key not in stages:
                raise unknown_key(SlurmConfig, (key,), own[key], stages, within="schedule.slurm.")

    @model_validator(mode="after")
    def _driver_can_be_reached(self) -> ClusterTables:
        if self.takes_blocks_from_driver and self.cluster == "slurm" and self.slurm.host is None:
            raise InputError("schedule.slurm.host", None, "the address at which compute nodes reach this machine",
                             "set it, e.g. to this machine's name in the cluster's network")  # fmt: skip
        return self
