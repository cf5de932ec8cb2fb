"""The tables ``[schedule.slurm]`` and ``[schedule.slurm.STAGE]``: what a cluster is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.strict import Strict

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

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, SlurmStage] = Field(init=False)

    signal_seconds: Annotated[int, Field(ge=1, le=65535)] | None = 60
    options: tuple[OneLine, ...] | None = ()
    prologue: tuple[OneLine, ...] | None = ()
    host: OneLine | None = None
    poll_seconds: Annotated[float, Field(gt=0, description="between two looks at the queue")] = 15.0

    def own(self, stage: str) -> SlurmStage | None:
        """The table of ``stage`` alone; None if there is none."""
        return self.__pydantic_extra__.get(stage)

    def of(self, stage: str) -> SlurmStage:
        """What holds for ``stage``: its own table over the common one."""
        own = self.own(stage) or SlurmStage()
        merged = {name: getattr(self, name) for name in SlurmStage.model_fields}
        merged |= {name: value for name in merged if (value := getattr(own, name)) is not None}
        return SlurmStage.model_construct(**merged)


class ClusterTables(Strict):
    """The keys of ``[schedule]`` that say where the work runs."""

    backend: Literal["local", "slurm", "array"] = "local"
    slurm: SlurmConfig = SlurmConfig()

    @property
    def is_local(self) -> bool:
        """Whether all workers run on this machine."""
        return self.backend == "local"

    @property
    def takes_blocks_from_driver(self) -> bool:
        """Whether workers on nodes ask a driver for blocks; otherwise elements of job arrays know theirs."""
        return self.backend == "slurm"

    @classmethod
    def check_cluster_keys(cls, tables: dict[str, Any], stages: Iterable[str]) -> None:
        """Refuse a table ``[schedule.slurm.NAME]`` of no stage.

        Raises:
            InputError: the first unknown key.
        """
        own = tables.get("slurm")
        if not isinstance(own, dict):
            return
        for key in own:
            if key not in SlurmConfig.model_fields and key not in stages:
                raise InputError(f"schedule.slurm.{key}", own[key], "a known key",
                                 "check the spelling (docs/reference/configuration.md lists them)")  # fmt: skip

    @model_validator(mode="after")
    def _driver_can_be_reached(self) -> ClusterTables:
        if self.takes_blocks_from_driver and self.slurm.host is None:
            raise InputError("schedule.slurm.host", None, "the address at which compute nodes reach this machine",
                             "set it, e.g. to this machine's name in the cluster's network")  # fmt: skip
        return self
