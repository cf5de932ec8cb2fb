"""`fgnet upgrade`: an output of an earlier version gets names and units, and stays valid in all other respects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorstore
from damage_tools import state, truncate
from pipeline_tools import Command, Refused, state_of

ARRAYS = ("affinities", "fragments", "segmentation")


@pytest.fixture
def older(copied_run: tuple[Path, Path]) -> tuple[Path, Path]:
    """(configuration, output) of a finished run whose arrays name no axes."""
    config, out = copied_run
    for name in ARRAYS:
        path = out / name / "zarr.json"
        document = json.loads(path.read_text())
        document.pop("dimension_names")
        document["attributes"].pop("dimension_units")
        path.write_text(json.dumps(document))
    return config, out


def changed(before: dict[str, tuple[int, bytes]], out: Path) -> set[str]:
    """The files that were made or written since `before`, without the lock."""
    after = state(out)
    lock = str((state_of(out) / "progress" / "lock").relative_to(out))
    return {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)} - {lock}


def test_names_and_units_are_added_and_nothing_is_done_again(older: tuple[Path, Path], command: Command) -> None:
    config, out = older
    before = state(out)
    code, text, told = command("upgrade", config)
    assert code == 0 and f"3 of 3 arrays changed: {out}" in told
    assert text.splitlines() == [f"{name}: added dimension_names and dimension_units" for name in ARRAYS]
    assert changed(before, out) == {f"{name}/zarr.json" for name in ARRAYS}
    for name in ARRAYS:
        store = tensorstore.open({"driver": "zarr3", "kvstore": (out / name).as_uri()}).result()
        assert store.domain.labels[-3:] == ("z", "y", "x")
        assert store.dimension_units[-3:] == (tensorstore.Unit("10 nm"),) * 3
    assert command("verify", config)[0] == 0
    code, _, told = command("run", config)
    assert code == 0 and "predict 0 of 18, fragments 0 of 18, edges 0 of 18" in told


def test_a_second_time_changes_nothing(older: tuple[Path, Path], command: Command) -> None:
    _, out = older
    first = json.loads(command("upgrade", out, "--json")[1])
    assert first["output"] == str(out)
    assert first["added"] == {key: ["dimension_names", "dimension_units"] for key in ARRAYS}
    before = state(out)
    assert json.loads(command("upgrade", out, "--json")[1])["added"] == {key: [] for key in ARRAYS}
    assert not changed(before, out)


def test_if_the_metadata_of_one_array_are_damaged_none_changes(older: tuple[Path, Path], refused: Refused) -> None:
    config, out = older
    truncate(out / "segmentation" / "zarr.json")
    before = state(out)
    text = refused("upgrade", config)
    assert f"{out}/segmentation" in text and "verify CONFIG --repair" in text
    assert not changed(before, out)


def test_a_place_without_an_output_is_refused(older: tuple[Path, Path], refused: Refused, tmp_path: Path) -> None:
    config, _ = older
    assert "CONFIG|OUTPUT" in refused("upgrade", config, "--set", f"output.path={tmp_path / 'none.zarr'}")
    assert not (tmp_path / "none.zarr").exists()
