"""Labelled Zarr volumes as arrays in memory: read, checked, normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from fgnet import normalise
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.kernels.labels import known_labels
from fgnet_pipeline.kernels.padding import SAMPLED_RUN, in_runs
from fgnet_pipeline.store.chunk_names import require_stored
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.tissue_mask import Mask
from fgnet_pipeline.store.volume import Volume, open_volume
from fgnet_pipeline.training.config import TrainConfig, TrainingVolume
from fgnet_pipeline.training.zero_labels import Zero, ZeroLabels, fill_membranes, look_at_zero

if TYPE_CHECKING:
    from fgnet.training.patch import LabelledVolume

#: Raw values that the normalisation constants are taken from: every n-th one of the volume, about this many at most.
NORMALISATION_SAMPLES = 2_000_000
#: Of a volume with large sections at least so many sections are read.
FEWEST_SECTIONS = 8
#: Up to this ratio of the longest to the shortest edge of a voxel, a volume is treated as isotropic.
ISOTROPY = 1.5


@dataclass(frozen=True)
class LabelledBox:
    """A box of a labelled volume in memory.

    Attributes:
        raw: float32 (z, y, x), normalised by constants of the whole volume.
        labels: int32 (z, y, x), 0 = ignored, else 1, 2, ...; membranes drawn as 0 are filled if `zero` says so.
        isotropic: False for thin sections.
        field: what errors call the volume.
        entry: paths and box, as configured.
        frame: voxel size and offset of the volume; None if nothing states them.
        drawn: how borders between objects are drawn in the stored labels.
        zero: what label 0 was taken for.
        share_of_zero: of the stored labels, 0 to 1.
    """

    raw: NDArray[np.float32]
    labels: NDArray[np.int32]
    isotropic: bool
    field: str
    entry: TrainingVolume
    frame: Frame | None
    drawn: ZeroLabels
    zero: Zero
    share_of_zero: float


def as_volumes(boxes: Sequence[LabelledBox]) -> list[LabelledVolume]:
    """The same boxes as the training loop takes them; memory is shared."""
    import torch
    from fgnet.training.patch import LabelledVolume

    return [
        LabelledVolume(torch.from_numpy(b.raw), torch.from_numpy(b.labels), b.entry.weight, b.isotropic) for b in boxes
    ]


def load_training(config: TrainConfig) -> list[LabelledBox]:
    """Every training box in memory, 8 bytes per voxel; membranes drawn as 0 are filled."""
    data = config.data
    return [read_box(v, f"data.volumes.{i}", data.normalisation, data.zero) for i, v in enumerate(data.volumes)]


def load_validation(config: TrainConfig) -> list[LabelledBox]:
    """Every validation box in memory. Scores ignore label 0, so membranes stay as they are."""
    data = config.data
    return [read_box(v, f"data.validation.{i}", data.normalisation, "ignore") for i, v in enumerate(data.validation)]


def read_box(entry: TrainingVolume, field: str, kind: str, zero: Zero | None = "ignore") -> LabelledBox:
    """The box of one volume.

    Args:
        entry: paths and box.
        field: what errors call the entry.
        kind: of normalisation, see `fgnet.normalise`.
        zero: what label 0 is taken for; None: what the labels look like.

    Raises:
        InputError: unreadable arrays, labels of another grid than raw, a box outside or without labels, a mask that
            cannot be placed, raw values that are not finite.
    """
    raw, labels = open_volume(entry.raw, f"{field}.raw"), open_volume(entry.labels, f"{field}.labels")
    require_stored(raw.array, raw.path, raw.field, "a volume")
    require_stored(labels.array, labels.path, labels.field, "labels")
    _check_labels(raw, labels, f"{field}.labels")
    box = Box(entry.begin, entry.end or raw.shape)
    if any(not 0 <= b < e <= n for b, e, n in zip(box.begin, box.end, raw.shape, strict=True)):
        raise InputError(f"{field}.end", list(box.end), f"a box inside {list(raw.shape)}", "correct begin and end")
    stored = labels.read(box)
    known = known_labels(stored, f"{field}.labels", entry.labels)
    if not known.any():
        raise InputError(f"{field}.labels", 0, "labelled voxels", "choose a box that has some")
    frame = raw.frame or labels.frame
    isotropic = frame is None or max(frame.voxel_size) <= ISOTROPY * min(frame.voxel_size)
    drawn = look_at_zero(known, frame.voxel_size if frame else None)
    chosen = zero or drawn.choice
    if chosen == "membrane":
        known = fill_membranes(known, stored == 0, drawn.reach, isotropic)
    dense = dense_labels(_unmasked(known, raw, entry, box, f"{field}.mask"))
    if not dense.any():
        raise InputError(
            f"{field}.mask", entry.mask, "a mask that leaves labelled voxels", "check its place and values"
        )
    share = float((stored == 0).mean())
    return LabelledBox(_grey(raw, box, entry, field, kind), dense, isotropic, field, entry, frame, drawn, chosen, share)


def _grey(raw: Volume, box: Box, entry: TrainingVolume, field: str, kind: str) -> NDArray[np.float32]:
    """Raw of a box, normalised by constants of the whole volume."""
    values = normalise.apply(raw.read(box), *sampled_constants(raw, kind))
    if not np.isfinite(values).all():
        raise InputError(f"{field}.raw", entry.raw, "finite values", "replace nan and infinity, or choose another box")
    if values.min() == values.max():
        raise InputError(f"{field}.raw", entry.raw, "a picture (every voxel of the box is the same)", "check the path")
    return values


def _check_labels(raw: Volume, labels: Volume, field: str) -> None:
    """Raise InputError unless `labels` are integers in the voxel grid of `raw`."""
    if raw.shape != labels.shape:
        remedy = "give labels for the same voxels, or crop raw"
        raise InputError(field, list(labels.shape), f"the shape of raw, {list(raw.shape)}", remedy)
    if raw.frame and labels.frame and not labels.frame.seen_from(raw.frame).is_close(raw.frame):
        expected = f"the voxel size and offset of raw, {raw.frame.voxel_size} and {raw.frame.offset} nm"
        found = f"{labels.frame.voxel_size} and {labels.frame.offset} nm"
        raise InputError(field, found, expected, "correct the attributes, or crop")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(field, str(labels.dtype), "an integer dtype", "give ids, not affinities")


def _unmasked(ids: NDArray[Any], raw: Volume, entry: TrainingVolume, box: Box, field: str) -> NDArray[Any]:
    """The labels of a box of raw, 0 wherever the mask is 0; InputError if the mask cannot be placed."""
    if entry.mask is None:
        return ids
    if raw.frame is None:
        expected = "raw with voxel_size and offset attributes, which place the mask"
        raise InputError(field, entry.mask, expected, "add them to raw")
    mask = Mask(open_volume(entry.mask, field), raw.frame, field)
    return np.where(mask.read(box), ids, ids.dtype.type(0))


def sampled_constants(volume: Volume, kind: str) -> tuple[float, float]:
    """Normalisation constants (shift, scale) of a whole volume, from evenly spaced sections.

    Padding is left out, as a run leaves it out (see `fgnet_pipeline.kernels.padding`).
    """
    z, y, x = volume.shape
    step = max(1, (z * y * x) // NORMALISATION_SAMPLES)
    sections = range(0, z, min(step, max(1, z // FEWEST_SECTIONS)))
    every = max(1, len(sections) * y * x // NORMALISATION_SAMPLES)
    values, padding = [], []
    for k in sections:
        section = volume.read(Box((k, 0, 0), (k + 1, y, x)))
        padding.append(np.unique(section[in_runs(section, SAMPLED_RUN)]))
        values.append(section.ravel()[::every])
    samples = np.concatenate(values)
    kept = samples[~np.isin(samples, np.concatenate(padding))]
    return normalise.constants(kept if kept.size else samples, kind)


def dense_labels(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Ids renumbered 1, 2, ... in their order, 0 kept: float32 holds labels below 2**24 only."""
    ids, index = np.unique(labels, return_inverse=True)
    first = 0 if len(ids) and ids[0] == 0 else 1
    return (index.reshape(labels.shape) + first).astype(np.int32)
