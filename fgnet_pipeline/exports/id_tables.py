"""The tables of stored and compact ids that lie beside the target of an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import Kind, Numbering
from fgnet_pipeline.store.atomic_files import remove_unfinished


def id_tables(job: ExportJob, kinds: Sequence[Kind]) -> dict[Kind, Path]:
    """The table of each kind of ids; none if ids are not compact.

    A format names them among its paths (`Format.paths`), so that a file of another origin is never replaced.

    Args:
        job: the export.
        kinds: that the format numbers.
    """
    if not job.is_compact:
        return {}
    if not job.format.is_folder:
        endings = {kind: f"{kind}.parquet" for kind in kinds}
    else:
        endings = {kind: "ids.parquet" if len(kinds) == 1 else f"{kind}.ids.parquet" for kind in kinds}
    return {kind: job.target.with_name(f"{job.target.name}.{ending}") for kind, ending in endings.items()}


def write_id_tables(job: ExportJob, kinds: Sequence[Kind]) -> list[str]:
    """Write the tables of ids, and return one line per table that names its path."""
    lines = []
    for kind, path in id_tables(job, kinds).items():
        remove_unfinished(path)
        Numbering(job, kind).write_table(path)
        lines.append(f"stored and compact ids of {kind}: {path}")
    return lines
