"""The configuration of a training: what is documented loads, what is wrong is named."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from fgnet.training.settings import DefectSettings, IntensitySettings, WarpSettings
from pipeline_tools import CHECKOUT
from pydantic import BaseModel
from tiny_training import write_training

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig


def test_the_documented_configuration_loads(tmp_path: Path) -> None:
    text = (CHECKOUT / "docs" / "guides" / "training.md").read_text()
    sections = text.split("## 1. Data")[1].split("## 3. Run")[0]
    lines = [line.removeprefix("    ") for line in sections.splitlines() if line.startswith("    ")]
    (tmp_path / "train.toml").write_text("\n".join([*lines, "[output]", 'path = "out"']))
    config = TrainConfig.load(tmp_path / "train.toml")
    assert config.data.volumes[0].mask == str(tmp_path / "lab.zarr" / "proofread")
    assert config.network().name == "tiny" and config.optimise.freeze_encoder and config.geometry.tile == (16, 256, 256)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('preset = "nano"', 'preset = "huge"', "architecture"),
        ("batch = 1", "batch = 1\nbatches = 2", "batches"),
        ("warm_up = 1", "warmup = 1", "warmup"),
        ("patch = [16, 32, 32]", "patch = [32, 48, 32]", "patch"),
        ("tile = [32, 32, 32]", "tile = [33, 32, 32]", "geometry.tile"),
        ("stride = [24, 24, 24]", "stride = [30, 24, 24]", "stride"),
        ("cycles = [2]", "cycles = [4, 2]", "optimise.cycles"),
        ("cycles = [2]", "cycles = [2]\nends = 2", "optimise.ends"),
        ("threads = 1", "threads = 1\nloaders = -1", "machine.loaders"),
        ("begin = 0", "begin = 1", "optimise.phases"),
        ('path = "out"', "", "output.path"),
        ("every = 1", "every = 0", "output.every"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, old: str, new: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        TrainConfig.load(write_training(tmp_path, (old, new)))
    assert field in str(caught.value)


REQUIRED = "required"


def fields_of(table: type[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default (`REQUIRED` if there is none) of every key of a table."""
    if issubclass(table, BaseModel):
        for name, info in table.model_fields.items():
            yield name, info.annotation, REQUIRED if info.is_required() else info.default
        return
    types = get_type_hints(table)
    for field in dataclasses.fields(table):
        yield field.name, types[field.name], REQUIRED if field.default is dataclasses.MISSING else field.default


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))


def keys_of(table: type[Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> default of every key of a table and of the tables in it, those of a list of tables once."""
    found: dict[str, Any] = {}
    for name, kind, default in fields_of(table):
        listed = [t for t in get_args(kind) if is_table(t)]
        if not is_table(kind):
            found[prefix + name] = default
        if is_table(kind) or (listed and name != "validation"):
            found |= keys_of(listed[0] if listed else kind, f"{prefix}{name}.")
    return found


def test_every_key_is_documented_with_its_default() -> None:
    reference = (CHECKOUT / "docs" / "reference" / "training-configuration.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.+?) \| (.+) \|$", reference, re.M)
    documented = {key: default for key, default, _ in rows}
    expected = {key: "none" if default is None else default for key, default in keys_of(TrainConfig).items()}
    assert documented.keys() == expected.keys()
    for key, default in expected.items():
        assert documented[key] == (default if default in (REQUIRED, "none") else json.dumps(default)), key


@pytest.mark.parametrize("table", [WarpSettings, IntensitySettings, DefectSettings])
def test_ranges_are_documented(table: type[Any]) -> None:
    text = (CHECKOUT / "docs" / "reference" / "training-configuration.md").read_text()
    for field in dataclasses.fields(table):
        allowed = field.metadata["range"]
        assert f".{field.name}` | {field.default} | {allowed.meaning}; {allowed} |" in text
