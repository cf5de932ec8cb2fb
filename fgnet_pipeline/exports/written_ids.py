"""Ids as an export writes them: as they are stored, or compact (`fgnet_pipeline.exports.numbering`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.exports.job import ExportJob
from fgnet_pipeline.exports.numbering import Kind, Numbering

Ids = npt.NDArray[np.uint64]


class WrittenIds:
    """The ids of one kind as they are exported: compact if the export wants it, else as they are stored.

    Args:
        job: the export.
        kind: whose ids.
    """

    def __init__(self, job: ExportJob, kind: Kind) -> None:
        self._numbering = Numbering(job, kind) if job.is_compact else None

    def of(self, ids: Ids) -> Ids:
        """The exported ids of stored ids, uint64 of the same shape."""
        return ids if self._numbering is None else self._numbering.compact(ids)


def id_dtype(job: ExportJob, compact: bool) -> str:
    """The dtype of exported ids."""
    return job.compact_dtype if compact else "uint64"
