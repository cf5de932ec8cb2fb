"""What functions of the Python interface take: configurations, results, overrides, voxels and paths."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from fgnet_pipeline.commands.options import extra
from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.stages.configuration import load_config, load_result
from fgnet_pipeline.views.result import Result

#: A configuration: a path of a TOML file, the tables of one, or what `load_config` returned.
Configuration = str | Path | Mapping[str, Any] | Config
#: Overrides: `section.key=value` texts, or section.key -> value.
Overrides = str | Sequence[str] | Mapping[str, Any] | None


def configured(config: Configuration, set: Overrides = None, workers: int | None = None) -> Config:
    """Load and check a configuration.

    Args:
        config: as for `run`.
        set: as for `run`.
        workers: as for `run`.

    Raises:
        InputError: a file, key or value that does not fit.
    """
    overrides = extra(_overrides(set), workers)
    if not isinstance(config, Config):
        return load_config(config, overrides)
    if overrides:
        expected = "no overrides beside a configuration that is loaded already"
        raise InputError("set", ", ".join(overrides), expected, "give them to load_config")
    return config


def config_of(result: Configuration | Result) -> Config:
    """The configuration of a result, of an output, or of what `fp.run` takes.

    Raises:
        InputError: no output and no configuration that fits.
    """
    if isinstance(result, Result):
        return result.config
    return load_result(str(result)) if isinstance(result, str | Path) else configured(result)


def segmentation_of(result: Configuration | Result) -> str:
    """Path or URL of the segmentation of a result, or of the array that is named."""
    if isinstance(result, str | Path) and not str(result).endswith(".toml"):
        from fgnet_pipeline.store.output import stored_output

        stored = stored_output(str(result))
        if stored is None or not stored.saved_configuration()[0]:
            return str(result)
    return f"{config_of(result).output.path.rstrip('/')}/segmentation"


def _overrides(given: Overrides) -> list[str]:
    if given is None:
        return []
    if isinstance(given, str):
        return [given]
    if isinstance(given, Mapping):
        return [f"{key}={_spelled(key, value)}" for key, value in given.items()]
    return list(given)


def _spelled(key: str, value: Any) -> str:
    """A value as it is typed after `--set`; a text is quoted, so that it stays a text."""
    try:
        return json.dumps(os.fspath(value) if isinstance(value, os.PathLike) else value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError("set", f"{key}={value!r}", "a number, a text, a truth value or a list", "change it") from error


def check_number(field: str, value: Any, least: int) -> None:
    """Check what the command line checks of its options.

    Raises:
        InputError: no whole number, or one that is too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise InputError(field, value, f"a whole number of at least {least}", "change it")


def text_of(path: str | Path | None) -> str | None:
    """A path as it is typed."""
    return None if path is None else str(path)


def typed(voxel: Sequence[int] | str | None) -> str | None:
    """A voxel as it is typed: z,y,x."""
    return voxel if voxel is None or isinstance(voxel, str) else ",".join(map(str, voxel))
