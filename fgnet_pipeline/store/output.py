"""The output: arrays, tables, records, logs and the resolved configuration.

All of it lies under ``output.path`` where that is a folder. Where it is an object store, the arrays do; the rest, which
needs a file system that appends, locks and flushes, lies under ``output.state``. Each holds the same mark then, so that
no two states ever write to one set of arrays.
"""

from __future__ import annotations

import contextlib
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

import zarr
import zarr.errors
from zarr.core.sync import collect_aiterator

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import DamageError, InputError, StoreError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.store.arrays import OutputArray, create_array
from fgnet_pipeline.store.atomic_files import read_json, write_json
from fgnet_pipeline.store.object_store import RemoteStore, open_store
from fgnet_pipeline.store.records.progress import Progress
from fgnet_pipeline.store.tables import Tables

FORMAT_VERSION = 1
ARRAYS = ("affinities", "fragments", "segmentation")
#: In the folder of the state of arrays in an object store: their mark.
STATE_FILE = "state.json"


class Output:
    """Everything that a run writes; opening it writes nothing.

    Args:
        path: ``output.path``, a folder or the URL of an object store.
        state: ``output.state``, a folder; only with a URL.

    Attributes:
        root: the folder of all but the arrays, and without ``state`` of these, too.
    """

    def __init__(self, path: str, state: str | None = None) -> None:
        self.path = path
        self.root = Path(path if state is None else state)
        self.progress = Progress(self.root / "progress")
        self.logs = self.root / "logs"

    def tables(self, kind: str, stage: str) -> Tables:
        """The tables of one kind; ``stage`` is what to redo when one is damaged."""
        return Tables(self.root / "tables", kind, stage)

    @cached_property
    def _store(self) -> RemoteStore | Path:
        """Where the arrays are."""
        return open_store(self.path, "output.path", read_only=False) if is_url(self.path) else self.root

    def check(self) -> None:
        """Refuse a path that holds something else.

        Raises:
            InputError: a file, or a folder that is neither empty nor one of our groups; an object store that cannot be
                read, or whose arrays belong to another ``output.state``.
        """
        if isinstance(self._store, RemoteStore):
            self._check_remote(self._store)
        else:
            self._check_folder()

    def _check_remote(self, store: RemoteStore) -> None:
        root = self.root
        if root.is_file() or (root.is_dir() and any(root.iterdir()) and not self._is_state()):
            expected = "an empty folder, or the state of an output of this program"
            raise InputError("output.state", str(root), expected, "choose another output.state")
        try:
            group = zarr.open_group(store, mode="r")
            arrays = [name for name in ARRAYS if _is_foreign(group.get(name))]
        except StoreError as error:
            raise self._unreachable(error) from error
        except FileNotFoundError:
            self._require_empty(store)
            return
        except (ValueError, KeyError):
            raise InputError("output.path", self.path, "a Zarr v3 group", "choose another output.path") from None
        self._check_mark(group)
        if arrays:
            raise self._foreign(arrays[0])

    def _check_mark(self, group: zarr.Group) -> None:
        version, mark = group.attrs.get("fgnet_format"), group.attrs.get("fgnet_state")
        if version != FORMAT_VERSION:
            expected = f"nothing, or an output of format {FORMAT_VERSION} (found {version or 'something else'})"
            raise InputError("output.path", self.path, expected, "choose another output.path")
        if mark is not None and mark != self._mark():
            expected = f"the folder in which the arrays at {self.path} were begun"
            remedy = "name that folder, or choose another output.path"
            raise InputError("output.state", str(self.root), expected, remedy)

    def _require_empty(self, store: RemoteStore) -> None:
        try:
            found = collect_aiterator(store.list_dir(""))
        except StoreError as error:
            raise self._unreachable(error) from error
        if found:
            expected = f"nothing, or an output of this program (found {found[0]})"
            raise InputError("output.path", self.path, expected, "choose another output.path")

    def _is_state(self) -> bool:
        return (self.root / STATE_FILE).exists() or (self.root / "progress").is_dir()

    def _mark(self) -> str | None:
        document = read_json(self.root / STATE_FILE)
        return str(document["mark"]) if isinstance(document, dict) and "mark" in document else None

    def _unreachable(self, error: StoreError) -> InputError:
        return InputError("output.path", self.path, "an object store that can be read and written", str(error))

    def _check_folder(self) -> None:
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
        for name in ARRAYS:
            attributes = read_json(self.root / name / "zarr.json") or {}
            exists = (self.root / name).exists()
            if exists and "fgnet_format" not in attributes.get("attributes", {}) and attributes:
                raise self._foreign(name)

    def _foreign(self, name: str) -> InputError:
        expected = f"no array {name!r} that another program wrote"
        return InputError("output.path", self.path, expected, "choose another output.path, or move that array away")

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
            if isinstance(self._store, RemoteStore):
                self._mark_remote(self._store)
            else:
                _set_attributes(zarr.open_group(self.root, mode="a", zarr_format=3), {"fgnet_format": FORMAT_VERSION})
            self.progress.root.mkdir(exist_ok=True)
        except StoreError as error:
            raise self._unreachable(error) from error
        except OSError as error:
            field = "output.state" if is_url(self.path) else "output.path"
            raise InputError(
                field, str(self.root), "a folder that can be written", f"check it ({error.strerror or error})"
            ) from error

    def _mark_remote(self, store: RemoteStore) -> None:
        """Make the group with the mark of our folder; where that fails, a new folder is left empty."""
        mark = self._mark()
        if mark is None:
            write_json(self.root / STATE_FILE, {"mark": uuid.uuid4().hex})
        try:
            group = zarr.open_group(store, mode="a", zarr_format=3)
            _set_attributes(group, {"fgnet_format": FORMAT_VERSION, "fgnet_state": self._mark()})
        except BaseException:
            if mark is None:
                (self.root / STATE_FILE).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.root.rmdir()
            raise

    def array(self, name: str) -> OutputArray:
        """An existing array.

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
            InputError: that cannot be told now; an array that only seems to be gone would be replaced.
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
        """Whether anything is stored of the array's voxels, whatever its metadata say."""
        if not isinstance(self._store, RemoteStore):
            return (self.root / name / "c").exists()
        try:
            return bool(collect_aiterator(self._store.list_dir(f"{name}/c")))
        except StoreError as error:
            raise self._unreachable(error) from error

    def create_array(
        self, name: str, *, shape: tuple[int, ...], dtype: str, shard: Vector, chunk: Vector, attributes: dict[str, Any]
    ) -> None:
        """Create an array anew, dropping an old one."""
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


def _is_foreign(node: zarr.Array[Any] | zarr.Group | None) -> bool:
    return node is not None and "fgnet_format" not in node.attrs


def _set_attributes(group: zarr.Group, wanted: dict[str, Any]) -> None:
    """Set what differs, so that nothing is written where nothing does."""
    different = {name: value for name, value in wanted.items() if group.attrs.get(name) != value}
    if different:
        group.update_attributes(different)
