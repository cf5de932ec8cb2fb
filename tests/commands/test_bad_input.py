"""Bad input: one sentence with field, value, expectation and remedy; exit code 2; nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from pipeline_tools import (
    ATTRIBUTES,
    Command,
    Refused,
    cells,
    read,
    script,
    standard_config,
    write_config,
    write_volume,
)

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

CASES = {
    "missing volume": ("volume.path=/nowhere/raw.zarr", "volume.path"),
    "object store without its package": ("volume.path=abfs://bucket/raw.zarr", "volume.path"),
    "group instead of array": ("volume.path={group}", "name one of its arrays"),
    "wrong dimension": ("volume.path={flat}", "three axes"),
    "wrong dtype": ("volume.path={float}", "uint8"),
    "uint16 without range": ("volume.path={uint16}", "volume.range"),
    "no voxel size": ("volume.path={unplaced}", "volume.voxel_size"),
    "negative voxel size": ("volume.voxel_size=[-1,10,10]", "volume.voxel_size"),
    "chunk does not divide": ("output.chunk_shape=[7,7,7]", "output.chunk_shape"),
    "chunk of zero": ("output.chunk_shape=[0,8,8]", "output.chunk_shape"),
    "shard does not divide": ("output.shard_shape=[16,16,16]", "output.shard_shape"),
    "unknown cluster": ("schedule.backend=array|schedule.workers=1|schedule.cluster=lsf", "schedule.cluster"),
    "tiny block": ("schedule.block_shape=[8,24,24]", "schedule.block_shape"),
    "two numbers": ("schedule.block_shape=[24,24]", "schedule.block_shape"),
    "region outside": ("volume.roi=[[0,0,0],[9000,10,10]]", "volume.roi"),
    "empty region": ("volume.roi=[[100,0,0],[100,300,300]]", "volume.roi"),
    "region before the volume": ("volume.roi=[[-20,0,0],[100,300,300]]", "volume.roi"),
    "threshold above 1": ("agglomerate.threshold=1.5", "agglomerate.threshold"),
    "threshold below 0": ("agglomerate.threshold=-0.1", "agglomerate.threshold"),
    "threshold not a number": ("agglomerate.threshold=nan", "agglomerate.threshold"),
    "negative workers": ("schedule.workers=-1", "schedule.workers"),
    "workers that are no number": ("schedule.workers=true", "schedule.workers"),
    "threshold that is a truth value": ("agglomerate.threshold=true", "agglomerate.threshold"),
    "threshold in quotes": ('agglomerate.threshold="0.5"', "agglomerate.threshold"),
    "axes that are no axes": ('volume.axes=["a","b","c"]', "volume.axes"),
    "affinities that lie elsewhere": ("affinities.path={elsewhere}", "affinities.path"),
    "affinities above 1": ("affinities.path={loud}", "affinities.path"),
    "fragments with negative ids": ("fragments.path={negative}", "fragments.path"),
    "unreadable chunks": ("volume.path={torn}", "volume.path"),
    "voxel size of another model": ("model.checkpoint=nano-fib25|volume.voxel_size=[40,4,4]", "volume.voxel_size"),
    "unknown checkpoint": ("model.checkpoint=nothing", "model.checkpoint"),
    "checkpoint that is none": ("model.checkpoint={text}", "checkpoint"),
    "unknown key": ("schedule.wokers=2", "schedule.wokers"),
    "unknown section": ("shedule.workers=2", "shedule"),
    "unknown method": ("fragments.method=magic", "fragments.method"),
    "negative context": ("fragments.context=[-1,0,0]", "fragments.context"),
    "range upside down": ("volume.range=[5,5]", "volume.range"),
    "ids that could overflow": ("schedule.block_shape=[600,600,600]", "2^27"),
    "affinities of another shape": ("affinities.path={affinities}", "affinities.path"),
    "affinities of three axes": ("affinities.path={raw}", "affinities.path"),
    "fragments of another shape": ("fragments.path={labels}", "fragments.path"),
    "mask that does not exist": ("volume.mask=/nowhere", "volume.mask"),
    "mask without placement": ("volume.mask={unplaced}", "volume.mask"),
    "output is a file": ("output.path={text}", "output.path"),
    "output is a folder of something else": ("output.path={folder}", "output.path"),
    "output on an object store without state": ("output.path=s3://bucket/out", "output.state"),
    "state in an object store": ("output.path=s3://bucket/out|output.state=s3://bucket/state", "output.state"),
    "state of a folder": ("output.state=/nowhere", "output.state"),
    "output on an untried store": ("output.path=gs://bucket/out|output.state=/nowhere", "output.path"),
    "output on a web server": ("output.path=https://example.org/out|output.state=/nowhere", "output.path"),
    "credentials in a URL": ("volume.path=https://me:secret@example.org/raw", "without credentials"),
    "no key": ("threshold=0.5", "--set"),
    "no value": ("agglomerate.threshold", "--set"),
}


def torn_volume(path: Path) -> str:
    """A raw volume whose chunks cannot be decoded."""
    write_volume(path, cells((30, 30, 30)))
    for chunk in (path / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"garbage")
    return str(path)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, small_raw: str) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "text.txt").write_text("hello")
    (folder / "group" / "x").mkdir(parents=True)
    zarr.open_group(str(folder / "group.zarr"), mode="w").create_array("a", shape=(3,), dtype="uint8")
    (folder / "other").mkdir()
    (folder / "other" / "thesis.tex").write_text("precious")
    return {
        "raw": small_raw,
        "text": str(folder / "text.txt"),
        "folder": str(folder / "other"),
        "group": str(folder / "group.zarr"),
        "flat": write_volume(folder / "flat.zarr", np.zeros((5, 5), np.uint8), {}),
        "float": write_volume(folder / "float.zarr", np.zeros((30, 30, 30), np.float32)),
        "uint16": write_volume(folder / "uint16.zarr", np.zeros((30, 30, 30), np.uint16)),
        "unplaced": write_volume(folder / "unplaced.zarr", np.zeros((30, 30, 30), np.uint8), {}),
        "affinities": write_volume(folder / "aff.zarr", np.zeros((3, 20, 20, 20), np.uint8), {}),
        "elsewhere": write_volume(
            folder / "e.zarr", np.zeros((3, 30, 30, 30), np.uint8), {"voxel_size": [40, 4, 4], "offset": [1000, 0, 0]}
        ),
        "loud": write_volume(folder / "loud.zarr", np.full((3, 30, 30, 30), 200, np.float32), {}),
        "negative": write_volume(folder / "neg.zarr", np.full((30, 30, 30), -1, np.int64)),
        "torn": torn_volume(folder / "torn.zarr"),
        "labels": write_volume(folder / "labels.zarr", np.zeros((20, 20, 20), np.uint64)),
    }


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    case: str, small_raw: str, places: dict[str, str], tmp_path: Path, refused: Refused
) -> None:
    overrides, named = CASES[case]
    config = standard_config(tmp_path, small_raw)
    options = [part for o in overrides.split("|") for part in ("--set", o.format(**places))]
    assert named in refused("run", config, *options)
    if "unknown" in case:
        assert named in refused("run", config, *options, "--dry-run")
    assert not (tmp_path / "out.zarr").exists()
    assert Path(places["folder"], "thesis.tex").read_text() == "precious"


def test_a_configuration_that_does_not_exist_is_refused(tmp_path: Path, refused: Refused) -> None:
    assert "CONFIG" in refused("run", tmp_path / "none.toml")


def test_a_configuration_that_is_no_toml_is_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "c.toml").write_text("volume = [")
    assert "TOML" in refused("run", tmp_path / "c.toml")


def test_a_configuration_without_input_is_refused(tmp_path: Path, refused: Refused) -> None:
    config = write_config(tmp_path / "c.toml", output={"path": "out.zarr"})
    assert "volume.path" in refused("run", config)


def test_agglomeration_before_prediction_is_refused(small_raw: str, tmp_path: Path, refused: Refused) -> None:
    assert "run_predict.py" in refused("agglomerate", standard_config(tmp_path, small_raw))


def test_a_stale_output_says_which_stage_and_why(small_raw: str, tmp_path: Path, refused: Refused) -> None:
    config = standard_config(tmp_path, small_raw)
    run(load_config(config))
    before = read(tmp_path / "out.zarr", "segmentation")
    text = refused("run", config, "--set", "fragments.min_seed_distance=9")
    assert "fragments" in text and "min_seed_distance: 5 -> 9" in text and "--redo fragments" in text
    assert np.array_equal(read(tmp_path / "out.zarr", "segmentation"), before)
    text = refused("run", config, "--set", "schedule.predict.block_shape=[16,16,16]")
    assert "predict" in text and "--redo predict" in text
    other = write_volume(tmp_path / "other.zarr", cells((30, 30, 30), seed=9))
    assert "predict" in refused("run", config, "--set", f"volume.path={other}")
    run(load_config(config, ["fragments.min_seed_distance=9"]), redo="fragments")
    run(load_config(config, ["schedule.workers=1", "schedule.agglomerate.workers=1", "fragments.min_seed_distance=9"]))


def test_an_unknown_stage_to_redo_is_refused(small_raw: str, tmp_path: Path, refused: Refused) -> None:
    assert "--redo" in refused("run", standard_config(tmp_path, small_raw), "--redo", "everything")


def test_arrays_of_others_are_not_overwritten(small_raw: str, tmp_path: Path, refused: Refused) -> None:
    group = zarr.open_group(str(tmp_path / "lab.zarr"), mode="w")
    group.create_array("affinities", shape=(4,), dtype="uint8")[:] = [1, 2, 3, 4]
    config = standard_config(tmp_path, small_raw)
    assert "affinities" in refused("run", config, "--set", f"output.path={tmp_path / 'lab.zarr'}")
    assert list(read(tmp_path / "lab.zarr", "affinities")) == [1, 2, 3, 4]


def test_evaluate_refuses_a_missing_array_and_a_wrong_type(
    small_raw: str, places: dict[str, str], refused: Refused
) -> None:
    refused("evaluate", places["labels"], "/nowhere")
    refused("evaluate", places["float"], places["labels"])


def test_scripts_refuse_without_a_traceback(small_raw: str, tmp_path: Path, command: Command) -> None:
    for name in ("run_predict.py", "run_agglomerate.py"):
        done = script(name, standard_config(tmp_path, small_raw), "--set", "agglomerate.threshold=2", check=False)
        assert done.returncode == 2 and "agglomerate.threshold" in done.stderr and "Traceback" not in done.stderr
    assert command("run", tmp_path / "config.toml", "--workers", "-3")[0] == 2


def test_units_in_attributes_are_honoured(tmp_path: Path) -> None:
    attributes = dict(ATTRIBUTES, voxel_size=[0.01, 0.01, 0.01], units=["um"] * 3)
    raw = write_volume(tmp_path / "raw.zarr", cells((30, 30, 30)), attributes)
    config = standard_config(tmp_path, raw)
    run(load_config(config, ["volume.roi=[[0,0,0],[150,300,300]]"]), ("predict",))
    assert (read(tmp_path / "out.zarr", "affinities")[:, 15:] == 0).all()


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_a_checkpoint_whose_keys_or_shapes_differ_is_refused(
    damage: str, small_raw: str, tmp_path: Path, refused: Refused
) -> None:
    from fgnet.weights import locate
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(str(locate("nano-fib25")), "np") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    key = sorted(tensors)[0]
    if damage == "shape":
        tensors[key] = np.concatenate([tensors[key], tensors[key]])
    elif damage == "extra":
        tensors["something.else"] = tensors[key]
    else:
        del tensors[key]
    path = tmp_path / "model.safetensors"
    save_file(tensors, str(path), metadata)
    config = standard_config(tmp_path, small_raw)
    text = refused("run", config, "--set", f"model.checkpoint={path}")
    assert (key if damage != "extra" else "something.else") in text
    assert not (tmp_path / "out.zarr").exists()
