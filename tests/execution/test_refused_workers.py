"""Workers that cannot begin: their sentence is that of the run, which ends at once, and the same run goes on later."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pipeline_tools import cells, records, state_of, write_volume
from tiny_network import write_checkpoint

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.cluster.array_element import run_share
from fgnet_pipeline.execution.cluster.submission import Share, Submission
from fgnet_pipeline.execution.driver import all_left, announce, checked, driving
from fgnet_pipeline.execution.failures import require_done
from fgnet_pipeline.execution.run import PREDICT, run
from fgnet_pipeline.stages.configuration import load_config

BLOCKS = 2 * 2 * 4


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Any]:
    """A configuration of stage predict with a small network; raw.zarr and test.safetensors are its inputs."""
    return {
        "volume": {"path": write_volume(tmp_path / "raw.zarr", cells((32, 32, 64)))},
        "output": {"path": str(tmp_path / "out.zarr")},
        "model": {"checkpoint": str(write_checkpoint(tmp_path)), "device": "cpu"},
        "schedule": {"workers": 2, "block_shape": [16, 16, 16]},
    }


@pytest.mark.parametrize(
    "workers, gone, field",
    [
        pytest.param(2, "test.safetensors", "model.checkpoint", id="processes-stage"),
        pytest.param(2, "raw.zarr", "volume.path", id="processes-job"),
        pytest.param(0, "test.safetensors", "model.checkpoint", id="serial"),
    ],
)
def test_an_input_that_goes_after_the_checks_is_one_sentence(
    tables: dict[str, Any], tmp_path: Path, workers: int, gone: str, field: str
) -> None:
    tables["schedule"]["workers"] = workers
    config = load_config(tables)

    def take_away(sentence: str) -> None:
        if sentence.startswith("blocks to do"):  # the driver has checked everything, and no worker has begun
            (tmp_path / gone).rename(tmp_path / "away")

    with pytest.raises(InputError, match=f"^{field} = .*{gone}.*: expected ") as refused:
        run(config, PREDICT, report=take_away)
    assert refused.value.exit_code == 2
    assert len(list((state_of(tmp_path / "out.zarr") / "logs").glob("predict-*"))) <= workers, "nobody was replaced"
    (tmp_path / "away").rename(tmp_path / gone)
    run(config, PREDICT)
    assert len(records(tmp_path / "out.zarr", "predict")) == BLOCKS


def test_an_element_of_a_job_array_tells_whoever_waits_for_it(tables: dict[str, Any], tmp_path: Path) -> None:
    tables["schedule"]["backend"] = "array"
    job, names = checked(load_config(tables), PREDICT, None)
    with driving(job, names, None):
        work = announce(job, all_left(job, names))
    share = Share(job.plan.blocks("predict"), work.todo["predict"], 1)
    submission = Submission(work.spec, {"predict": share}).write(job.output.progress.root)
    (tmp_path / "test.safetensors").unlink()
    for ends in (lambda: run_share(submission, "predict", 0), lambda: require_done(job, names, None)):
        with pytest.raises(InputError, match=r"^model\.checkpoint = "):
            ends()
    job.output.progress.set_driver()
    assert job.output.progress.refusal("predict") is None, "it is of an earlier run"


def test_a_sentence_is_the_same_after_it_was_noted(tmp_path: Path, tables: dict[str, Any]) -> None:
    progress = checked(load_config(tables), PREDICT, None)[0].output.progress
    run_number = progress.set_driver()
    for value in ("a 'text'", 3, 0.5, None, True, [16, 16, 16]):
        error = InputError("model.device", value, "another", "set it")
        progress.refuse("predict", run_number, error)
        assert str(progress.refusal("predict")) == str(error)
    progress.refuse("predict", run_number, InputError("model.device", tmp_path, "another", "set it"))
    assert str(tmp_path) in str(progress.refusal("predict"))
    progress.forget_failures()
    assert progress.refusal("predict") is None
    shutil.rmtree(progress.root / "predict")
    (progress.root / "predict").write_text("no folder")
    progress.refuse("predict", run_number, InputError("model.device", "cuda", "another", "set it"))  # as on a full disk
