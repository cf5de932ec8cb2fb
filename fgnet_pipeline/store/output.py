"""The output group: arrays, tables, records, logs and the resolved configuration under ``output.path``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
import zarr.errors

from ..config import is_url
from ..errors import DamageError, InputError
from ..geometry import Vector
from .arrays import OutputArray, create_array
from .files import read_json, write_json
from .records import Progress
from .tables import Tables

FORMAT_VERSION = 1


class Output:
    """Everything below ``output.path``; opening it writes nothing."""

    def __init__(self, path: str) -> None:
        if is_url(path):
            raise InputError("output.path", path, "a local folder", "object stores are not supported for output yet")
        self.root = Path(path)
        self.progress = Progress(self.root / "progress")
        self.logs = self.root / "logs"

    def tables(self, kind: str, stage: str) -> Tables:
        """The tables of one kind; ``stage`` is what to redo when one is damaged."""
        return Tables(self.root / "tables", kind, stage)

    def check(self) -> None:
        """Refuse a path that holds something else.

        Raises:
            InputError: a file, or a folder that is neither empty nor one of our groups.
        """
        if self.root.is_file():
            raise InputError("output.path", str(self.root), "a folder", "choose another output.path")
        if self.root.is_dir() and any(self.root.iterdir()) and not (self.root / "zarr.json").exists():
            raise InputError(
                "output.path",
                str(self.root),
                "an empty folder or an output of this program",
                "choose another output.path",
            )
        try:
            if self.root.exists():
                version = dict(zarr.open_group(self.root, mode="r").attrs).get("fgnet_format", FORMAT_VERSION)
                if version != FORMAT_VERSION:
                    raise InputError(
                        "output.path",
                        str(self.root),
                        f"format {FORMAT_VERSION} (found {version})",
                        "use another version",
                    )
                self._check_arrays_are_ours()
        except (zarr.errors.BaseZarrError, ValueError, KeyError):
            if (self.root / "zarr.json").exists():
                raise InputError(
                    "output.path", str(self.root), "a Zarr v3 group", "choose another output.path"
                ) from None

    def _check_arrays_are_ours(self) -> None:
        for name in ("affinities", "fragments", "segmentation"):
            attributes = read_json(self.root / name / "zarr.json") or {}
            exists = (self.root / name).exists()
            if exists and "fgnet_format" not in attributes.get("attributes", {}) and attributes:
                raise InputError(
                    "output.path",
                    str(self.root),
                    f"no array {name!r} that another program wrote",
                    "choose another output.path, or move that array away",
                )

    def save_configuration(self, configuration: dict[str, Any]) -> None:
        """Save the resolved configuration beside what it produces."""
        write_json(self.root / "config.json", {"format": FORMAT_VERSION, "config": configuration})

    def create(self) -> None:
        """Make the group if it is new.

        Raises:
            InputError: the place cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(self.root, mode="a", zarr_format=3)
            if group.attrs.get("fgnet_format") != FORMAT_VERSION:
                group.attrs["fgnet_format"] = FORMAT_VERSION
            self.progress.root.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                "output.path", str(self.root), "a folder that can be written", f"check it ({error.strerror or error})"
            ) from error

    def array(self, name: str) -> OutputArray:
        """An existing array.

        Raises:
            DamageError: it is missing or its metadata cannot be read.
        """
        try:
            node = zarr.open_array(self.root / name, mode="r+")
        except (OSError, ValueError, KeyError, zarr.errors.BaseZarrError) as error:
            raise DamageError(f"array {self.root / name} is missing or unreadable ({error})") from error
        return OutputArray(node)

    def has_array(self, name: str) -> bool:
        """Whether the array exists and its metadata can be read."""
        try:
            self.array(name)
        except DamageError:
            return False
        return True

    def create_array(
        self, name: str, *, shape: tuple[int, ...], dtype: str, shard: Vector, chunk: Vector, attributes: dict[str, Any]
    ) -> None:
        """Create an array anew, dropping an old one."""
        group = zarr.open_group(self.root, mode="r+")
        create_array(
            group,
            name,
            shape=shape,
            dtype=dtype,
            shard_shape=shard,
            chunk_shape=chunk,
            attributes={**attributes, "fgnet_format": FORMAT_VERSION},
        )
