"""The output: arrays, tables, records, logs and the resolved configuration.

If `output.path` is a folder, it holds everything; what is no array is kept in one folder in it (`store.layout`). If it
is the URL of an object store, it holds the arrays only. The rest needs a file system that can append, lock and flush,
and is kept in the folder `output.state`. Both then hold the same mark, so that no two states ever write to one set of
arrays.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import zarr
from zarr.core.sync import collect_aiterator

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import DamageError, InputError, StoreError
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.store import array_axes, layout
from fgnet_pipeline.store.arrays import OutputArray, create_array
from fgnet_pipeline.store.atomic_files import read_json, write_json
from fgnet_pipeline.store.object_store import RemoteStore, open_store
from fgnet_pipeline.store.ownership import (
    FORMAT_VERSION,
    STATE_FILE,
    check_folder,
    check_object_store,
    mark_of,
    unreachable,
)
from fgnet_pipeline.store.permissions import require_listable, require_writable
from fgnet_pipeline.store.records.progress import Progress
from fgnet_pipeline.store.tables import Tables


class Output:
    """Everything that a run writes; opening it writes nothing.

    Args:
        path: `output.path`, a folder or the URL of an object store.
        state: `output.state`, a folder; given if `path` is a URL.

    Attributes:
        path: as given.
        root: the folder of the output on a disk: `path`, or `state` if `path` is a URL.
    """

    def __init__(self, path: str, state: str | None = None) -> None:
        self.path = path
        self.root = Path(path if state is None else state)

    @cached_property
    def state(self) -> Path:
        """The folder of everything that is no array: tables, records, logs and configuration.

        Raises:
            InputError: this user may not read the metadata that say where it lies.
        """
        return layout.moved_state_of(self.root) if is_url(self.path) else layout.state_of(self.root)

    @cached_property
    def progress(self) -> Progress:
        """The done records."""
        return Progress(self.state / "progress")

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.state / "logs"

    def tables(self, kind: str, stage: str) -> Tables:
        """The tables of one kind; `stage` wrote them, and is named if one is damaged."""
        return Tables(self.state / "tables", kind, stage)

    @cached_property
    def _store(self) -> RemoteStore | Path:
        """The object store or the folder that holds the arrays."""
        return open_store(self.path, "output.path", read_only=False) if is_url(self.path) else self.root

    def check(self, arrays: Iterable[str]) -> None:
        """Refuse a place that holds something else.

        Args:
            arrays: names of the arrays that stages write; arrays of that name must be ours.

        Raises:
            InputError: see `fgnet_pipeline.store.ownership` and `fgnet_pipeline.store.permissions`.
        """
        require_listable(self.root)
        require_listable(self.state)
        if isinstance(self._store, RemoteStore):
            check_object_store(self.path, self._store, self.root, arrays)
        else:
            check_folder(self.root, arrays)

    def save_configuration(self, configuration: dict[str, Any], begun: dict[str, Any], region: Box) -> None:
        """Save the resolved configuration in the output.

        Args:
            configuration: of the run that begins now.
            begun: the values that the results of the output were begun with, table -> key -> value.
            region: the region of interest in voxels.
        """
        document = {"format": FORMAT_VERSION, "config": configuration, "begun": begun, "region": region.to_list()}
        write_json(self.state / "config.json", document)

    def saved_region(self) -> Box | None:
        """The region of interest of the latest run, in voxels; None if an earlier version saved the configuration."""
        document = read_json(self.state / "config.json")
        region = document.get("region") if isinstance(document, dict) else None
        return None if region is None else Box(vector(region[0]), vector(region[1]))

    def saved_configuration(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The resolved configuration of the latest run, and what the results were begun with.

        Outputs of earlier versions do not state the latter; the configuration then stands for it. Both are empty if no
        run has begun.
        """
        document = read_json(self.state / "config.json")
        if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
            return {}, {}
        configuration: dict[str, Any] = document["config"]
        return configuration, document.get("begun") or configuration

    def create(self) -> None:
        """Make the group and the folder of the records if they do not exist.

        Raises:
            InputError: the place cannot be written.
        """
        field = "output.state" if is_url(self.path) else "output.path"
        require_writable(self.root, self.state, field)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if isinstance(self._store, RemoteStore):
                self._mark_remote(self._store)
            else:
                self._create_folder()
            self.progress.root.mkdir(parents=True, exist_ok=True)
        except StoreError as error:
            raise unreachable(self.path, error) from error
        except OSError as error:
            raise InputError(
                field, str(self.root), "a folder that can be written", f"check it ({error.strerror or error})"
            ) from error

    def _create_folder(self) -> None:
        """Make the group, and what hides the state from Zarr. What a killed run left half made is completed."""
        version = layout.format_of(self.root)
        _set_attributes(zarr.open_group(self.root, mode="a", zarr_format=3), {"fgnet_format": version})
        layout.write_metadata(self.root)

    def _mark_remote(self, store: RemoteStore) -> None:
        """Make the group with the mark of our folder; if that fails, a new folder is removed again."""
        mark = mark_of(self.root)
        if mark is None:
            write_json(self.root / STATE_FILE, {"mark": uuid.uuid4().hex})
        try:
            group = zarr.open_group(store, mode="a", zarr_format=3)
            folder = str(self.root.resolve())
            attributes = {"fgnet_state": mark_of(self.root), "fgnet_state_folder": folder}
            _set_attributes(group, {"fgnet_format": FORMAT_VERSION, **attributes})
        except BaseException:
            if mark is None:
                (self.root / STATE_FILE).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.root.rmdir()
            raise

    def array(self, name: str) -> OutputArray:
        """Open an array for reading and writing.

        Raises:
            DamageError: it is missing or its metadata cannot be read.
            StoreError: the object store refuses or does not answer.
        """
        try:
            return OutputArray(self._open_array(name))
        except StoreError:
            raise
        except (OSError, ValueError, KeyError) as error:
            raise DamageError(f"array {self.path}/{name} is missing or unreadable ({error})") from error

    def _open_array(self, name: str) -> zarr.Array[Any]:
        return zarr.open_array(store=self._store, path=name, mode="r+")

    def has_array(self, name: str) -> bool:
        """Whether the array exists and its metadata can be decoded.

        Raises:
            InputError: this cannot be found out now. To answer no would let a caller replace an array that exists.
        """
        try:
            self._open_array(name)
        except (FileNotFoundError, ValueError, KeyError):
            return False
        except OSError as error:
            expected = f"an array {name!r} that can be read, or none"
            raise InputError("output.path", self.path, expected, f"check it ({error.strerror or error})") from error
        return True

    def has_chunks(self, name: str) -> bool:
        """Whether any chunk or shard of the array is stored, whatever its metadata say.

        Raises:
            InputError: the object store refuses or does not answer.
        """
        if not isinstance(self._store, RemoteStore):
            return (self.root / name / "c").exists()
        try:
            return bool(collect_aiterator(self._store.list_dir(f"{name}/c")))
        except StoreError as error:
            raise unreachable(self.path, error) from error

    def with_axes(self, name: str) -> tuple[tuple[str, ...], bytes]:
        """The metadata of an array with all names and units of axes: `fgnet_pipeline.store.array_axes.with_axes`."""
        return array_axes.with_axes(self._store, name, f"{self.path}/{name}")

    def replace_metadata(self, name: str, data: bytes) -> None:
        """Write the metadata file of an array: `fgnet_pipeline.store.array_axes.replace_metadata`."""
        array_axes.replace_metadata(self._store, name, data)

    def create_array(
        self,
        name: str,
        *,
        shape: tuple[int, ...],
        dtype: str,
        shard: Vector | None,
        chunk: Vector,
        attributes: dict[str, Any],
    ) -> None:
        """Create an array; an array of the same name is replaced.

        Args:
            name: of the array.
            shape: (z, y, x) or (C, z, y, x) in voxels.
            dtype: e.g. `"uint64"`.
            shard: voxels, zyx; None: no shards.
            chunk: voxels, zyx, a divisor of `shard`.
            attributes: of the array, beside the version of the format.
        """
        group = zarr.open_group(self._store, mode="r+")
        create_array(
            group,
            name,
            shape=shape,
            dtype=dtype,
            shard_shape=shard,
            chunk_shape=chunk,
            attributes={**attributes, "fgnet_format": FORMAT_VERSION},
        )


def stored_output(path: str) -> Output | None:
    """The output, with its tables and records, that the arrays at `path` belong to.

    Args:
        path: `output.path`, a folder or the URL of an object store.

    Returns:
        None if `path` is no output, or if its folder is not on this machine.
    """
    if not is_url(path):
        return Output(path)
    try:
        attributes = zarr.open_group(open_store(path, "output.path", read_only=True), mode="r").attrs
        folder, mark = attributes.get("fgnet_state_folder"), attributes.get("fgnet_state")
    except (OSError, ValueError, KeyError, InputError):
        return None
    known = isinstance(folder, str) and mark is not None and mark_of(Path(folder)) == mark
    return Output(path, str(folder)) if known else None


def _set_attributes(group: zarr.Group, wanted: dict[str, Any]) -> None:
    """Set the attributes that differ; if none does, nothing is written."""
    different = {name: value for name, value in wanted.items() if group.attrs.get(name) != value}
    if different:
        group.update_attributes(different)
