"""The folder beside the target of an export that holds its records, logs and tables.

The folder says what the export is made of. So an export is continued by the same command alone, and no command writes
over another export or over other data.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, vector
from fgnet_pipeline.core.plan import differences
from fgnet_pipeline.store.atomic_files import read_json, write_json
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.permissions import require_writable

FORMAT_VERSION = 1
#: Ending of the folder, after the name of the target.
SUFFIX = ".progress"
_REMEDY = "choose another --to, or delete both"


class State(Output):
    """Records, logs and tables of one export.

    Args:
        folder: that holds them; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))

    @cached_property
    def state(self) -> Path:
        """The folder itself."""
        return self.root

    @property
    def document(self) -> Path:
        """The file that says what the export is made of."""
        return self.root / "export.json"

    def create(self) -> None:
        """Make the folder.

        Raises:
            InputError: it cannot be written.
        """
        require_writable(self.root, self.root, "--progress")
        try:
            self.progress.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            expected = f"a folder that can be written ({error.strerror or error})"
            raise InputError("--progress", str(self.root), expected, "choose another") from error

    def is_begun(self) -> bool:
        """Whether an export has begun here."""
        return self.document.exists()

    def save(self, made_of: dict[str, Any], region: Box) -> None:
        """Note what the export is made of: a JSON document, and the region of interest in voxels."""
        write_json(self.document, {"format": FORMAT_VERSION, "made_of": made_of, "region": region.to_list()})

    def check(self, made_of: dict[str, Any], region: Box, to: str) -> None:  # type: ignore[override]
        """Refuse to continue another export.

        Args:
            made_of: what the present export is made of.
            region: the present region of interest in voxels.
            to: the target, for errors.

        Raises:
            InputError: the folder holds something else, or the export of another result, region or options.
        """
        if not self.is_begun():
            if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
                expected = "a folder that does not exist or is empty"
                raise InputError("--progress", str(self.root), expected, "choose another, or delete it")
            return
        held = read_json(self.document)
        if not isinstance(held, dict) or held.get("format") != FORMAT_VERSION:
            expected = f"the records of an export in format {FORMAT_VERSION}"
            raise InputError("--progress", str(self.root), expected, _REMEDY)
        if held["made_of"].get("to") != made_of["to"]:
            expected = f"the records of an export to {to}, not to {held['made_of'].get('to')}"
            raise InputError("--progress", str(self.root), expected, "choose another")
        different = differences(held["made_of"], json.loads(json.dumps(made_of)))
        if different:
            expected = f"a new path, or the export that was begun there ({'; '.join(different)})"
            raise InputError("--to", to, expected, f"{_REMEDY} ({to} and {self.root})")
        before = Box(vector(held["region"][0]), vector(held["region"][1]))
        if not region.contains(before):
            expected = f"a region that contains that of the export so far ({before.to_list()} in voxels, zyx)"
            raise InputError("volume.roi", region.to_list(), expected, f"{_REMEDY} ({to} and {self.root})")
