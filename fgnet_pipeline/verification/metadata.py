"""Compare the metadata files of arrays and of the output with those that are created, and restore them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import array_of, create_array, storage_of
from fgnet_pipeline.store.atomic_files import read_json, write_atomic
from fgnet_pipeline.store.layout import damaged_metadata, write_metadata
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.single_chunk_shards import are_shards
from fgnet_pipeline.store.stored_files import files_below, is_partial
from fgnet_pipeline.verification.block_checks import Finding
from fgnet_pipeline.verification.report import METADATA


def metadata_findings(job: Job) -> Iterator[Finding]:
    """Find arrays whose metadata are missing, unreadable or different from those that the configuration creates.

    Arrays without chunks and without records are passed over: they have not been created yet.

    Yields:
        One finding per damaged array; its `files` hold the metadata file.
    """
    for name in job.plan.tasks:
        array = array_of(job, name)
        if array is None or not _has_content(job, name, array):
            continue
        path = job.output.root / array / "zarr.json"
        stored = read_json(path)
        if not isinstance(stored, dict):
            yield Finding(METADATA, name, None, (str(path),), f"the metadata of {array} are missing or unreadable")
            continue
        if not any(_agree(stored, json.loads(_metadata(job, name, array, form))) for form in _forms(job, name)):
            yield Finding(
                METADATA, name, None, (str(path),), f"the metadata of {array} were changed after its creation"
            )


def _agree(stored: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether metadata are those that are wanted; more attributes do no harm.

    Arrays made by early versions name neither their axes nor `dimension_units`; they stay as they are.
    """
    stored = dict(stored)
    attributes, expected = stored.pop("attributes", {}), wanted.pop("attributes")
    if stored.get("dimension_names") is None:
        stored.pop("dimension_names", None)
        wanted.pop("dimension_names", None)
        expected = {name: value for name, value in expected.items() if name != "dimension_units"}
    return stored == wanted and expected.keys() <= attributes.keys()


def _has_content(job: Job, name: str, array: str) -> bool:
    return (job.output.root / array / "c").exists() or any(True for _ in job.output.progress.records(name))


def _forms(job: Job, name: str) -> tuple[bool | None, ...]:
    """What `create_array` may be given as `sharded` for the array of the task `name`, the chosen form first.

    An array in which no shard holds two chunks may have been created with shards and without; it stays as it is.
    """
    shard, chunk = storage_of(job, name)
    return (None, True, False) if shard == chunk else (None,)


def _stored_form(job: Job, name: str, array: str) -> bool | None:
    """Whether the array of the task `name` has shards, as its files say; None if only the configuration tells."""
    if len(_forms(job, name)) == 1:
        return None
    return are_shards(path for path in files_below(job.output.root / array / "c") if not is_partial(path))


def _metadata(job: Job, name: str, array: str, sharded: bool | None) -> bytes:
    """The content of the metadata file with which the array of the task `name` is created."""
    with tempfile.TemporaryDirectory(prefix="fgnet-") as folder:
        empty = Output(str(Path(folder) / "empty.zarr"))
        empty.create()
        create_array(job, name, empty, sharded)
        return (empty.root / array / "zarr.json").read_bytes()


def layout_findings(output: Output) -> Iterator[Finding]:
    """Find damage of the metadata that let Zarr pass over the files that are no arrays.

    Args:
        output: in a folder.

    Yields:
        One finding per file. No results are damaged.
    """
    for path in damaged_metadata(output.root):
        yield _layout_finding(path)


def restore_layout(output: Output) -> list[Finding]:
    """Write the metadata files again that `layout_findings` reports.

    Returns:
        What was damaged.
    """
    return [_layout_finding(path) for path in write_metadata(output.root)]


def _layout_finding(path: Path) -> Finding:
    reason = "the metadata that hide tables and records from Zarr are missing, unreadable or changed"
    return Finding(METADATA, "output", None, (str(path),), reason)


def restore_metadata(job: Job) -> list[Finding]:
    """Write the metadata files again that `metadata_findings` reports. Chunks stay as they are.

    Returns:
        What was damaged.
    """
    found = list(metadata_findings(job))
    for finding in found:
        path = Path(finding.files[0])
        array = path.parent.name
        form = _stored_form(job, finding.task, array)
        write_atomic(path, _metadata(job, finding.task, array, form))
    return found
