"""Reading a configuration: TOML, ``--set`` overrides, relative paths, and errors as one sentence.

Every key of the file can be overridden with ``--set table.key=value``. Relative paths in the file are relative to the
file, in ``--set`` to the working directory.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fgnet_pipeline.core.config import Choices, Config, ScheduleConfig, is_url
from fgnet_pipeline.core.errors import InputError

PATH_KEYS = (
    ("volume", "path"),
    ("volume", "mask"),
    ("output", "path"),
    ("output", "state"),
    ("affinities", "path"),
    ("fragments", "path"),
    ("model", "checkpoint"),
)


def load_config(file: str | Path, overrides: list[str] | None, choices: Choices) -> Config:
    """Read a TOML file, apply ``section.key=value`` overrides and validate.

    Args:
        choices: the stages, methods and scores that it may name.

    Raises:
        InputError: no such file, no TOML, unknown key, wrong type or range.
    """
    file = Path(file)
    tables = read_toml(file)
    _make_absolute(tables, file.resolve().parent)
    for override in overrides or []:
        apply_override(tables, override)
    return validate(tables, choices)


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file, or an InputError that says what is wrong with it."""
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("CONFIG", str(file), "a readable TOML file", f"check the path ({reason})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("CONFIG", str(file), "valid TOML", f"mend the file: {error}") from error


def validate(tables: dict[str, Any], choices: Choices) -> Config:
    """Tables to a :class:`Config`; pydantic's errors become one InputError sentence."""
    ScheduleConfig.check_keys(tables.get("schedule"), choices)
    try:
        # As JSON: strict there means no text or truth value for a number, but lists are tuples and 1 is a float.
        return Config.model_validate_json(json.dumps(tables, default=str), context=choices)
    except ValidationError as error:
        raise input_error(error) from error


def input_error(error: ValidationError) -> InputError:
    """The first of pydantic's errors as an :class:`InputError`."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "CONFIG"
    if first["type"] == "extra_forbidden":
        remedy = "check the spelling (docs/reference/configuration.md lists them)"
        return InputError(field, first["input"], "a known key", remedy)
    if first["type"] == "missing":
        return InputError(field, None, "a value", f"set it in the file or with --set {field}=...")
    return InputError(field, first["input"], first["msg"][0].lower() + first["msg"][1:], "change the value")


def apply_override(tables: dict[str, Any], override: str) -> None:
    """Apply one ``section.key=value`` to ``tables`` in place; paths are taken from the working directory."""
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise InputError("--set", override, "section.key=value", "e.g. --set schedule.workers=4")
    table = tables
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise InputError("--set", override, f"a section, but {key} is a value", "check the key")
    table[keys[-1]] = _parse_value(text.strip())
    if tuple(keys) in PATH_KEYS:
        # A path is never read as TOML: a folder may well be called 1.5 or true.
        table[keys[-1]] = _absolute(text.strip(), Path.cwd(), tuple(keys))


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _make_absolute(tables: dict[str, Any], base: Path) -> None:
    for section, key in PATH_KEYS:
        table = tables.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = _absolute(table[key], base, (section, key))


def _absolute(path: str, base: Path, keys: tuple[str, ...]) -> str:
    path = path.strip("\"'")
    looks_like_a_name = "/" not in path and not path.endswith((".safetensors", ".pt"))
    if is_url(path) or (keys == ("model", "checkpoint") and looks_like_a_name):
        return path
    return str((base / Path(path).expanduser()).resolve()) if path else path
