"""Scoring one stored segmentation against another: opens the arrays, places them in the world, and evaluates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.evaluation.blockwise import ArrayLike
from fgnet_pipeline.evaluation.computed import computed_part
from fgnet_pipeline.evaluation.evaluate import Comparison, Scores
from fgnet_pipeline.evaluation.left_out import LeftOut
from fgnet_pipeline.evaluation.protocols import protocol_of
from fgnet_pipeline.kernels.contingency import Contingency
from fgnet_pipeline.store.arrays import readable
from fgnet_pipeline.store.chunk_names import require_stored
from fgnet_pipeline.store.volume import Frame, Volume, open_volume

#: The frame of two arrays that both state none: voxels of 1 nm, voxel 0 at the origin.
UNPLACED = Frame((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))

#: Said of an output of this program in an object store.
UNKNOWN = (
    "the records of this output are in its output.state, which is not on this machine: voxels outside volume.roi or "
    "volume.mask and unfinished blocks count as background, if there are any (fgnet sweep leaves them out)"
)


def compare(
    segmentation: str,
    labels: str,
    begin: str | None = None,
    end: str | None = None,
    workers: int = 1,
    protocol: str = "fgnet",
) -> Scores:
    """Score a segmentation against labels where they overlap in the world.

    Of an output of this program, only voxels count that were computed; the scores say how many were left out.

    Args:
        segmentation: path or URL of a Zarr array of ids (z, y, x).
        labels: path or URL of a Zarr array of ids (z, y, x); voxels with 0 are ignored.
        begin: first voxel of the labels to score, as `"z,y,x"`; None is voxel 0.
        end: the voxel after the last, as `"z,y,x"`; None is the end of the labels.
        workers: number of threads.
        protocol: a name of `fgnet_pipeline.evaluation.protocols.PROTOCOLS`.

    Raises:
        InputError: an array that cannot be opened, different voxel sizes, offsets off the voxel grid, no overlap.
    """
    return open_comparison(segmentation, labels, begin, end, workers, protocol).scores()


@dataclass(frozen=True)
class StoredComparison:
    """Two stored arrays, opened and lined up.

    Attributes:
        volume: the segmentation.
        comparison: of both.
        frame: of the segmentation, or if it states none that of the labels; None if both state none.
        warnings: sentences about what cannot be known of the segmentation.
    """

    volume: Volume
    comparison: Comparison
    frame: Frame | None = None
    warnings: tuple[str, ...] = ()

    def scores(self) -> Scores:
        """Score the segmentation. See `compare`."""
        return self.scores_of(*self.comparison.counted())

    def scores_of(self, table: Contingency, left_out: LeftOut) -> Scores:
        """The scores of what was counted, with the warnings of both."""
        scores = self.comparison.scores_of(table, left_out)
        return replace(scores, warnings=[*self.warnings, *scores.warnings])


def open_comparison(
    segmentation: str,
    labels: str,
    begin: str | None = None,
    end: str | None = None,
    workers: int = 1,
    protocol: str = "fgnet",
) -> StoredComparison:
    """Open a segmentation and labels. See `compare`."""
    rules = protocol_of(protocol)
    one = open_volume(segmentation, "SEGMENTATION")
    is_ours = "fgnet_format" in one.array.attrs
    if not is_ours:  # a run that found no segment stores no chunk of ours
        require_stored(one.array, segmentation, "SEGMENTATION", "ids")
    comparison = line_up(VolumeReader(one), one.frame, labels, begin, end)
    computed = computed_part(segmentation, one)
    comparison = replace(comparison, workers=workers, protocol=rules, computed=computed)
    unknown = computed is None and is_url(segmentation) and is_ours
    frame = one.frame or open_volume(labels, "LABELS").frame
    return StoredComparison(one, comparison, frame, (UNKNOWN,) if unknown else ())


def line_up(ids: ArrayLike, frame: Frame | None, labels: str, begin: str | None, end: str | None) -> Comparison:
    """Open `labels` and place them beside `ids`. If one of them states no frame, it takes that of the other.

    Args:
        ids: (z, y, x), of a segmentation or of fragments.
        frame: of `ids`; None if it is unknown.
        labels: path or URL of a Zarr array of ids (z, y, x).
        begin: first voxel of the labels to score, as `"z,y,x"`.
        end: the voxel after the last, as `"z,y,x"`.

    Raises:
        InputError: labels that cannot be opened, offsets off the voxel grid, corners that are no three numbers.
    """
    other = open_volume(labels, "LABELS")
    require_stored(other.array, labels, "LABELS", "labels")
    first, second = frame or other.frame or UNPLACED, other.frame or frame or UNPLACED
    shift = first.voxels_to(second)
    if not np.allclose(shift, np.rint(shift), atol=0.01):
        raise InputError("LABELS", f"{labels} at {list(second.offset)} nm", "a whole number of voxels away from the "
                         f"segmentation at {list(first.offset)} nm", "correct the offset attributes")  # fmt: skip
    region = None
    if begin is not None or end is not None:
        region = Box(_corner("--begin", begin, (0, 0, 0)), _corner("--end", end, other.shape))
    known = frame is not None or other.frame is not None
    extent = vector(np.maximum(ids.shape, other.shape))
    same = first.has_voxels_of(second, extent)
    return Comparison(
        ids,
        VolumeReader(other),
        labels_offset=vector(np.rint(shift)),
        segmentation_voxel_size=(second if same else first).voxel_size if known else None,
        labels_voxel_size=second.voxel_size if known else None,
        region=region,
    )


def _corner(option: str, text: str | None, default: Vector) -> Vector:
    if text is None:
        return default
    try:
        return vector([int(part) for part in text.split(",")])
    except ValueError as error:
        raise InputError(option, text, "three whole numbers z,y,x", f"e.g. {option} 0,0,0") from error


class VolumeReader:
    """A volume as the plain array (z, y, x) that `fgnet_pipeline.evaluation.evaluate` takes."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.shape, self.dtype = volume.shape, volume.dtype
        shards = getattr(volume.array, "shards", None) or volume.array.chunks
        self.chunks = tuple(shards[axis] for axis in volume.order)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        with readable(self._volume.path, self._volume.field):
            return self._volume.read(Box(vector([s.start for s in key]), vector([s.stop for s in key])))
