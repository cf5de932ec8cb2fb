"""Reading tensors from files, and comparing them with those of a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgnet.errors import ModelError


def sent_to(values: Tensor, device: torch.device) -> Tensor:
    """Values of the host on a device. To a GPU they go from pinned memory, so that the call waits for no kernel."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def compare_keys(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str, field: str = "model.checkpoint"
) -> None:
    """See that tensors are exactly those of a network.

    Args:
        given: from `source`.
        expected: of the network.
        source: what the error calls the value.
        field: what the error calls the field.

    Raises:
        ModelError: lists all keys that are missing, extra or of another shape.
    """
    missing = sorted(expected.keys() - given.keys())
    extra = sorted(given.keys() - expected.keys())
    shapes = [
        f"{k} {tuple(given[k].shape)} instead of {tuple(expected[k].shape)}"
        for k in sorted(expected.keys() & given.keys())
        if given[k].shape != expected[k].shape
    ]
    complaints = [
        f"{what}: {', '.join(keys)}"
        for what, keys in (("missing", missing), ("extra", extra), ("shape", shapes))
        if keys
    ]
    if complaints:
        remedy = "use a checkpoint of this architecture: " + "; ".join(complaints)
        raise ModelError(field, source, f"exactly the {len(expected)} keys of the network", remedy)


def read_weights(path: Path) -> dict[str, Any]:
    """Tensors of a safetensors file, or of a torch file; no code in the file is executed (`weights_only`).

    Raises:
        ModelError: the file cannot be read, or does not hold a dictionary.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError("model.checkpoint", str(path), f"readable weights ({error})", "give a whole file") from error
    if not isinstance(loaded, dict):
        raise ModelError("model.checkpoint", str(path), "a dictionary of tensors", "give a state dict")
    return loaded
