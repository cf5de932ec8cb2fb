"""Reads TOML files: encodings that editors write, and errors that name file and line. Spells values for them, too."""

from __future__ import annotations

import codecs
import json
import tomllib
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.errors import InputError

#: Byte order marks of encodings that TOML does not allow. UTF-32 comes first: its mark begins with that of UTF-16.
_FOREIGN_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


def read_toml(file: Path) -> dict[str, Any]:
    """Read the tables of a TOML file.

    A byte order mark of UTF-8, which editors on Windows write, is passed over. Lines may end with CR LF.

    Raises:
        InputError: the file cannot be read, or it is not TOML; the error names the file and the line.
    """
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("CONFIG", str(file), "a readable TOML file", f"check the path ({reason})") from error
    text = _decoded(data, file)
    try:
        return tomllib.loads(text)
    except ValueError as error:  # its subclass TOMLDecodeError, or a number with thousands of digits
        raise InputError("CONFIG", str(file), "valid TOML", f"correct the file: {error}") from error
    except RecursionError as error:
        raise InputError("CONFIG", str(file), "lists that are nested less deeply", "correct the file") from error


def _decoded(data: bytes, file: Path) -> str:
    """The text of a file, without the byte order mark of UTF-8."""
    for mark, name in _FOREIGN_MARKS.items():
        if data.startswith(mark):
            raise InputError("CONFIG", str(file), f"TOML in UTF-8 (the file is {name})", "save the file as UTF-8")
    if b"\0" in data:
        expected = "TOML in UTF-8 (there are null characters in it: the file may be UTF-16)"
        raise InputError("CONFIG", str(file), expected, "save the file as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        remedy = f"save the file as UTF-8: {error.reason} in line {line}"
        raise InputError("CONFIG", str(file), "TOML in UTF-8", remedy) from error


def toml_value(value: Any) -> str:
    """A value as TOML spells it, which for such values is as JSON does; whole numbers without a fraction."""
    return json.dumps(_plain(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return int(value) if isinstance(value, float) and value == int(value) else value
