"""How good a segmentation could be: the score of its fragments, merged without an error.

What the oracle scores is lost before agglomeration: no threshold brings it back.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.evaluation.comparison import StoredComparison, VolumeReader
from fgnet_pipeline.evaluation.evaluate import Scores, scores_of
from fgnet_pipeline.kernels.contingency import majority_labels, relabel
from fgnet_pipeline.store.output import stored_output
from fgnet_pipeline.store.volume import Volume, open_volume

#: The option by which a user names fragments.
FIELD = "--fragments"
#: The array of an output that was merged, and that of what was merged.
SEGMENTATION, FRAGMENTS = "segmentation", "fragments"


def find_fragments(segmentation: Volume, given: str | None = None) -> Volume | None:
    """The fragments that a segmentation was merged from.

    Args:
        segmentation: opened.
        given: path or URL of the fragments; None takes those of the output that holds the segmentation.

    Returns:
        None if the segmentation lies in no output, or if the fragments of the output are not there any more.

    Raises:
        InputError: fragments that were given, but cannot be opened or are no ids of the same voxels.
    """
    path = given or _path_beside(segmentation.path)
    if path is None:
        return None
    try:
        found = open_volume(path, FIELD if given is not None else FRAGMENTS)
        _check(found, segmentation)
    except InputError:
        if given is not None:
            raise
        return None
    return found


def _path_beside(segmentation: str) -> str | None:
    """The path of the fragments of the output that holds a segmentation; None if it lies in no output."""
    absolute = segmentation if is_url(segmentation) else str(Path(segmentation).resolve())
    parent, _, name = absolute.rstrip("/").rpartition("/")
    output = stored_output(parent) if name == SEGMENTATION else None
    if output is None or output.progress.fingerprint("relabel") is None:
        return None
    stated = output.saved_configuration()[0].get("fragments", {}).get("path")
    return f"{parent}/{FRAGMENTS}" if stated is None else str(stated)


def _check(fragments: Volume, segmentation: Volume) -> None:
    if fragments.dtype.kind not in "ui" or fragments.shape != segmentation.shape:
        got = f"{fragments.path} with {fragments.shape} voxels of {fragments.dtype}"
        expected = f"whole numbers for the {segmentation.shape} voxels of the segmentation"
        raise InputError(FIELD, got, expected, "name the fragments that were merged")


def unreadable(fragments: Volume, error: InputError) -> str:
    """A warning that there is no oracle, since fragments that the user did not ask for cannot be read.

    Raises:
        InputError: the error, if the user named the fragments.
    """
    if fragments.field == FIELD:
        raise error
    return f"no oracle: {error}"


def oracle_scores(stored: StoredComparison, fragments: Volume) -> Scores:
    """The scores of perfect merging: every fragment goes to the label with which it shares most voxels.

    Args:
        stored: the segmentation and the labels. The same voxels are scored.
        fragments: as `find_fragments` returns them.
    """
    comparison = replace(stored.comparison, segmentation=VolumeReader(fragments))
    table, _ = comparison.counted()
    return scores_of(relabel(table, *majority_labels(table)), comparison.protocol)
