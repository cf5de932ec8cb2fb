"""The interface to a cluster: what a system that runs job arrays must offer. Everything else of the room uses this.

A job array is one job of several elements; every element runs one worker of ours on a node. To add a system, write one
module in this folder that defines `CLUSTER`, or name such an object in the entry-point group
`fgnet_pipeline.clusters` of another distribution (docs/guides/add-a-cluster.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from fgnet_pipeline.core.cluster_config import ClusterTables
from fgnet_pipeline.core.errors import PipelineError


class ClusterError(PipelineError):
    """The cluster refuses something or does not answer; the message is the cluster's own."""


class State(StrEnum):
    """The state of one element. The values are what `fgnet status --json` prints."""

    PENDING = "PENDING"
    STARTING = "CONFIGURING"
    RUNNING = "RUNNING"
    ENDING = "COMPLETING"
    SUSPENDED = "SUSPENDED"
    REQUEUED = "REQUEUED"
    HELD = "REQUEUE_HOLD"
    DONE = "COMPLETED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TIMEOUT = "TIMEOUT"
    NODE_FAILED = "NODE_FAIL"
    BOOT_FAILED = "BOOT_FAIL"
    PREEMPTED = "PREEMPTED"
    CANCELLED = "CANCELLED"
    DEADLINE = "DEADLINE"
    FAILED = "FAILED"
    #: Ended in a way that has no name here.
    ENDED = "ENDED"
    #: The cluster has forgotten the element.
    GONE = "GONE"

    @property
    def alive(self) -> bool:
        """Whether the element waits, runs, or will run again without anybody's help."""
        return self in _ALIVE


_ALIVE = frozenset({
    State.PENDING, State.STARTING, State.RUNNING, State.ENDING, State.SUSPENDED, State.REQUEUED, State.HELD,
})  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a job array is to be.

    Attributes:
        stage: the resources are those that the configuration names for this stage.
        name: of the job.
        elements: how many, numbered from 0.
        logs: folder of the log files; the working directory is its parent.
        words: arguments of `fgnet`, each one word; every element runs `fgnet WORDS`.
        comment: one line for people who read the script.
        more: whether the elements get `grow` times the time and memory.
        gpus: whether the elements get the GPUs of the stage.
    """

    stage: str
    name: str
    elements: int
    logs: Path
    words: tuple[str, ...]
    comment: str
    more: bool = False
    gpus: bool = True


@dataclass(frozen=True)
class JobArray:
    """A job array as the cluster takes it.

    Attributes:
        name: of the job.
        elements: how many.
        table: the configuration's table that the resources come from, for example `"schedule.NAME.predict"`.
        arguments: options of the command that submits, in the cluster's own words.
        script: what the command is given on standard input.
    """

    name: str
    elements: int
    table: str
    arguments: tuple[str, ...]
    script: str


@dataclass(frozen=True)
class After:
    """A condition for the start of a job: another job has ended.

    Attributes:
        job: id of the other job.
        ok: whether all its elements must have ended without an error; otherwise any end will do.
    """

    job: str
    ok: bool


@dataclass(frozen=True)
class Element:
    """One element of a job array.

    Attributes:
        job: id of the array.
        index: number of the element.
        state: the latest.
        reason: a sentence on why it ended badly, or why it cannot start; empty if there is nothing to say. It may name
            a key of the configuration that helps.
    """

    job: str
    index: int
    state: State
    reason: str = ""


class Cluster(ABC):
    """One cluster, with the resources that a configuration asks it for.

    Attributes:
        name: value of `schedule.cluster`.
        title: name in sentences.
        watch_command: shell command that shows the user's jobs.
        host: address at which nodes reach the driver, or None.
        poll_seconds: time between two looks at the queue.
        host_key, memory_key: keys of the configuration, for sentences.
        missing: sentence on what is not installed, used if `is_installed` is false.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    watch_command: ClassVar[str]
    host_key: ClassVar[str]
    memory_key: ClassVar[str]
    missing: ClassVar[str]
    host: str | None = None
    poll_seconds: float = 15.0

    @abstractmethod
    def is_installed(self) -> bool:
        """Whether the cluster's commands can be called on this machine."""

    @abstractmethod
    def grows(self, stage: str) -> bool:
        """Whether a second array with more time and memory is wanted if the first of a stage did not end well."""

    @abstractmethod
    def memory_limit(self, stage: str) -> int | None:
        """Bytes that one element of a stage is given; None if the cluster's default holds."""

    @abstractmethod
    def build(self, request: Request) -> JobArray:
        """Put a request into the cluster's words; nothing is asked or written."""

    @abstractmethod
    def check(self, arrays: Iterable[JobArray]) -> None:
        """Ask the cluster whether it would take the arrays; nothing is submitted.

        Raises:
            InputError: It is not installed, does not answer, or refuses a value; the sentence names the key.
        """

    @abstractmethod
    def command(self, array: JobArray, after: Sequence[After] = ()) -> list[str]:
        """The words of the command that submits an array; `array.script` is its standard input."""

    @abstractmethod
    def submit(self, array: JobArray, after: Sequence[After] = ()) -> str:
        """Submit an array.

        Args:
            array: made by `build`.
            after: the array starts as soon as one of the conditions holds; at once if there are none. If none of them
                can ever hold, the cluster removes the array.

        Returns:
            The id of the job.

        Raises:
            ClusterError: The cluster did not take it.
        """

    @abstractmethod
    def states(self, jobs: Iterable[str], remembered: bool = False) -> list[Element]:
        """The elements of jobs that the cluster still knows.

        Args:
            jobs: ids; those that the cluster has forgotten are passed over.
            remembered: whether to ask the cluster's accounting too, which remembers longer and answers later.

        Raises:
            ClusterError: The cluster does not answer.
        """

    @abstractmethod
    def cancel(self, jobs: Sequence[str], waiting_only: bool = False) -> None:
        """End jobs, or only those of their elements that have not started; what has ended is passed over."""

    @abstractmethod
    def own_number(self) -> int | None:
        """The number of the element that this process is; None outside a job array."""

    @abstractmethod
    def own_log(self, logs: Path) -> str:
        """The file in `logs` that the cluster writes this process's output to; empty outside a job array."""

    @abstractmethod
    def how_to_end(self, jobs: Sequence[str]) -> str:
        """The shell command with which a user ends jobs."""


@dataclass(frozen=True)
class ClusterSystem:
    """How a kind of cluster is found and opened.

    Attributes:
        name: value of `schedule.cluster`.
        open: makes the cluster from the table `[schedule]`.
    """

    name: str
    open: Callable[[ClusterTables], Cluster]
