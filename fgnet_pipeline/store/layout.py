"""Where an output in a folder keeps what is no array, so that Zarr lists the arrays without a warning.

Zarr opens every entry of a group's folder when it lists the group, and warns of each one that is no array and no group.
A full listing goes on below groups, also if their consolidated metadata say that they are empty. It never looks below
an array. Therefore format 2 of an output has one more group, `fgnet`. Its only member, `fgnet/state`, is declared to be
an array without data, and its folder holds the tables, the records and all other files.

Format 1 kept these files beside the arrays. An output stays in the format in which it was begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgnet_pipeline.store.atomic_files import read_json, write_json

#: The format of a new output in a folder, and the formats that can be read. An object store holds arrays only: its
#: format stays 1.
NEW_FORMAT, FORMATS = 2, (1, 2)
#: The group, and the member of it that holds the files.
GROUP, STATE = "fgnet", "fgnet/state"
_NOTE = "tables, records and logs of fgnet; no array data"
_METADATA: dict[str, dict[str, Any]] = {
    GROUP: {"zarr_format": 3, "node_type": "group", "attributes": {"content": _NOTE}},
    STATE: {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [1],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "dimension_names": ["nothing"],
        "attributes": {"content": _NOTE},
    },
}


def format_of(root: Path) -> int:
    """The format in which an output is, or will be, stored.

    Args:
        root: folder of the output; it need not exist.

    Raises:
        InputError: this user may not read the metadata of the group.
    """
    document = read_json(root / "zarr.json")
    attributes = document.get("attributes") if isinstance(document, dict) else None
    stated = attributes.get("fgnet_format") if isinstance(attributes, dict) else None
    if isinstance(stated, int):
        return stated
    return 1 if (root / "progress").is_dir() else NEW_FORMAT


def state_of(root: Path) -> Path:
    """The folder of tables, records, logs and configuration of an output in the folder `root`."""
    return root if format_of(root) == 1 else root / STATE


def moved_state_of(folder: Path) -> Path:
    """The state in the folder `output.state` of arrays in an object store.

    It is the folder itself, unless the folder was an output whose arrays were moved to the object store.
    """
    return folder / STATE if (folder / STATE).is_dir() else folder


def damaged_metadata(root: Path) -> Iterator[Path]:
    """The metadata files that hide the state from Zarr, as far as they are missing or were changed.

    Args:
        root: folder of an output.

    Yields:
        Files of an output of format 2. Format 1 has none. More entries and other attributes do no harm.
    """
    if format_of(root) == 1:
        return
    for name, wanted in _METADATA.items():
        path = root / name / "zarr.json"
        stored = read_json(path)
        if not isinstance(stored, dict) or any(stored.get(k) != v for k, v in wanted.items() if k != "attributes"):
            yield path


def write_metadata(root: Path) -> list[Path]:
    """Write the files that `damaged_metadata` finds; the files that were written."""
    written = list(damaged_metadata(root))
    for path in written:
        write_json(path, _METADATA[path.parent.relative_to(root).as_posix()])
    return written
