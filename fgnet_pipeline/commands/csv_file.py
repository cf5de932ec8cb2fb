"""The file of an option `--csv`."""

from __future__ import annotations

from pathlib import Path


def write_csv(path: Path, text: str) -> None:
    """Write the file, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    from fgnet_pipeline.core.errors import InputError
    from fgnet_pipeline.store.atomic_files import write_atomic

    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise InputError("--csv", str(path), "a file that can be written", f"check it ({error.strerror})") from error
