"""The pages of docs/reference say what the code does: keys and defaults, columns, records, assumptions of plan."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pipeline_tools import CHECKOUT, Command, state_of
from pydantic import BaseModel

from fgnet_pipeline.commands.reference import reference as commands_reference
from fgnet_pipeline.core.config import Config, StageSchedule
from fgnet_pipeline.kernels.fragments.method import methods
from fgnet_pipeline.planning import disk
from fgnet_pipeline.stages import agglomerate, lut
from fgnet_pipeline.stages.density import FROZEN_PER_SURFACE, Density
from fgnet_pipeline.stages.registry import stages
from fgnet_pipeline.stages.stage import WORKER_BYTES, Stage
from fgnet_pipeline.store.records.record import Record

CONFIGURATION = CHECKOUT / "docs" / "reference" / "configuration.md"

# The configuration


def keys_of(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every key of a table and of those below it, with its default."""
    found = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= keys_of(kind, f"{prefix}{name}.")
        else:
            found[prefix + name] = field.default
    return found


def described() -> dict[str, str]:
    """Every key that the page describes, with its cell of the column "default"."""
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \|", CONFIGURATION.read_text(), flags=re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a key is described twice"
    return dict(rows)


def test_every_key_is_described_and_every_described_key_exists() -> None:
    of_methods = {f"fragments.{key}" for method in methods().values() for key in method.options}
    assert set(described()) == set(keys_of(Config)) | set(keys_of(StageSchedule, "schedule.STAGE.")) | of_methods


def test_described_defaults_are_the_defaults() -> None:
    page = described()
    for key, default in keys_of(Config).items():
        if isinstance(default, bool | int | float | str | tuple):
            value = list(default) if isinstance(default, tuple) else default
            assert page[key].strip() == f"`{json.dumps(value)}`", key
        else:
            assert page[key].strip() in ("-", "required"), key


def test_described_assumptions_of_plan_are_those_of_the_code() -> None:
    page = (CHECKOUT / "docs" / "scale.md").read_text()
    found, density = stages(), Density()
    rows = {table.kind: f"{table.row_bytes:g}" for stage in found.values() for table in stage.tables}
    compressed = [found[name].array.compressed for name in ("predict", "fragments", "relabel")]  # type: ignore[union-attr]
    for values in (
        [f"{density.fragments:g}"], [f"{density.edges:g}"], [FROZEN_PER_SURFACE], compressed, [disk.RECORD_BYTES],
        [disk.TABLE_BYTES], [rows[kind] for kind in ("fragments", "edges", "merges", "residual", "lut")],
        [f"{WORKER_BYTES >> 20} MiB"], [agglomerate.BYTES_PER_EDGE, agglomerate.BYTES_PER_FRAGMENT],
        [lut.BYTES_PER_ROW], [agglomerate.NODE_SECONDS, agglomerate.EDGE_SECONDS],
    ):  # fmt: skip
        assert f"| {', '.join(map(str, values))} |" in page


# The output


@pytest.mark.parametrize("stage", stages().values(), ids=lambda stage: stage.name)
def test_every_array_and_every_column_is_described(stage: Stage) -> None:
    page = (CHECKOUT / "docs" / "reference" / "output.md").read_text()
    if stage.array is not None:
        assert f"| `{stage.array.name}` | {stage.array.dtype} (" in page
    page = page.partition("## Tables")[2].partition("## Progress")[0]
    for table in stage.tables:
        (row,) = re.findall(rf"^\| `{table.kind}(?:-L)?` \|.*$", page, flags=re.MULTILINE)
        assert [name for name in (*table.columns, *table.optional) if f"`{name}`" not in row] == []


def test_every_field_of_a_record_is_described() -> None:
    page = (CHECKOUT / "docs" / "reference" / "output.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page.partition("## Done records")[2], flags=re.MULTILINE)) == {
        field.name for field in dataclasses.fields(Record)
    }


def test_the_page_of_commands_is_that_of_the_parser() -> None:
    page = CHECKOUT / "docs" / "reference" / "commands.md"
    assert page.read_text() == commands_reference(), "write it again: python -m fgnet_pipeline.commands.reference"


def described_files(page: str) -> re.Pattern[str]:
    """Matches the paths below the state that `docs/reference/output.md` names."""
    state = page.partition("The state:")[2].split("```")[1]
    names = [name for line in state.splitlines() for name in re.findall(r"^(\S+(?: \S+\.\w+)?)", line)]
    names = [word for name in names for word in name.split()] + re.findall(
        r"^\| `(progress/\S+)` \|", page, re.MULTILINE
    )
    places = {"KIND": r"[a-z]+(-\d+)?", "TASK": r"[a-z]+(-\d+)?", "RUN": r"\d+", "Z": r"\d+", "Y": r"\d+", "X": r"\d+"}
    found = []
    for name in names:
        if name == "progress/":
            continue  # the table has its files one by one
        pattern = re.escape(name).replace(r"\*", "[^/]*") + (".*" if name.endswith("/") else "")
        found.append(re.sub(r"\b(KIND|TASK|RUN|[ZYX])\b", lambda match: places[match[0]], pattern))
    return re.compile("|".join(found))


def test_every_file_of_an_output_is_described(copied_run: tuple[Path, Path], command: Command) -> None:
    config, out = copied_run
    assert command("report", config)[0] == 0 and command("verify", config)[0] == 0
    described = described_files((CHECKOUT / "docs" / "reference" / "output.md").read_text())
    files = [path.relative_to(state_of(out)).as_posix() for path in state_of(out).rglob("*") if path.is_file()]
    assert len(files) > 50 and [name for name in files if not described.fullmatch(name)] == []
    assert not described.fullmatch("progress/predict/other.json"), "a file that is not described is found"
    arrays = {path.name for path in out.iterdir()}
    assert arrays == {"zarr.json", "fgnet", "affinities", "fragments", "segmentation"}
