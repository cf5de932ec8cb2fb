"""Reading a configuration: TOML, `--set` overrides, relative paths, and errors as one sentence.

Every key of the file can be overridden with `--set table.key=value`. Relative paths in the file are relative to the
file. Relative paths in `--set` are relative to the working directory.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fgnet_pipeline.core.config import Choices, Config, ScheduleConfig, is_url
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.known_keys import meant_key, unknown_key
from fgnet_pipeline.core.suggestions import did_you_mean
from fgnet_pipeline.core.toml_file import read_toml
from fgnet_pipeline.core.user_paths import absolute_path

#: Paths of inputs. A link among them keeps its name: metadata of the folder that holds the link may name it.
INPUT_KEYS = (("volume", "path"), ("volume", "mask"), ("affinities", "path"), ("fragments", "path"))
PATH_KEYS = (
    ("volume", "path"),
    ("volume", "mask"),
    ("output", "path"),
    ("output", "state"),
    ("affinities", "path"),
    ("fragments", "path"),
    ("model", "checkpoint"),
)
#: Pydantic's names for an unknown key: of a model, and of a dataclass.
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
#: A text of numbers alone, or of lists of numbers.
_NUMBERS = re.compile(r"[\d\s.,\[\]+\-eE]+")


def load_config(file: str | Path | Mapping[str, Any], overrides: list[str] | None, choices: Choices) -> Config:
    """Read a TOML file, apply `section.key=value` overrides and validate.

    Args:
        file: path of the TOML file; or its tables, whose relative paths are relative to the working directory.
        overrides: `section.key=value` texts, applied in this order; None for none.
        choices: the stages, methods and scores that the configuration may name.

    Raises:
        InputError: the file cannot be read or is not TOML, a key is unknown, or a value has a wrong type or range.
    """
    if isinstance(file, Mapping):
        tables, base = _plain(file), Path.cwd()
    elif isinstance(file, str | os.PathLike):
        file = Path(file)
        tables, base = read_toml(file), file.resolve().parent
    else:
        raise InputError("CONFIG", file, "the path of a TOML file, or its tables as a mapping", "give one of them")
    _make_absolute(tables, base)
    for override in overrides or []:
        apply_override(tables, override, Config)
    return validate(tables, choices)


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of tables in the types that JSON has; a path becomes its text.

    Raises:
        InputError: a key or a value that no TOML file could hold.
    """
    try:
        copied: dict[str, Any] = json.loads(json.dumps(given, default=_jsonable, allow_nan=True))
    except (TypeError, ValueError, RecursionError) as error:
        remedy = f"change it ({error})"
        raise InputError("CONFIG", "its values", "texts, numbers, truth values, lists and mappings", remedy) from error
    return copied


def _jsonable(value: Any) -> Any:
    """What JSON has for a path, a mapping, or a number or array of numpy."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__}")


def validate(tables: dict[str, Any], choices: Choices) -> Config:
    """Validate tables and make a `Config` of them.

    Args:
        tables: the tables of a configuration.
        choices: the stages, methods and scores that the configuration may name.

    Raises:
        InputError: a key is unknown, or a value has a wrong type or range; the error names the first such key.
    """
    ScheduleConfig.check_keys(tables.get("schedule"), choices)
    try:
        # Strict validation of JSON refuses text or a truth value for a number, but takes a list for a tuple and 1 for
        # a float. Strict validation of Python objects would refuse these, too.
        return Config.model_validate_json(json.dumps(tables, default=str), context=choices)
    except ValidationError as error:
        raise input_error(error, Config) from error


def input_error(error: ValidationError, model: type[Any]) -> InputError:
    """Turn the first of pydantic's errors into an `InputError`.

    Args:
        error: of the validation.
        model: class of the whole document, to find the key that was meant by an unknown one.
    """
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "CONFIG"
    if first["type"] in UNKNOWN_KEY:
        return unknown_key(model, first["loc"], first["input"])
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return InputError(field, first["input"], first["ctx"]["expected"],
                          did_you_mean(first["input"], known, "choose one of them"))  # fmt: skip
    if first["type"] == "json_invalid":
        return InputError("CONFIG", "its values", "text in UTF-8 and lists that are not nested deeply", "correct it")
    if first["type"] == "missing":
        return InputError(field, None, "a value", f"set it in the file or with --set {field}=...")
    expected = first["msg"].removeprefix("Value error, ")
    return InputError(field, first["input"], expected[0].lower() + expected[1:], "change the value")


def apply_override(tables: dict[str, Any], override: str, model: type[Any]) -> None:
    """Apply one `section.key=value` to `tables` in place.

    Relative paths are relative to the working directory.

    Args:
        tables: of a configuration.
        override: as it was typed.
        model: class of the configuration, to find the section that was left out.

    Raises:
        InputError: `override` has another form, or it takes a value for a section.
    """
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        meant = meant_key(model, keys) if equals and len(keys) == 1 else None
        remedy = f"did you mean {meant}?" if meant and "." in meant else "e.g. --set schedule.workers=4"
        raise InputError("--set", override, "section.key=value", remedy)
    if not _is_utf8(override):
        raise InputError("--set", override, "text in UTF-8", "correct it, or rename the file")
    table = tables
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise InputError("--set", override, f"a section, but {key} is a value", "check the key")
    if tuple(keys) in PATH_KEYS:
        # A path is never read as TOML: a folder may be called 1.5 or true.
        table[keys[-1]] = _absolute(_unquoted(text.strip()), None, tuple(keys))
    else:
        table[keys[-1]] = _parse_value(text.strip())


def _is_utf8(text: str) -> bool:
    """False if Python has put surrogates for bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_value(text: str) -> Any:
    """The value that a user typed: TOML, numbers such as .16, which TOML does not know, or else plain text."""
    for spelled in (text, _with_zeros(text)):
        try:
            document = tomllib.loads(f"value = {spelled}")
        except (ValueError, RecursionError):
            continue
        if document.keys() == {"value"}:  # else the text has several lines
            return document["value"]
    return text


def _with_zeros(text: str) -> str:
    """Write the numbers of a text that holds only numbers, brackets and commas as TOML does: 0.16 for .16."""
    if not _NUMBERS.fullmatch(text):
        return text
    return re.sub(r"(?<![\d.])\.(?=\d)", "0.", re.sub(r"(?<=\d)\.(?!\d)", ".0", text))


def _unquoted(text: str) -> str:
    """The text without one pair of quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _make_absolute(tables: dict[str, Any], base: Path) -> None:
    for section, key in PATH_KEYS:
        table = tables.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = _absolute(table[key], base, (section, key))


def _absolute(path: str, base: Path | None, keys: tuple[str, ...]) -> str:
    looks_like_a_name = "/" not in path and not path.endswith((".safetensors", ".pt"))
    if is_url(path) or (keys == ("model", "checkpoint") and looks_like_a_name):
        return path
    return absolute_path(path, base, ".".join(keys), follow_links=keys not in INPUT_KEYS)
