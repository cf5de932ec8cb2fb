"""Slurm: what sbatch is given, and what squeue, sacct and scancel answer.

No other module calls Slurm's commands. Options go to sbatch as arguments, never through a shell or `#SBATCH` lines:
nothing needs a second kind of quoting, and `SBATCH_*` variables of the submitting shell cannot override the
configuration.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from fgnet_pipeline.core.cluster_config import ClusterTables, SlurmStage
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.memory_size import megabytes
from fgnet_pipeline.execution.cluster.interface import (
    After,
    Cluster,
    ClusterError,
    ClusterSystem,
    Element,
    JobArray,
    Request,
    State,
)

#: How long one command may take: a busy controller answers after a minute or two.
PATIENCE_SECONDS = 180.0
#: Word of squeue and sacct -> state; any other word is an end that has no name here.
STATES = {
    **{state.value: state for state in State},
    "STOPPED": State.SUSPENDED,
    "RESIZING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STAGE_OUT": State.ENDING,
    "REQUEUE_FED": State.REQUEUED,
    "RESV_DEL_HOLD": State.HELD,
    "SPECIAL_EXIT": State.HELD,
}
#: What an end means, in the words of the status.
REASONS = {
    State.OUT_OF_MEMORY: "memory exceeded (raise schedule.slurm.memory or use smaller blocks)",
    State.TIMEOUT: "walltime exceeded (raise schedule.slurm.time, or submit again to go on)",
    State.NODE_FAILED: "a node failed",
    State.BOOT_FAILED: "a node did not boot",
    State.PREEMPTED: "preempted",
    State.CANCELLED: "cancelled",
    State.DEADLINE: "deadline passed",
    State.FAILED: "ended with an error (see its log)",
}
#: Slurm's reason for removing a job whose dependency can never hold: nothing went wrong with the job itself.
NOT_NEEDED = "DependencyNeverSatisfied"
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


class SlurmCluster(Cluster):
    """Slurm with the resources of the tables `[schedule.slurm]`."""

    name = "slurm"
    title = "Slurm"
    watch_command = "squeue --me"
    host_key = "schedule.slurm.host"
    memory_key = "schedule.slurm.memory"
    missing = "no sbatch on this machine"

    def __init__(self, schedule: ClusterTables) -> None:
        self._config = schedule.slurm
        self.host, self.poll_seconds = self._config.host, self._config.poll_seconds

    def is_installed(self) -> bool:
        return shutil.which("sbatch") is not None

    def grows(self, stage: str) -> bool:
        return self._config.of(stage).grow is not None

    def memory_limit(self, stage: str) -> int | None:
        memory = self._config.of(stage).memory
        return None if memory is None else round(megabytes(memory) * 2**20)

    def build(self, request: Request) -> JobArray:
        asked = self._config.of(request.stage)
        if request.more:
            asked = asked.grown()
        if not request.gpus:
            asked = asked.model_copy(update={"gpus": None})
        own = self._config.own(request.stage)
        table = "schedule.slurm" if own in (None, SlurmStage()) else f"schedule.slurm.{request.stage}"
        arguments = (*_own_options(request, asked), *_resources(asked))
        return JobArray(request.name, request.elements, table, arguments, _script(asked, request))

    def check(self, arrays: Iterable[JobArray]) -> None:
        seen = set()
        for array in arrays:
            asked = tuple(a for a in array.arguments if not a.startswith("--job-name="))
            if asked not in seen:
                self._check_one(array)
                seen.add(asked)

    def _check_one(self, array: JobArray) -> None:
        if not self.is_installed():
            raise InputError(
                "schedule.backend",
                "slurm or array",
                "Slurm's commands (there is no sbatch on this machine)",
                "run this on a login node of the cluster, or set schedule.backend=local",
            )
        done = _call([*self.command(array), "--test-only"], array.script)
        if done.returncode == 0:
            return
        message = _one_line(done.stderr)
        key = next((key for word, key in MESSAGES.items() if word in message.lower()), None)
        value = next((a.partition("=")[2] for a in array.arguments if key and a.startswith(_option(key))), "its values")
        field = f"{array.table}.{key}" if key else array.table
        raise InputError(field, value, f"what Slurm takes (sbatch: {message})", _remedy(key))

    def command(self, array: JobArray, after: Sequence[After] = ()) -> list[str]:
        return ["sbatch", "--parsable", *_dependency(after), *array.arguments]

    def submit(self, array: JobArray, after: Sequence[After] = ()) -> str:
        done = _call(self.command(array, after), array.script)
        job = done.stdout.strip().partition(";")[0]
        if done.returncode != 0 or not job:
            raise ClusterError(f"sbatch did not take {array.name}: {_one_line(done.stderr)}")
        return job

    def states(self, jobs: Iterable[str], remembered: bool = False) -> list[Element]:
        wanted = set(jobs)
        found = _queued(wanted) if wanted else {}
        missing = sorted(wanted - {job for job, _ in found})
        if remembered and missing and shutil.which("sacct"):
            found = {**_accounted(missing), **found}
        return list(found.values())

    def cancel(self, jobs: Sequence[str], waiting_only: bool = False) -> None:
        if jobs:
            _call(["scancel", "--quiet", *(["--state=PENDING"] if waiting_only else []), *jobs])

    def own_number(self) -> int | None:
        text = os.environ.get("SLURM_ARRAY_TASK_ID", "")
        return int(text) if text.isdecimal() else None

    def own_log(self, logs: Path) -> str:
        keys = ("SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
        name, job, index = (os.environ.get(key, "") for key in keys)
        return str(logs / f"{name}-{job}_{index}.log") if job else ""

    def how_to_end(self, jobs: Sequence[str]) -> str:
        return f"scancel {' '.join(jobs)}"


CLUSTER = ClusterSystem(SlurmCluster.name, SlurmCluster)


def _own_options(request: Request, asked: SlurmStage) -> list[str]:
    """The options of sbatch that are the pipeline's own."""
    logs = request.logs
    options = [
        f"--job-name={request.name}",
        f"--array=0-{request.elements - 1}",
        f"--chdir={logs.parent}",
        f"--output={str(logs).replace('%', '%%')}/%x-%A_%a.log",
        "--open-mode=append",
        "--requeue",
    ]
    if asked.signal_seconds is not None:
        options.append(f"--signal=B:TERM@{asked.signal_seconds}")
    return options


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


def _script(asked: SlurmStage, request: Request) -> str:
    command = [*(asked.command or (sys.executable, "-m", "fgnet_pipeline")), *request.words]
    lines = [
        "#!/bin/bash",
        f"# {request.comment}",
        'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"',
        *(asked.prologue or ()),
        # In place of the shell, so that the signal before the walltime reaches the worker itself.
        "exec " + shlex.join(command),
    ]
    return "\n".join(lines) + "\n"


def _dependency(after: Sequence[After]) -> list[str]:
    """Options that make a job wait; Slurm removes a job that can never start."""
    conditions = "?".join(f"{'afterok' if one.ok else 'afternotok'}:{one.job}" for one in after)
    return [f"--dependency={conditions}", "--kill-on-invalid-dep=yes"] if after else []


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


def _queued(jobs: set[str]) -> dict[tuple[str, int], Element]:
    """Elements of `jobs` that the controller knows, by job and number; of a requeued element the latest state."""
    # Not --jobs: one id that has been forgotten would make it an error.
    done = _call(["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%F|%K|%T|%r"])
    if done.returncode != 0:
        raise ClusterError(f"squeue does not answer: {_one_line(done.stderr)}")
    found = {}
    for line in done.stdout.splitlines():
        job, number, word, reason = (part.strip() for part in line.split("|", 3))
        if job in jobs:
            index = int(number) if number.isdigit() else 0
            found[job, index] = _element(job, index, word, reason)
    return found


def _accounted(jobs: Sequence[str]) -> dict[tuple[str, int], Element]:
    """Elements of `jobs` that the accounting database knows, by job and number; none if it does not answer."""
    options = ["--noheader", "--allocations", "--parsable2", f"--jobs={','.join(jobs)}", "--format=JobID,State"]
    done = _call(["sacct", *options])
    found: dict[tuple[str, int], Element] = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else []:
        name, _, state = line.partition("|")
        job, _, number = name.partition("_")
        if number.isdigit():
            word = state.split()[0]  # of "CANCELLED by 1000"
            found.setdefault((job, int(number)), _element(job, int(number), word, ""))
    return found


def _element(job: str, index: int, word: str, reason: str) -> Element:
    """One element from Slurm's word for its state and Slurm's reason."""
    state = STATES.get(word, State.ENDED)
    if state is State.PENDING:
        sentence = f"waits: {reason}" if reason in HOPELESS else ""
    else:
        sentence = "" if reason == NOT_NEEDED else REASONS.get(state, "")
    return Element(job, index, state, sentence)


def _call(command: Sequence[str], script: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands; one that is missing or does not end is an exit code of 1."""
    try:
        return subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(list(command), 1, "", f"{command[0]}: {error}")


def _one_line(text: str) -> str:
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in text.splitlines() if line.strip()]
    return "; ".join(lines) or "no message"
