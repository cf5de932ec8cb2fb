"""Training states on disk, written whole or not at all, and the export of finished weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

#: First part of the names of parameters that only help in training.
TRAINING_ONLY = ("auxiliary.", "descriptors.")


@contextmanager
def _renamed_when_whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, flushed to disk and renamed to `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; folders are made."""
    with _renamed_when_whole(path) as temporary:
        temporary.write_bytes(data)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state (tensors, numbers and strings in dicts and lists) to `path`, whole or not at all."""
    with _renamed_when_whole(path) as temporary:
        torch.save(dict(state), temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; no code in the file is executed (`weights_only`).

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:
        remedy = "delete it to begin again, or put a whole copy there"
        raise ModelError("checkpoint", str(path), f"a training state ({error})", remedy) from error


def sharpened(weights: Mapping[str, Tensor], sharpness: float, shift: float) -> dict[str, Tensor]:
    """Weights of a network whose refined logits are `sharpness` * (logit - `shift`).

    The weight and the bias of the head are changed. Contacts are told apart by the mean over their faces, which works
    best if single faces are near 0 or 1, and if a doubtful face counts as a boundary: membranes are rare in training
    data, so the plain network joins too much through gaps in them.

    Args:
        weights: of an FGNet.
        sharpness: greater than 0; 1 changes nothing.
        shift: in units of the logit; 0 changes nothing.
    """
    changed = dict(weights)
    changed["head.weight"] = weights["head.weight"] * sharpness
    changed["head.bias"] = (weights["head.bias"] - shift) * sharpness
    return changed


def begin_from(network: FGNet, checkpoint: str) -> None:
    """Put exported weights into `network`, in place; heads that are not exported stay as they are.

    Args:
        network: of the same architecture.
        checkpoint: a path or a shipped name.

    Raises:
        ModelError: no such file, or keys that are missing, extra or of another shape (all listed).
    """
    given = {k: v.float() for k, v in read_weights(locate(checkpoint, "model.weights")).items()}
    ours = network.state_dict()
    expected = {k: v for k, v in ours.items() if not k.startswith(TRAINING_ONLY)}
    compare_keys(given, expected, checkpoint, "model.weights")
    network.load_state_dict(ours | given)


def export(
    path: Path,
    network: FGNet,
    weights: Mapping[str, Tensor],
    geometry: Geometry,
    half: bool = True,
    recommended: Mapping[str, Mapping[str, Any]] | None = None,
    trained_on: Mapping[str, Any] | None = None,
) -> None:
    """Write `weights` as safetensors, without the heads that only help in training.

    Args:
        path: of the file.
        network: whose architecture is stated in the header.
        weights: of that network.
        geometry: stated in the header.
        half: write float16, else float32.
        recommended: stated in the header, see `fgnet.weights.read_recommended`; an empty one is left out.
        trained_on: stated in the header, see `fgnet.weights.read_trained_on`; an empty one is left out.
    """
    dtype = torch.float16 if half else torch.float32
    kept = {k: v.to(dtype).contiguous() for k, v in weights.items() if not k.startswith(TRAINING_ONLY)}
    config = network.config.without_training()
    header = {"geometry": geometry.to_json(), "network": config.to_json(), "format": "fgnet-1"}
    if recommended:
        header["recommended"] = json.dumps(recommended, sort_keys=True)
    if trained_on:
        header["trained_on"] = json.dumps(trained_on, sort_keys=True)
    write_whole(path, save(kept, metadata=header))
