"""One sentence per layer on how much of it has been computed: a view shows missing blocks as background."""

from __future__ import annotations

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import PipelineError
from fgnet_pipeline.execution.resume import left, lost
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import plan_job
from fgnet_pipeline.views.layers import STAGE_OF, Found, Layer


def notes(config: Config, found: Found) -> dict[str, str]:
    """One sentence per layer, shown or missing, in the order of the data flow.

    Args:
        config: of the run.
        found: by `fgnet_pipeline.views.layers.find_layers`.
    """
    job = _job(config)
    said = {}
    for name in ("raw", *STAGE_OF, "labels"):
        layer = found.layer(name)
        if layer is None:
            if name in found.missing:
                said[name] = found.missing[name]
            continue
        progress = _progress(job, STAGE_OF[name]) if job is not None and name in STAGE_OF else None
        said[name] = progress or _stored(layer)
    return said


def _job(config: Config) -> Job | None:
    """The job with its plan; None if it cannot be opened, e.g. because the raw volume was moved."""
    try:
        job = open_job(config, only_reads=True)
        plan_job(job, new_affinities=False)
    except PipelineError:
        return None
    return job


def _progress(job: Job, stage: str) -> str | None:
    """The blocks that are done; None if the records cannot be read or the array is the lab's own."""
    names = [task.name for task in job.plan.tasks.values() if task.stage == stage]
    if not names:
        return None
    (name,) = names  # a stage that writes an array has one task
    try:
        state, without_file = left(job, name), int(lost(job, name).sum())
    except PipelineError:
        return None
    todo, stale = int(state.todo.sum()), int((state.todo & state.stale).sum())
    parts = [f"{int(state.done.sum())} of {int(state.active.sum())} blocks done"]
    if todo:
        parts.append(f"{todo} missing" if not stale else f"{todo} missing, {stale} of them as other settings made them")
    if without_file:
        parts.append(f"finished blocks without their files: {without_file} (fgnet verify says more)")
    return ", ".join(parts)


def _stored(layer: Layer) -> str:
    if layer.volume is None:
        return "as stored"
    try:
        return str(layer.volume.stored)
    except PipelineError as error:
        return f"cannot be read ({error})"
