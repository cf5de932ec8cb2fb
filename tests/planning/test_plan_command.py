"""`fgnet plan`: counts, refusals and estimates beside what a run then takes."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pipeline_tools import Command, fgnet, records, run_on_cells, standard_config, state_of, write_volume

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.run import open_planned, run
from fgnet_pipeline.planning.block_counts import Tissue
from fgnet_pipeline.planning.document import Estimate, StageEstimate
from fgnet_pipeline.planning.estimate import estimate
from fgnet_pipeline.planning.memory import machine_memory
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stage_names

ROI = "volume.roi=[[70,0,30],[480,470,410]]"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run on 2 x 2 x 2 blocks; no test changes it."""
    return run_on_cells(tmp_path_factory.mktemp("finished"), (48, 48, 48))


@pytest.fixture(scope="module")
def raw(finished: Path) -> str:
    """Path of the raw volume of `finished`."""
    return str(finished / "raw.zarr")


def write_mask(path: Path, tissue: np.ndarray, voxel_size: list[float], offset: list[float]) -> str:
    attributes = {"voxel_size": voxel_size, "offset": offset, "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    return write_volume(path, tissue.astype(np.uint8), attributes)


def by_task(found: Estimate) -> dict[str, StageEstimate]:
    return {stage.task: stage for stage in found.stages}


def test_a_plan_is_one_document_and_writes_nothing(raw: str, tmp_path: Path, command: Command) -> None:
    config = standard_config(tmp_path, raw)
    before = sorted(tmp_path.iterdir())
    found = json.loads(command("plan", config, "--json", "--set", ROI)[1])
    stages = {stage["task"]: stage for stage in found["stages"]}
    assert (stages["predict"]["blocks"], stages["predict"]["left"], stages["predict"]["done"]) == (8, 8, 0)
    assert stages["predict"]["worker_hours"] is None and found["wall_hours"] is None
    assert found["octree_levels"] == 2 and stages["agglomerate-1"]["blocks"] == 1
    assert found["ids"]["blocks_per_axis"] == [2, 2, 2]
    _, text, _ = command("plan", config, "--set", ROI)
    assert "unknown: --trial measures it" in text and "predict " in text
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("block", [[24, 24, 24], [16, 20, 24]])
def test_counts_of_every_grid_are_those_of_the_run(raw: str, tmp_path: Path, block: list[int]) -> None:
    tissue = np.random.default_rng(1).random((5, 6, 4)) < 0.5
    tissue[2:, 2:] = False
    mask = write_mask(tmp_path / "mask", tissue, [95, 80, 130], [-20, 15, 0])
    changes = [
        ROI,
        f"volume.mask={mask}",
        f"schedule.edges.block_shape={block}",
        "schedule.relabel.block_shape=[48,24,24]",
    ]
    config = load_config(standard_config(tmp_path, raw), changes)
    job, found = open_planned(config, stage_names()), by_task(estimate(config))
    seen = Tissue(job)
    for name, task in job.plan.tasks.items():
        expected = job.plan.active(name, job.plan.blocks(name))
        assert np.array_equal(seen.of(task.grid), expected), name
        assert (found[name].active, found[name].empty) == (expected.sum(), (~expected).sum())
    assert 0 < found["edges"].empty < found["edges"].blocks


def test_a_finished_output_says_what_it_took(finished: Path) -> None:
    found = estimate(load_config(finished / "config.toml"))
    out = finished / "out.zarr"
    for stage in found.stages:
        made = records(out, stage.task)
        assert (stage.done, stage.left, stage.worker_hours) == (stage.active, 0, 0.0)
        assert stage.memory_bytes == max(r["peak_memory"] for r in made) and stage.memory_from == "records"
        assert stage.seconds_per_block == pytest.approx(np.mean([r["seconds"] for r in made]))
    stored = {
        a.name: sum(f.stat().st_size for f in (out / a.name).rglob("c/**/*") if f.is_file()) for a in found.arrays
    }
    for array in found.arrays:
        assert array.bytes == pytest.approx(stored[array.name], abs=1) and array.bytes <= array.bytes_bound
    folders = [out / a.name for a in found.arrays] + [state_of(out) / "tables"]
    made = sum(1 for folder in folders for _ in folder.rglob("*"))
    assert made <= found.inodes <= made + 20
    assert (found.disk_bytes_left, found.inodes_left, found.wall_hours) == (0, 0, 0.0)


def test_what_is_left_is_weighed_with_the_measured_rate(finished: Path, raw: str) -> None:
    grown = load_config(finished / "config.toml", ["volume.path=" + raw, "agglomerate.threshold=0.7"])
    found = by_task(estimate(grown))
    assert found["predict"].left == 0 and found["lut-0"].left == found["lut-0"].active == 8
    rate = found["lut-0"].seconds_per_block
    assert rate is not None and found["lut-0"].worker_hours == pytest.approx(8 * rate / 3600)


def test_a_trial_measures_what_the_run_then_does(raw: str, tmp_path: Path) -> None:
    config = standard_config(tmp_path, raw, workers=1)
    found = estimate(load_config(config), trial=True)
    assert not (tmp_path / "out.zarr").exists()
    run(load_config(config))
    known = by_task(found)
    for name in ("predict", "fragments", "edges", "relabel"):
        took = max(r["peak_memory"] for r in records(tmp_path / "out.zarr", name))
        assert known[name].memory_from == "trial" and known[name].memory_bytes == pytest.approx(took, rel=0.25)
        assert known[name].seconds_per_block
    rows = sum(r["nonzero"] for r in records(tmp_path / "out.zarr", "edges"))
    assert found.density.edges == pytest.approx(rows / 48**3 * 1e6, rel=0.5)
    assert found.worker_hours is not None and found.wall_hours == found.worker_hours


def test_with_affinities_and_fragments_of_the_labs_own(finished: Path, tmp_path: Path) -> None:
    out = finished / "out.zarr"
    changes = [f"affinities.path={out / 'affinities'}", f"fragments.path={out / 'fragments'}"]
    config = load_config(standard_config(tmp_path, str(finished / "none")), [f"output.path={tmp_path / 'o'}", *changes])
    bare = config.model_copy(update={"volume": config.volume.model_copy(update={"path": None})})
    found = estimate(bare)
    assert [a.name for a in found.arrays] == ["segmentation"] and found.tiles is None
    assert not found.ids["packed"] and found.octree_levels == 1


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("output.shard_shape=[24,24,20]", "output.shard_shape"),
        ("volume.roi=[[0,0,0],[500,10,10]]", "volume.roi"),
        ("schedule.fragments.block_shape=[600,600,600]", "schedule.fragments.block_shape"),
        ("schedule.predict.block_shape=[20000,20000,20000]", "schedule.predict.block_shape"),
    ],
)
def test_what_cannot_work_is_refused(raw: str, tmp_path: Path, command: Command, setting: str, field: str) -> None:
    config = standard_config(tmp_path, raw)
    code, out, error = command("plan", config, "--json", "--set", setting)
    assert code == 2 and error.startswith(f"error: {field} = ") and out == ""
    assert not (tmp_path / "out.zarr").exists()


def test_a_block_that_no_memory_holds_says_what_it_needs(raw: str, tmp_path: Path) -> None:
    config = load_config(standard_config(tmp_path, raw), ["schedule.relabel.block_shape=[20000,20000,20000]"])
    with pytest.raises(InputError, match=r"relabel.*one needs .* TiB \(formula\)"):
        estimate(config)


def test_what_slurm_is_asked_for_is_the_limit_there(raw: str, tmp_path: Path) -> None:
    cluster = ["schedule.backend=array", "schedule.slurm.memory=8G", "schedule.slurm.edges.memory=300M"]
    config = standard_config(tmp_path, raw, workers=3)
    with pytest.raises(InputError, match=r"edges.*schedule.slurm.memory is 300 MiB"):
        estimate(load_config(config, cluster))
    found = by_task(estimate(load_config(config, cluster[:2])))
    assert {stage.memory_limit_bytes for stage in found.values()} == {8 << 30}


def test_free_disk_and_hours_are_warnings(tmp_path: Path) -> None:
    array = zarr.create_array(str(tmp_path / "raw"), shape=(60000,) * 3, dtype="uint8", chunks=(128,) * 3)
    array.attrs.update(voxel_size=[8, 8, 8], offset=[0, 0, 0])
    array[0, 0, 0] = 1
    config = load_config(
        standard_config(tmp_path, str(tmp_path / "raw"), workers=4000), ["schedule.block_shape=[240,240,240]"]
    )
    said = "\n".join(estimate(config).warnings)
    assert "the disk has" in said and "agglomerate-" in said and "4000 workers at" in said


def test_ten_million_blocks_take_little_memory(tmp_path: Path) -> None:
    array = zarr.create_array(str(tmp_path / "raw"), shape=(65536,) * 3, dtype="uint8", chunks=(128,) * 3)
    array.attrs.update(voxel_size=[8, 8, 8], offset=[0, 0, 0])
    array[0, 0, 0] = 1
    mask = write_mask(tmp_path / "mask", np.ones((32, 64, 64)), [8 * 1024] * 3, [0, 0, 0])
    config = standard_config(tmp_path, str(tmp_path / "raw"))
    done = fgnet(
        "plan", config, "--json", "--set", "schedule.block_shape=[304,304,304]", "--set", f"volume.mask={mask}"
    )
    found: dict[str, Any] = json.loads(done.stdout)
    predict = found["stages"][0]
    assert predict["blocks"] == 216**3 and predict["active"] == 108 * 216 * 216
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    assert peak < 2e9
    assert predict["memory_limit_bytes"] == machine_memory()
