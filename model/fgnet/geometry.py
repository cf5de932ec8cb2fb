"""What a pipeline must know of a model to cut a volume into tiles. Importing this module does not import torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from fgnet.errors import ModelError

Triple = tuple[int, int, int]
NEAREST: tuple[Triple, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
FORMAT = "fgnet-geometry-1"


@dataclass(frozen=True)
class Geometry:
    """How a model is applied to a volume.

    Attributes:
        tile: zyx in voxels, one network input.
        stride: zyx in voxels from one tile to the next; outputs overlap by output - stride and are blended.
        margin: zyx, voxels cropped off each face of a predicted tile.
        voxel_size: zyx in nm, of the data that the model was trained on.
        neighbourhood: one zyx offset in voxels per channel of the affinities, nearest neighbours in z, y, x first.
        architecture: name of the preset, or of the model without weights.
        normalisation: one of `fgnet.normalise.KINDS`.
        any_voxel_size: True if the voxel size of a volume does not matter.

    Raises:
        ModelError: the neighbourhood does not begin with the nearest neighbours, or tiles would leave gaps.
    """

    tile: Triple
    stride: Triple
    margin: Triple
    voxel_size: tuple[float, float, float]
    neighbourhood: tuple[Triple, ...] = NEAREST
    architecture: str = "identity"
    normalisation: str = "robust"
    any_voxel_size: bool = False

    def __post_init__(self) -> None:
        if self.neighbourhood[:3] != NEAREST:
            raise ModelError("neighbourhood", self.neighbourhood, f"to begin with {NEAREST}", "put the nearest first")
        for tile, margin, stride in zip(self.tile, self.margin, self.stride, strict=True):
            if margin < 0 or not 0 < stride <= tile - 2 * margin:
                raise ModelError("stride", self.stride, f"1 to tile - 2 * margin = {self.output}", "lower the stride")

    @property
    def output(self) -> Triple:
        """Shape of what one tile yields, zyx in voxels: tile - 2 * margin."""
        z, y, x = (t - 2 * m for t, m in zip(self.tile, self.margin, strict=True))
        return z, y, x

    @property
    def overlap_factor(self) -> float:
        """Input voxels computed per output voxel, far from the borders of a volume."""
        (a, b, c), (p, q, r) = self.tile, self.stride
        return (a * b * c) / (p * q * r)

    def to_json(self) -> str:
        """The geometry as text, keys sorted, with its format."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Geometry:
        """The inverse of `to_json`.

        Raises:
            ModelError: another format, or a field that is missing or unknown.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            if fields.pop("format") != FORMAT:
                raise KeyError("format")
            fields["neighbourhood"] = tuple(_triple(n) for n in fields["neighbourhood"])
            fields["voxel_size"] = tuple(float(v) for v in fields["voxel_size"])
            for name in ("tile", "stride", "margin"):
                fields[name] = _triple(fields[name])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            remedy = "export the checkpoint again with this version"
            raise ModelError("checkpoint", text[:80], f"a header of format {FORMAT}", remedy) from error


def _triple(values: Iterable[int]) -> Triple:
    z, y, x = (int(v) for v in values)
    return z, y, x
