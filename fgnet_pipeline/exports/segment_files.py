"""Files per segment in the target of an export: which are there, and the properties of all segments together.

The format of the properties is "Segment properties" of
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/segment_properties.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.task import Block
from fgnet_pipeline.execution.resume import left
from fgnet_pipeline.exports.chosen_segments import Names, is_chosen
from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import Numbering
from fgnet_pipeline.exports.segment_sizes import all_sizes
from fgnet_pipeline.stages.outcome import Outcome, outcome_of_tables
from fgnet_pipeline.store.atomic_files import write_atomic, write_parts
from fgnet_pipeline.store.stored_files import remove_partial
from fgnet_pipeline.store.tables import Columns, Tables

Ids = npt.NDArray[np.uint64]
#: Folder of the properties, below the target.
PROPERTIES = "segment_properties"
#: Sizes that fit the type in which Neuroglancer keeps whole numbers.
_LARGEST = (1 << 32) - 1


def check_unchanged(job: ExportJob) -> None:
    """Refuse to continue an export of another region or mask.

    Segments grow together in a larger region. Then files of segments that exist no more would stay in the target.

    Raises:
        InputError: a block of the export was computed of other inputs.
    """
    for task in job.tasks:
        if left(job, task.name).stale.any():
            expected = "a new path, or the export of the same region and mask that was begun there"
            raise InputError("--to", job.to, expected, f"choose another --to, or delete {job.to} and {job.state.root}")


def write_files(job: ExportJob, tables: Tables, block: Block, columns: Columns, files: Mapping[str, bytes]) -> Outcome:
    """Write the files of a block, then its table.

    Args:
        job: the export.
        tables: of the stage.
        block: the block.
        columns: of its table.
        files: content by name, below the target.
    """
    for name, content in files.items():
        write_atomic(job.target / name, content)
    outcome = outcome_of_tables([(tables.write(block.index, columns, block.key), columns)], block.write.size)
    outcome.files.extend(job.target / name for name in files)
    return outcome


def finish_segments(job: ExportJob, what: str) -> list[str]:
    """Write the properties of the segments and the table of compact ids, and remove what killed workers left.

    Args:
        job: the export.
        what: the word for the things that were written, e.g. `"meshes"`.

    Returns:
        The lines to tell the user.
    """
    remove_partial(job.target)
    count = write_properties(job)
    lines = []
    if job.options.compact_ids:
        table = job.target.with_name(f"{job.target.name}.ids.parquet")
        Numbering(job, "segments").write_table(table)
        lines.append(f"stored and compact ids: {table}")
    if count:
        return [*lines, f"{what} of {count} segments: {job.to}"]
    least = job.options.min_voxels
    reason = f"no segment has {least} voxels or more" if least > 1 else "the segmentation holds no segment"
    return [*lines, f"{reason}, so {job.to} holds no {what}"]


def write_properties(job: ExportJob) -> int:
    """Write the sizes of the chosen segments as segment properties, and return how many segments there are."""
    write_parts(job.target / PROPERTIES / "info", _properties(job))
    return sum(len(segments) for segments, _ in _chosen_sizes(job))


def _chosen_sizes(job: ExportJob) -> Iterator[tuple[Ids, npt.NDArray[np.int64]]]:
    for segments, voxels in all_sizes(job):
        chosen = is_chosen(job, segments, voxels)
        yield segments[chosen], voxels[chosen]


def _properties(job: ExportJob) -> Iterator[bytes]:
    """The file of properties, in parts. It has the ids, then the sizes, so the tables are read twice."""
    names = Names(job)
    largest = max((int(voxels.max(initial=0)) for _, voxels in _chosen_sizes(job)), default=0)
    dtype = "uint32" if largest <= _LARGEST else "float32"
    yield b'{"@type": "neuroglancer_segment_properties", "inline": {"ids": ['
    yield from _listed([f'"{id_}"' for id_ in names.of(segments)] for segments, _ in _chosen_sizes(job))
    described = {"id": "voxels", "type": "number", "data_type": dtype, "description": "voxels of the segment"}
    yield f'], "properties": [{json.dumps(described)[:-1]}, "values": ['.encode()
    yield from _listed([str(size) for size in voxels] for _, voxels in _chosen_sizes(job))
    yield b"]}]}}\n"


def _listed(parts: Iterable[list[str]]) -> Iterator[bytes]:
    """The elements of a JSON list with commas between them."""
    begun = False
    for part in parts:
        if part:
            yield (", " * begun + ", ".join(part)).encode()
            begun = True
