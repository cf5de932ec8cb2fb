"""The identity of a lab's own arrays: from samples, or as a run noted it.

A run samples the arrays to tell whether its results are stale. It notes where it found them. A command that only reads
a finished result takes the identity from this note, so that it reads no voxel of them: they may be slow to read, and
two samples take longer than a small export. It samples if the configuration names another array than the note, if the
note is not about the stored results, or if there is none, as in outputs of earlier versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fgnet_pipeline.core.task import Task
from fgnet_pipeline.store.input_identity import identity, sample

if TYPE_CHECKING:
    from fgnet_pipeline.stages.job import Job

Name = Literal["affinities", "fragments"]
NAMES: tuple[Name, ...] = ("affinities", "fragments")


def identity_of(job: Job, name: Name, task: str) -> dict[str, Any]:
    """The identity of the lab's affinities or fragments, for the fingerprint of a task.

    Args:
        job: the opened job, which has this array.
        name: of the array, and of its key in the fingerprint.
        task: its name.

    Returns:
        What `fgnet_pipeline.store.input_identity.identity` gives.

    Raises:
        InputError: the array had to be sampled, and cannot be read.
    """
    if job.only_reads:
        note = (job.output.progress.inputs(task) or {}).get(name)
        stored = (job.output.progress.fingerprint(task) or {}).get(name)
        if stored is not None and note == {**_place(job, name), "identity": stored}:
            return dict(stored)
    return sampled_identity(job, name)


def sampled_identity(job: Job, name: Name) -> dict[str, Any]:
    """The identity of the lab's affinities or fragments as they are now.

    Raises:
        InputError: the array cannot be read.
    """
    source = job.affinities if name == "affinities" else job.fragments
    assert source is not None  # the caller has checked it
    return identity(job.bounds.shape, sample(job.bounds.shape, source.read, f"{name}.path"))


def note_inputs(job: Job, task: Task) -> None:
    """Note where the lab's own arrays lie whose identities the fingerprint of a task has."""
    found = {name: task.fingerprint[name] for name in NAMES if name in task.fingerprint}
    if found:
        document: dict[str, Any] = {name: {**_place(job, name), "identity": dict(held)} for name, held in found.items()}
        job.output.progress.set_inputs(task.name, document)


def _place(job: Job, name: Name) -> dict[str, Any]:
    """What the configuration says of the array, and the shape that the volume has now."""
    settings = job.config.affinities if name == "affinities" else job.config.fragments
    document = settings.model_dump(mode="json", include={"path", "channels"})
    return {**document, "shape": list(job.bounds.shape)}
