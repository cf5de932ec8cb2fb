"""Where weights lie and what their header says. Free of torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from pathlib import Path

from fgnet.config import NetworkConfig
from fgnet.errors import ModelError
from fgnet.geometry import NEAREST, Geometry

SHIPPED = Path(__file__).parent / "weights"
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
"""Models without weights, for exact tests of blocking: `identity` gives raw/255, `shift` its mean over 3x3x3."""


def names() -> list[str]:
    """Every checkpoint that goes by name."""
    return [*TOYS, *sorted(p.stem for p in SHIPPED.glob("*.safetensors"))]


def locate(checkpoint: str, field: str = "model.checkpoint") -> Path:
    """The file of a shipped name or of a path; ModelError, which names `field`, where there is none."""
    shipped = SHIPPED / f"{checkpoint}.safetensors"
    path = shipped if "/" not in checkpoint and shipped.exists() else Path(checkpoint)
    if not path.is_file():
        expected = f"a .safetensors file or one of {', '.join(names())}"
        raise ModelError(field, checkpoint, expected, "correct the path or the name")
    return path


def read_header(path: Path) -> dict[str, str]:
    """The text entries in a safetensors file's header; ModelError where the file is something else."""
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
    """Geometry of a checkpoint (a path or a name) in `mode`, from the file's header alone."""
    if mode not in MODES:
        raise ModelError("model.mode", mode, f"one of {MODES}", "choose one of these")
    if checkpoint in TOYS:
        return TOYS[checkpoint]
    return in_mode(Geometry.from_json(_entry(locate(checkpoint), "geometry")), mode)


def in_mode(geometry: Geometry, mode: str) -> Geometry:
    """The geometry in a mode.

    `reference` overlaps tiles by half whatever the stride is. `exact` keeps tile and stride of the file. `fast` takes
    tiles larger in plane where they are thin, of a size that the encoder's windows divide: 512 for windows of 8 and 16
    (L), 448 for those of 7 and 14 (T, S, B+). Cubes stay: a larger one needs more memory, and another stride would no
    longer fit the block shapes that this one was chosen for.
    """
    z, y, x = geometry.tile
    if mode == "reference":
        return dataclasses.replace(geometry, stride=(z // 2, y // 2, x // 2))
    if mode == "fast" and geometry.tile == (16, 256, 256):
        edge = 448 if geometry.architecture in ("tiny", "small", "base_plus") else 512
        return dataclasses.replace(geometry, tile=(16, edge, edge), stride=(8, edge - 64, edge - 64))
    return geometry


def read_network(path: Path) -> NetworkConfig:
    """The architecture that a file's header states."""
    return NetworkConfig.from_json(_entry(path, "network"))


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
