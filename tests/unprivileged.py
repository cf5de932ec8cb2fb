"""Commands for which the modes of files hold, also if the tests run as root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Root without the capabilities to pass over the modes of files.
_LESS = "-dac_override,-dac_read_search"
_WITHOUT = ["setpriv", "--bounding-set", _LESS, "--inh-caps", _LESS]


def run_unprivileged(
    *arguments: object, code: str = "from fgnet_pipeline.commands.entry import main; main()", **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    """Run Python code, by default `fgnet`, in a process that heeds the modes of files.

    Args:
        arguments: of the code, as `sys.argv[1:]`.
        code: what Python runs.
        kwargs: of `subprocess.run`.
    """
    prefix = _WITHOUT if os.geteuid() == 0 else []
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **kwargs)


def make_read_only(folder: Path) -> None:
    """Take the permission to write from everything below a folder; pytest can still remove it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
