"""The rules by which a segmentation is scored: `fgnet` (the default), `cremi`, `snemi`.

All three leave out voxels without a label (`fgnet_pipeline.kernels.labels`). They differ in what else they leave out,
and in the adapted Rand error.

fgnet: VOI in bits and the adapted Rand error as scikit-image counts them, over pairs of distinct voxels. Segment 0 is a
    segment like any other. No border is ignored.
cremi: as the challenge's own code does (github.com/cremi/cremi_python, evaluation/NeuronIds.py, border_mask.py and
    rand.py). Voxels at most 25 nm, within their section, from a voxel beside another label are ignored. The Rand
    error is SNEMI3D's, but voxels of the background are no objects (that
    code weights each of them by 1/n, which is less than one pair in sum; this program leaves that out).
snemi: the adapted Rand error of the SNEMI3D challenge (Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142;
    CREMI's rand.py and gala's evaluate.py port its script): squares of counts, pairs of a voxel with itself included,
    and every voxel of segment 0 is an object of its own.

To add a protocol, add one object here and name it in `PROTOCOLS`; `fgnet evaluate --protocol` then finds it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.suggestions import unknown_choice
from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.contingency import Contingency


@dataclass(frozen=True)
class EvaluationProtocol:
    """One set of rules.

    Attributes:
        name: by which users choose it.
        border_nm: ignore voxels at most this far, within their section, from a border between labels; None ignores
            none.
        rand_error: gives the adapted Rand error, in [0, 1], of a contingency table.
    """

    name: str
    border_nm: float | None = None
    rand_error: Callable[[Contingency], float] = kernel.adapted_rand_error

    @property
    def needs_voxel_size(self) -> bool:
        """Whether the voxel size of the labels must be known."""
        return self.border_nm is not None

    def context(self, voxel_size: Sequence[float] | None) -> Vector:
        """How many voxels around a block, zyx, must be read to know what is ignored in it.

        Args:
            voxel_size: of the labels, nm, zyx.
        """
        if self.border_nm is None or voxel_size is None:
            return (0, 0, 0)
        y, x = (int(self.border_nm // size) + 1 for size in voxel_size[1:])
        return (0, y, x)

    def ignored(
        self, labels: npt.NDArray[np.integer], voxel_size: Sequence[float] | None
    ) -> npt.NDArray[np.bool_] | None:
        """Which voxels do not count, besides those without a label.

        Args:
            labels: ids (z, y, x) as they are stored, so that an edge of the ground truth is a border, too.
            voxel_size: nm, zyx.

        Returns:
            bool (z, y, x); None if all voxels count.
        """
        if self.border_nm is None or voxel_size is None:
            return None
        return border_mask(labels, self.border_nm, (float(voxel_size[1]), float(voxel_size[2])))


FGNET = EvaluationProtocol("fgnet")
CREMI = EvaluationProtocol(
    "cremi",
    border_nm=25.0,
    rand_error=functools.partial(kernel.snemi_rand_error, singletons=False),
)
SNEMI = EvaluationProtocol("snemi", rand_error=kernel.snemi_rand_error)
PROTOCOLS = {protocol.name: protocol for protocol in (FGNET, CREMI, SNEMI)}


def protocol_of(name: str) -> EvaluationProtocol:
    """The protocol with this name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        raise unknown_choice("--protocol", name, PROTOCOLS, "choose one of these")
    return PROTOCOLS[name]


def border_mask(
    labels: npt.NDArray[np.integer], distance_nm: float, voxel_size: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    """Voxels at most `distance_nm` away, within their section, from a voxel beside another label.

    The rule of the CREMI challenge (its `border_threshold`): a voxel that differs from one of its four neighbours in
    the section has distance 0.

    Args:
        labels: ids (z, y, x).
        distance_nm: at least 0.
        voxel_size: nm along y and x.

    Returns:
        bool (z, y, x).
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
