"""Files of weights and their headers. Importing this module does not import torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
import tomllib
from pathlib import Path
from typing import Any

from fgnet.config import NetworkConfig
from fgnet.errors import ModelError, did_you_mean
from fgnet.geometry import NEAREST, Geometry

SHIPPED = Path(__file__).parent / "weights"
RECOMMENDED = SHIPPED / "recommended.toml"
"""What shipped weights recommend that say nothing in their headers: name of the weights -> table -> key -> value."""
TRAINED_ON = SHIPPED / "trained_on.toml"
"""What the training data of shipped weights looked like that say nothing in their headers."""
MODES = ("reference", "exact", "fast")


def _toy(name: str) -> Geometry:
    return Geometry(
        tile=(16, 16, 16),
        stride=(8, 8, 8),
        margin=(2, 2, 2),
        voxel_size=(10.0, 10.0, 10.0),
        neighbourhood=NEAREST,
        architecture=name,
        normalisation="range",
        any_voxel_size=True,
    )


TOYS = {name: _toy(name) for name in ("identity", "shift")}
"""Models without weights, for exact tests of blocking: `identity` gives raw / 255, `shift` its mean over 3x3x3."""


def names() -> list[str]:
    """The names of all models that have one: those without weights, then the shipped ones."""
    return [*TOYS, *sorted(p.stem for p in SHIPPED.glob("*.safetensors"))]


def locate(checkpoint: str, field: str = "model.checkpoint") -> Path:
    """The file of a shipped name or of a path.

    Raises:
        ModelError: there is none; the error names `field`.
    """
    shipped = SHIPPED / f"{checkpoint}.safetensors"
    path = shipped if "/" not in checkpoint and shipped.exists() else Path(checkpoint)
    if not path.is_file():
        expected = f"a .safetensors file or one of {', '.join(names())}"
        raise ModelError(field, checkpoint, expected, did_you_mean(checkpoint, names(), "correct the path or the name"))
    return path


def read_header(path: Path) -> dict[str, str]:
    """The text entries in the header of a safetensors file.

    Raises:
        ModelError: the file cannot be read, or is of another format.
    """
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:
                raise ValueError("header too long")
            header: dict[str, str] = json.loads(file.read(length)).get("__metadata__", {})
        return header
    except (OSError, ValueError, struct.error, AttributeError) as error:
        remedy = "export it with `fgnet train`"
        raise ModelError("model.checkpoint", str(path), "a safetensors file", remedy) from error


def read_geometry(checkpoint: str, mode: str = "exact") -> Geometry:
    """The geometry of a checkpoint in a mode; of a file only the header is read.

    Args:
        checkpoint: a path or a name.
        mode: one of `MODES`.

    Raises:
        ModelError: an unknown mode, no such file, or a file without geometry.
    """
    if mode not in MODES:
        raise ModelError("model.mode", mode, f"one of {MODES}", "choose one of these")
    if checkpoint in TOYS:
        return TOYS[checkpoint]
    return in_mode(Geometry.from_json(_entry(locate(checkpoint), "geometry")), mode)


def in_mode(geometry: Geometry, mode: str) -> Geometry:
    """The geometry in a mode.

    `reference` overlaps tiles by half, whatever the stride is. `exact` keeps tile and stride of the file. `fast`
    makes the thin tiles of the paper larger in plane, to a size that the encoder's windows divide: 512 for windows of 8
    and 16 (large), 448 for windows of 7 and 14 (tiny, small, base_plus). Cubes stay: a larger cube needs more memory,
    and the block shapes of users fit the stride of this one.
    """
    z, y, x = geometry.tile
    if mode == "reference":
        return dataclasses.replace(geometry, stride=(z // 2, y // 2, x // 2))
    if mode == "fast" and geometry.tile == (16, 256, 256):
        edge = 448 if geometry.architecture in ("tiny", "small", "base_plus") else 512
        return dataclasses.replace(geometry, tile=(16, edge, edge), stride=(8, edge - 64, edge - 64))
    return geometry


def read_network(path: Path) -> NetworkConfig:
    """The architecture that a file's header states.

    Raises:
        ModelError: no such file, or a file without architecture.
    """
    return NetworkConfig.from_json(_entry(path, "network"))


def read_recommended(checkpoint: str) -> dict[str, dict[str, Any]]:
    """The values that a model recommends for the stages after the affinities.

    They are in the header of the file, as the JSON text of its entry `recommended`. Shipped weights without this entry
    have a table in `RECOMMENDED`, which also holds for copies of them.

    Args:
        checkpoint: a path or a name.

    Returns:
        Table of a pipeline's configuration -> key -> value; empty if the model recommends nothing.

    Raises:
        ModelError: no such file, or an entry that is not of this form.
    """
    if checkpoint in TOYS:
        return {}
    path = locate(checkpoint)
    text = read_header(path).get("recommended")
    if text is None:
        return _beside(path)
    try:
        tables = json.loads(text)
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise ValueError("no tables")
        return tables
    except ValueError as error:
        expected, remedy = "JSON tables in the entry 'recommended' of the header", "export it with `fgnet train`"
        raise ModelError("model.checkpoint", str(path), expected, remedy) from error


def read_trained_on(checkpoint: str) -> dict[str, Any] | None:
    """What the data looked like that weights were trained on: the JSON text of the header's entry `trained_on`.

    Args:
        checkpoint: a path or a name.

    Returns:
        Key -> value, as the training wrote them; None if nothing states it.

    Raises:
        ModelError: no such file.
    """
    if checkpoint in TOYS:
        return None
    path = locate(checkpoint, "model.weights")
    text = read_header(path).get("trained_on")
    if text is None:
        return _beside(path, TRAINED_ON) or None
    try:
        found = json.loads(text)
        return found if isinstance(found, dict) else None
    except ValueError:
        return None


def _beside(path: Path, document: Path = RECOMMENDED) -> dict[str, Any]:
    """What a document beside shipped weights says of them, found by their bytes."""
    for name, tables in tomllib.loads(document.read_text()).items():
        shipped = SHIPPED / f"{name}.safetensors"
        same_size = path.stat().st_size == shipped.stat().st_size
        if path == shipped or (same_size and checkpoint_digest(str(path)) == checkpoint_digest(str(shipped))):
            return dict(tables)
    return {}


def _entry(path: Path, name: str) -> str:
    header = read_header(path)
    if name not in header:
        remedy = "export it with `fgnet train`"
        raise ModelError("model.checkpoint", str(path), f"a header with the entry {name!r}", remedy)
    return header[name]


def checkpoint_digest(checkpoint: str) -> str:
    """SHA-256 of the checkpoint's bytes (of its geometry for a model without weights), in hexadecimal."""
    if checkpoint in TOYS:
        return hashlib.sha256(TOYS[checkpoint].to_json().encode()).hexdigest()
    with open(locate(checkpoint), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
