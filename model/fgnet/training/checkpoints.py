"""Training states on disk, written whole or not at all, and the export of finished weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from fgnet.errors import ModelError
from fgnet.geometry import Geometry
from fgnet.network import FGNet
from fgnet.tensors import compare_keys, read_weights
from fgnet.weights import locate

AUXILIARY = "auxiliary."


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file, flushed to disk before it takes the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state (tensors, numbers, strings in dicts and lists) whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(dict(state), temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, tensors only (`weights_only`). ModelError where it cannot be read."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:
        remedy = "delete it to begin again, or put a whole copy there"
        raise ModelError("checkpoint", str(path), f"a training state ({error})", remedy) from error


def sharpened(weights: Mapping[str, Tensor], sharpness: float, shift: float) -> dict[str, Tensor]:
    """Weights whose refined logits are `sharpness` * (logit - `shift`): the head's weight and bias take it up.

    A mean over the faces of a contact is told apart best where single faces are near 0 or 1, and where a doubtful face
    counts as a boundary: membranes are rare in the training data, so that the plain network is too sure of their gaps.
    """
    changed = dict(weights)
    changed["head.weight"] = weights["head.weight"] * sharpness
    changed["head.bias"] = (weights["head.bias"] - shift) * sharpness
    return changed


def begin_from(network: FGNet, checkpoint: str) -> None:
    """Take over exported weights, in place; the auxiliary head, which is not exported, stays as it is.

    checkpoint: a path or a shipped name. ModelError lists the keys that are missing, extra or of another shape.
    """
    given = {k: v.float() for k, v in read_weights(locate(checkpoint, "model.weights")).items()}
    ours = network.state_dict()
    expected = {k: v for k, v in ours.items() if not k.startswith(AUXILIARY)}
    compare_keys(given, expected, checkpoint, "model.weights")
    network.load_state_dict(ours | given)


def export(path: Path, network: FGNet, weights: Mapping[str, Tensor], geometry: Geometry, half: bool = True) -> None:
    """Write `weights` as safetensors, architecture and geometry in the header, the auxiliary head left out."""
    dtype = torch.float16 if half else torch.float32
    kept = {k: v.to(dtype).contiguous() for k, v in weights.items() if not k.startswith(AUXILIARY)}
    config = dataclasses.replace(network.config, auxiliary=())
    header = {"geometry": geometry.to_json(), "network": config.to_json(), "format": "fgnet-1"}
    write_whole(path, save(kept, metadata=header))
