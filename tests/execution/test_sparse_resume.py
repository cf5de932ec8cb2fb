"""A run of which almost all is done: what is left goes to daisy as a list, with the result of any other run."""

from __future__ import annotations

import shutil
from pathlib import Path

import fgnet
import pytest
from pipeline_tools import assert_same_output, records, run_on_cells, standard_config, state_of

from fgnet_pipeline.core.errors import BlocksFailedError
from fgnet_pipeline.execution import daisy_tasks as schedule
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.records.progress import Progress

LOST = {"predict": [(0, 0, 0), (1, 1, 0)], "fragments": [(0, 0, 1)], "edges": [(1, 1, 1)], "relabel": [(1, 0, 1)]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run on 2 x 2 x 2 blocks; no test changes it."""
    return run_on_cells(tmp_path_factory.mktemp("finished"), (48, 48, 48))


@pytest.fixture
def sparse(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the output that misses a few blocks of every array; lists from the first block that is done on."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    progress = Progress(state_of(tmp_path / "out.zarr") / "progress")
    for name, blocks in LOST.items():
        progress.withdraw(name, blocks, 2)
    standard_config(tmp_path, str(finished / "raw.zarr"))
    monkeypatch.setattr(schedule, "MANY_SKIPPED", 0)
    monkeypatch.setattr(schedule, "SPARSE", 0)
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_exactly_the_blocks_that_are_left_are_computed(sparse: Path, finished: Path, workers: int) -> None:
    run(load_config(sparse / "config.toml", [f"schedule.workers={workers}"]))
    assert_same_output(finished / "out.zarr", sparse / "out.zarr")
    for name, blocks in LOST.items():
        again = [tuple(r["block"]) for r in records(sparse / "out.zarr", name) if r["run"] > 2]
        assert sorted(again) == sorted(blocks), name


def test_a_resume_does_not_wait_for_the_model_in_the_driver(
    sparse: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model was checked when its first blocks were predicted; the workers load it beside the driver."""
    asked: list[object] = []
    monkeypatch.setattr(fgnet, "load_predictor", lambda *arguments, **_: asked.append(arguments))
    run(load_config(sparse / "config.toml", ["schedule.workers=1"]))
    assert not asked
    assert_same_output(finished / "out.zarr", sparse / "out.zarr")


def test_blocks_behind_a_failed_block_are_not_computed_from_nothing(sparse: Path, finished: Path) -> None:
    shard = sparse / "out.zarr" / "affinities" / "c" / "0" / "0" / "0" / "1"
    whole = shard.read_bytes()
    shard.write_bytes(b"torn")
    config = load_config(sparse / "config.toml")
    with pytest.raises(BlocksFailedError, match="not begun"):
        run(config)
    again = {name: [r for r in records(sparse / "out.zarr", name) if r["run"] > 2] for name in LOST}
    assert [len(again[name]) for name in ("predict", "fragments", "edges", "relabel")] == [2, 0, 0, 1]
    shard.write_bytes(whole)
    run(config)
    assert_same_output(finished / "out.zarr", sparse / "out.zarr")
