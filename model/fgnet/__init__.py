"""FGNet: affinities of volume electron microscopy, guided by the SAM 2 image encoder (arXiv 2511.13063).

Importing this package does not import torch, so that a pipeline can read a model's geometry without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fgnet import normalise
from fgnet.errors import ModelError
from fgnet.geometry import Geometry
from fgnet.loading import load_predictor
from fgnet.weights import checkpoint_digest, read_geometry, read_recommended

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Geometry",
    "ModelError",
    "checkpoint_digest",
    "describe",
    "load_predictor",
    "normalise",
    "read_geometry",
    "read_recommended",
]


def describe(name: str) -> dict[str, Any]:
    """What a model costs, see `fgnet.describing.describe`; this call imports torch."""
    from fgnet import describing

    return describing.describe(name)
