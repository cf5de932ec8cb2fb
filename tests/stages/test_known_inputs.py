"""Which commands sample a lab's own arrays to tell whether a result is stale, and which trust the note of its run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from pipeline_tools import read, state_of, write_config, write_volume

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError, StaleError
from fgnet_pipeline.execution.driver import open_planned
from fgnet_pipeline.execution.resume import check_fresh
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.registry import stages_after

STAGES = stages_after("predict")


@pytest.fixture(scope="module")
def finished(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run from a lab's own affinities and fragments."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(finished_run / "out.zarr" / "affinities", folder / "affinities.zarr")
    fragments = write_volume(folder / "fragments.zarr", read(finished_run / "out.zarr", "fragments"))
    config = write_config(
        folder / "config.toml",
        affinities={"path": str(folder / "affinities.zarr")},
        fragments={"path": fragments},
        output={"path": str(folder / "out.zarr")},
        schedule={"workers": 0, "block_shape": [32, 32, 32]},
        agglomerate={"threshold": 0.4},
    )
    run(load_config(config))
    return folder


@pytest.fixture
def lab(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, and the inputs at their place still; the note names them."""
    shutil.copytree(finished / "out.zarr", tmp_path / "out.zarr")
    shutil.copy(finished / "config.toml", tmp_path / "config.toml")
    for name in ("affinities", "fragments"):
        shutil.copytree(finished / f"{name}.zarr", tmp_path / f"{name}.zarr")
    return tmp_path


def configured(lab: Path, *overrides: str) -> Config:
    return load_config(lab / "config.toml", [f"output.path={lab / 'out.zarr'}", *overrides])


def fingerprints(job: Job) -> dict[str, object]:
    return {name: task.fingerprint for name, task in job.plan.tasks.items()}


def opened(lab: Path, *overrides: str, only_reads: bool = True) -> Job:
    return open_planned(configured(lab, *overrides), STAGES, only_reads=only_reads)


def changed(path: Path) -> str:
    """Change the voxels of a copy of an array, without a change of its metadata; its path."""
    array = zarr.open_array(path, mode="r+")
    array[...] = np.asarray(array[...])[..., ::-1]
    return str(path)


def test_a_reader_of_results_reads_no_voxel_of_the_inputs(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = opened(finished, only_reads=False)

    def refuse(*_: object) -> None:
        raise AssertionError("an input was sampled")

    monkeypatch.setattr("fgnet_pipeline.stages.known_inputs.sample", refuse)
    assert fingerprints(opened(finished)) == fingerprints(sampled)
    with pytest.raises(AssertionError, match="sampled"):
        opened(finished, only_reads=False)


@pytest.mark.parametrize("name", ["affinities", "fragments"])
def test_another_array_is_sampled_and_makes_the_result_stale(lab: Path, name: str) -> None:
    path = changed(lab / f"{name}.zarr")
    job = opened(lab, f"{name}.path={path}")
    with pytest.raises(StaleError, match=name):
        check_fresh(job, list(job.plan.tasks), None)


def test_the_same_arrays_at_another_place_are_no_mismatch(lab: Path) -> None:
    job = opened(lab, *(f"{name}.path={lab / name}.zarr" for name in ("affinities", "fragments")))
    check_fresh(job, list(job.plan.tasks), None)


@pytest.mark.parametrize("damage", ["absent", "of other results", "torn"])
def test_without_a_note_about_these_results_inputs_are_sampled(lab: Path, damage: str) -> None:
    paths = [f"{name}.path={lab / name}.zarr" for name in ("affinities", "fragments")]
    run(configured(lab, *paths))
    changed(lab / "affinities.zarr")
    check_fresh(job := opened(lab, *paths), list(job.plan.tasks), None)  # the note is trusted
    for task in ("edges", "fragments"):
        note = state_of(lab / "out.zarr") / "progress" / task / "inputs.json"
        if damage == "absent":
            note.unlink()
        elif damage == "torn":
            note.write_text(note.read_text()[:40])
        else:
            document = json.loads(note.read_text())
            for each in document.values():
                each["identity"]["samples"] = "0" * 32
            note.write_text(json.dumps(document))
    job = opened(lab, *paths)
    with pytest.raises(StaleError, match="affinities"):
        check_fresh(job, list(job.plan.tasks), None)


def test_a_run_samples_whatever_the_note_says(lab: Path) -> None:
    paths = [f"{name}.path={lab / name}.zarr" for name in ("affinities", "fragments")]
    run(configured(lab, *paths))
    changed(lab / "affinities.zarr")
    with pytest.raises(InputError, match="stale"):
        run(configured(lab, *paths))
