"""By which rules a segmentation is scored: `fgnet` (the default), `cremi`, `snemi`.

All three leave out voxels whose label is 0. They differ in what else is left out, and in the adapted Rand error.

fgnet: VOI in bits and the adapted Rand error as scikit-image counts them, over pairs of distinct voxels; segment 0 is a
    segment like any other; no border is ignored.
cremi: as the challenge's own code does (github.com/cremi/cremi_python, evaluation/NeuronIds.py, border_mask.py and
    rand.py): voxels at most 25 nm, within their section, from a voxel beside another label are ignored, and so are ids
    that mark missing ground truth. The Rand error is SNEMI3D's without the background's singletons (that code weights
    them by 1/n: less than one pair in sum, which is left out here).
snemi: the adapted Rand error of the SNEMI3D challenge (Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142;
    CREMI's rand.py and gala's evaluate.py port its script): squares of counts, pairs of a voxel with itself included,
    and every voxel of segment 0 an object of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.contingency import Contingency

#: CREMI marks voxels without ground truth by the highest three ids.
RESERVED = 2**64 - 3


@dataclass(frozen=True)
class EvaluationProtocol:
    """One set of rules.

    Attributes:
        border_nm: ignore voxels at most this far, within their section, from a border between labels.
        ignores_reserved: ids from `RESERVED` on are no ground truth.
        rand: `distinct` pairs, or SNEMI3D's squares with the background as `singletons` or `omitted`.
    """

    name: str
    border_nm: float | None = None
    ignores_reserved: bool = False
    rand: Literal["distinct", "singletons", "omitted"] = "distinct"

    def rand_error(self, table: Contingency) -> float:
        """The adapted Rand error of a table, in [0, 1]."""
        if self.rand == "distinct":
            return kernel.adapted_rand_error(table)
        return kernel.snemi_rand_error(table, singletons=self.rand == "singletons")

    def ignored(
        self, labels: npt.NDArray[np.integer], voxel_size: Sequence[float] | None
    ) -> npt.NDArray[np.bool_] | None:
        """Where labels (z, y, x) do not count, besides 0; None for nowhere. voxel_size: nm, zyx."""
        mask = None
        if self.border_nm is not None and voxel_size is not None:
            mask = border_mask(labels, self.border_nm, (float(voxel_size[1]), float(voxel_size[2])))
        if self.ignores_reserved:
            marks = np.asarray(labels).astype(np.uint64) >= np.uint64(RESERVED)
            mask = marks if mask is None else mask | marks
        return mask


FGNET = EvaluationProtocol("fgnet")
CREMI = EvaluationProtocol("cremi", border_nm=25.0, ignores_reserved=True, rand="omitted")
SNEMI = EvaluationProtocol("snemi", rand="singletons")
PROTOCOLS = {protocol.name: protocol for protocol in (FGNET, CREMI, SNEMI)}


def protocol_of(name: str) -> EvaluationProtocol:
    """The protocol of a name. Raises InputError on another."""
    if name not in PROTOCOLS:
        raise InputError("--protocol", name, f"one of {', '.join(PROTOCOLS)}", "choose one of these")
    return PROTOCOLS[name]


def border_mask(
    labels: npt.NDArray[np.integer], distance_nm: float, voxel_size: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    """Voxels at most `distance_nm` away, within their section, from a voxel beside another label.

    The protocol of the CREMI challenge (its `border_threshold`): a voxel that differs from one of its four
    neighbours in the section has distance 0.

    Args:
        labels: (z, y, x).
        distance_nm: at least 0.
        voxel_size: nm along y and x.
    """
    mask = np.zeros(labels.shape, bool)
    for section, out in zip(labels, mask, strict=True):
        below, right = section[1:] != section[:-1], section[:, 1:] != section[:, :-1]
        out[1:] |= below
        out[:-1] |= below
        out[:, 1:] |= right
        out[:, :-1] |= right
        if out.any():
            out |= ndimage.distance_transform_edt(~out, sampling=voxel_size) <= distance_nm
    return mask
