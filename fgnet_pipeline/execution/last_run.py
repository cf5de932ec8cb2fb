"""What an output keeps of earlier runs: the values that it was begun with, and those of the latest run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fgnet_pipeline.execution.region import region_sentence
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.recommended import Values, settings_in, stage_of_key
from fgnet_pipeline.stages.registry import from_stage_on

#: Tables of the configuration that decide results, and those of their keys that do not.
COMPARED = ("volume", "model", "affinities", "fragments", "edges", "agglomerate")
NOT_COMPARED = ("volume.path", "model.device", "model.batch", "affinities.path", "fragments.path")


def changed_values(job: Job) -> list[str]:
    """The values in which the configuration differs from that of the latest run of the output.

    Returns:
        One clause per value, e.g. `"agglomerate.threshold was 0.16 and is now 0.2"`; none for a new output.
    """
    last = _flat(job.output.saved_configuration()[0])
    if not last:
        return []
    if stored := job.output.progress.fingerprint("lut-0"):
        # A run of earlier stages alone may have been told of another threshold, but has not used it.
        last["agglomerate.threshold"] = stored.get("threshold", last.get("agglomerate.threshold"))
    now = _flat(job.config.model_dump(mode="json"))
    return [
        f"{key} was {_shown(last.get(key))} and is now {_shown(now.get(key))}"
        for key in sorted(last.keys() | now.keys())
        if last.get(key) != now.get(key)
    ]


def announcement(job: Job) -> list[str]:
    """The sentences with which a run begins: its region, what has changed, and where open values come from."""
    said = [region_sentence(job)]
    if changed := changed_values(job):
        said.append(
            "this configuration differs from the latest run of this output: "
            f"{'; '.join(changed)}; results that depend on it are made again"
        )
    if origins := origins_of(job):
        said.append("values that the configuration leaves open: " + ", ".join(origins))
    return said


def origins_of(job: Job) -> list[str]:
    """One clause per value that the configuration leaves open, with the place where it comes from."""
    tables = job.config.model_dump(mode="json")
    told = []
    for key, origin in job.origins.items():
        table, _, name = key.partition(".")
        if table != "fragments" or job.fragments is None:
            told.append(f"{key} = {_shown(tables[table][name])} ({origin})")
    return told


def begun_values(job: Job, names: Iterable[str], redo: str | None) -> Values:
    """The values that the results of the output were begun with, once the tasks `names` run.

    The values of a stage are settled when its first results are made, and anew by `--redo`.

    Args:
        job: with its plan.
        names: tasks that are about to run.
        redo: the stage whose results, and those of all later stages, are replaced; None for no stage.
    """
    before = settings_in(job.output.saved_configuration()[1])
    now = settings_in(job.config.model_dump(mode="json"))
    running = {job.plan.tasks[name].stage for name in names}
    anew = {stage for stage in running if not _has_begun(job, stage) or (redo and stage in from_stage_on(redo))}
    return {table: _settled(table, before[table], now[table], anew) for table in now}


def _settled(table: str, before: Mapping[str, Any], now: Mapping[str, Any], anew: set[str]) -> dict[str, Any]:
    """The values of one table: those of `now` for stages that begin, else those of `before`."""
    stages = {key: stage_of_key(table, key) for key in before.keys() | now.keys()}
    fresh = {key: value for key, value in now.items() if stages[key] in anew or not before}
    return {key: value for key, value in before.items() if stages[key] not in anew} | fresh


def _has_begun(job: Job, stage: str) -> bool:
    tasks = [name for name, task in job.plan.tasks.items() if task.stage == stage]
    return any(job.output.progress.fingerprint(name) is not None for name in tasks)


def _flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    """`table.key` -> value, of the keys that decide results."""
    found = {f"{table}.{key}": v for table in COMPARED for key, v in (tables.get(table) or {}).items()}
    return {key: value for key, value in found.items() if key not in NOT_COMPARED}


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
