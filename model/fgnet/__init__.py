"""FGNet: affinities of volume electron microscopy, guided by the SAM 2 image encoder (arXiv 2511.13063).

Importing this package does not import torch, so that a pipeline can read a model's geometry without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fgnet import normalise
from fgnet.errors import ModelError
from fgnet.geometry import Geometry
from fgnet.weights import checkpoint_digest, read_geometry, read_recommended

if TYPE_CHECKING:
    from typing import Any

    from fgnet.predictor import Predictor

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


def load_predictor(
    checkpoint: str,
    mode: str = "exact",
    device: str = "cpu",
    threads: int = 1,
    expect_sha256: str | None = None,
) -> Predictor:
    """Load a model for inference, see `fgnet.predictor.load_predictor`; this call imports torch."""
    from fgnet import predictor

    return predictor.load_predictor(checkpoint, mode, device, threads, expect_sha256)


def describe(name: str) -> dict[str, Any]:
    """What a model costs, see `fgnet.describing.describe`; this call imports torch."""
    from fgnet import describing

    return describing.describe(name)
