"""Slurm's commands: what sbatch is given, and what squeue, sacct and scancel answer. Nothing else calls them.

Options go to sbatch as arguments, never through a shell or ``#SBATCH`` lines: nothing needs a second kind of quoting,
and ``SBATCH_*`` variables of the submitting shell cannot override the configuration.
"""

from __future__ import annotations

import math
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgnet_pipeline.core.cluster_config import SlurmStage
from fgnet_pipeline.core.errors import InputError, PipelineError

#: How long one command may take: a busy controller answers after a minute or two.
PATIENCE_SECONDS = 180.0
ALIVE = frozenset({
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "REQUEUED", "REQUEUE_FED",
    "REQUEUE_HOLD", "RESV_DEL_HOLD", "SIGNALING", "STAGE_OUT", "SPECIAL_EXIT",
})  # fmt: skip
GONE = "GONE"
#: What an end means, in the words of the status.
REASONS = {
    "OUT_OF_MEMORY": "memory exceeded (raise schedule.slurm.memory or use smaller blocks)",
    "TIMEOUT": "walltime exceeded (raise schedule.slurm.time, or submit again to go on)",
    "NODE_FAIL": "a node failed",
    "BOOT_FAIL": "a node did not boot",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "DEADLINE": "deadline passed",
    "FAILED": "ended with an error (see its log)",
}
#: Reasons for which a job waits until somebody does something.
HOPELESS = frozenset({
    "AccountNotAllowed", "BadConstraints", "InvalidAccount", "InvalidQOS", "JobHeldAdmin", "JobHeldUser",
    "PartitionDown", "PartitionInactive", "PartitionNodeLimit", "PartitionTimeLimit", "QOSNotAllowed",
    "launch_failed_requeued_held",
})  # fmt: skip
#: A word in sbatch's message -> the key that it is about.
MESSAGES = {
    "partition": "partition", "account": "account", "qos": "qos", "feature": "constraint", "time limit": "time",
    "--time": "time", "memory": "memory", "gres": "gpus", "job array": "workers",
}  # fmt: skip


class SlurmError(PipelineError):
    """A command of Slurm failed; the message is its own."""


@dataclass(frozen=True)
class Array:
    """A job array as it is handed to sbatch.

    Args:
        name: of the job. elements: how many. arguments: options of sbatch. script: the batch script.
    """

    name: str
    elements: int
    arguments: tuple[str, ...]
    script: str

    def command(self, *more: str) -> list[str]:
        """The words of the command; the script follows on standard input or as a file."""
        return ["sbatch", "--parsable", *more, *self.arguments]


def build(asked: SlurmStage, name: str, elements: int, folder: Path, worker: Sequence[str], comment: str) -> Array:
    """The array of ``elements`` workers that run ``fgnet worker ARGUMENTS``.

    Args:
        asked: the resources. folder: where logs go; the working directory is its parent.
        worker: the arguments of ``fgnet``, each one word. comment: a line of the script for people.
    """
    own = [
        f"--job-name={name}",
        f"--array=0-{elements - 1}",
        f"--chdir={folder.parent}",
        f"--output={str(folder).replace('%', '%%')}/%x-%A_%a.log",
        "--open-mode=append",
        "--requeue",
    ]
    if asked.signal_seconds is not None:
        own.append(f"--signal=B:TERM@{asked.signal_seconds}")
    return Array(name, elements, (*own, *_resources(asked)), _script(asked, worker, comment))


def _resources(asked: SlurmStage) -> list[str]:
    named = {
        "partition": asked.partition,
        "account": asked.account,
        "qos": asked.qos,
        "constraint": asked.constraint,
        "time": asked.time,
        "mem": asked.memory,
        "cpus-per-task": asked.cpus,
        "gres": None if asked.gpus is None else f"gpu:{asked.gpus}",
    }
    return [f"--{key}={value}" for key, value in named.items() if value is not None] + list(asked.options or ())


def _script(asked: SlurmStage, worker: Sequence[str], comment: str) -> str:
    command = [*(asked.command or (sys.executable, "-m", "fgnet_pipeline")), *worker]
    lines = [
        "#!/bin/bash",
        f"# {comment}",
        'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"',
        *(asked.prologue or ()),
        # In place of the shell, so that the signal before the walltime reaches the worker itself.
        "exec " + shlex.join(command),
    ]
    return "\n".join(lines) + "\n"


def grown(asked: SlurmStage) -> SlurmStage:
    """``asked`` with ``grow`` times the time and the memory."""
    factor = asked.grow or 1.0
    time = None if asked.time is None else _minutes_text(math.ceil(minutes(asked.time) * factor))
    memory = None
    if asked.memory is not None:
        memory = f"{math.ceil(megabytes(asked.memory) * factor)}M"
    return asked.model_copy(update={"time": time, "memory": memory})


def minutes(text: str) -> float:
    """A time of sbatch in minutes: ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``."""
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


def megabytes(text: str) -> float:
    """``schedule.slurm.memory``, e.g. ``"32G"``, in units of 2^20 bytes."""
    factors = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
    return int(text[:-1]) * factors[text[-1]] if text[-1] in factors else float(text)


def is_installed() -> bool:
    """Whether Slurm's commands are on this machine's PATH."""
    return shutil.which("sbatch") is not None


def check(array: Array, field: str) -> None:
    """Ask Slurm whether it would take ``array``; nothing is submitted.

    Args:
        field: the table of the configuration, e.g. ``"schedule.slurm"``.

    Raises:
        InputError: sbatch is missing, the controller does not answer, or a value that Slurm refuses.
    """
    if not is_installed():
        raise InputError("schedule.backend", "slurm or array", "Slurm's commands (there is no sbatch on this machine)",
                         "run this on a login node of the cluster, or set schedule.backend=local")  # fmt: skip
    done = _call(array.command("--test-only"), array.script)
    if done.returncode == 0:
        return
    message = _one_line(done.stderr)
    key = next((key for word, key in MESSAGES.items() if word in message.lower()), None)
    value = next((a.partition("=")[2] for a in array.arguments if key and a.startswith(_option(key))), "its values")
    raise InputError(f"{field}.{key}" if key else field, value, f"what Slurm takes (sbatch: {message})",
                     _remedy(key))  # fmt: skip


def _option(key: str) -> str:
    return {"memory": "--mem=", "gpus": "--gres=", "workers": "--array="}.get(key, f"--{key}=")


def _remedy(key: str | None) -> str:
    if key == "partition":
        done = _call(["sinfo", "--noheader", "--format=%R"])
        names = sorted(set(done.stdout.split()))
        if done.returncode == 0 and names:
            return f"the partitions here are {', '.join(names)}"
    if key == "account":
        return "`sacctmgr show associations user=$USER` lists yours"
    if key == "workers":
        return "`scontrol show config` gives MaxArraySize; set fewer workers"
    return "correct it, or set schedule.backend=local"


def submit(array: Array, *more: str) -> str:
    """Submit ``array`` with the further options ``more``; returns the id of the job.

    Raises:
        SlurmError: sbatch refused.
    """
    done = _call(array.command(*more), array.script)
    job = done.stdout.strip().partition(";")[0]
    if done.returncode != 0 or not job:
        raise SlurmError(f"sbatch did not take {array.name}: {_one_line(done.stderr)}")
    return job


@dataclass(frozen=True)
class Element:
    """One element of an array: its state in Slurm's words, and why it waits or where it runs."""

    job: str
    index: int
    state: str
    reason: str

    @property
    def alive(self) -> bool:
        return self.state in ALIVE


def elements(jobs: Iterable[str]) -> list[Element]:
    """The elements of ``jobs`` that Slurm still knows, the latest state of each.

    Raises:
        SlurmError: the controller does not answer.
    """
    wanted = set(jobs)
    if not wanted:
        return []
    # Not --jobs: one id that has been forgotten would make it an error.
    done = _call(["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%F|%K|%T|%r"])
    if done.returncode != 0:
        raise SlurmError(f"squeue does not answer: {_one_line(done.stderr)}")
    found = {}
    for line in done.stdout.splitlines():
        job, index, state, reason = (part.strip() for part in line.split("|", 3))
        if job in wanted:
            found[job, int(index) if index.isdigit() else 0] = Element(job, int(index) if index.isdigit() else 0,
                                                                       state, reason)  # fmt: skip
    return list(found.values())


def remembered(jobs: Iterable[str]) -> list[Element]:
    """As :func:`elements`, with those that only the accounting database still knows, where there is one."""
    wanted = list(jobs)
    found = {(e.job, e.index): e for e in elements(wanted)}
    missing = [job for job in wanted if job not in {job for job, _ in found}]
    if missing and shutil.which("sacct"):
        done = _call(["sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={','.join(missing)}",
                      "--format=JobID,State"])  # fmt: skip
        for line in done.stdout.splitlines() if done.returncode == 0 else []:
            name, _, state = line.partition("|")
            job, _, index = name.partition("_")
            if index.isdigit():
                # "CANCELLED by 1000"
                found.setdefault((job, int(index)), Element(job, int(index), state.split()[0], ""))
    return list(found.values())


def cancel(jobs: Sequence[str], *options: str) -> None:
    """Cancel ``jobs``; those that have ended are passed over."""
    if jobs:
        _call(["scancel", "--quiet", *options, *jobs])


def _call(command: Sequence[str], script: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(list(command), 1, "", f"{command[0]}: {error}")


def _one_line(text: str) -> str:
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines() if line.strip()]
    return "; ".join(lines) or "no message"
