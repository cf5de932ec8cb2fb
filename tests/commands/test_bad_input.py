"""Bad input: one sentence with field, value, expectation and remedy; exit code 2; nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from pipeline_tools import ATTRIBUTES, cells, fgnet, read, script, standard_config, write_config, write_volume

from fgnet_pipeline.commands import cli
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_volume(tmp_path_factory.mktemp("raw") / "raw.zarr", cells((30, 30, 30)))


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The sentence with which a command ends, after checking that it ends as it should."""
    with pytest.raises(SystemExit) as ended:
        cli.guarded(lambda: cli.app([str(a) for a in arguments], standalone_mode=False))
    text = capsys.readouterr().err
    assert ended.value.code == 2, text
    assert text.startswith("error: ") and "expected" in text and ";" in text and "Traceback" not in text
    return text


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
def places(tmp_path_factory: pytest.TempPathFactory, raw: str) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "text.txt").write_text("hello")
    (folder / "group" / "x").mkdir(parents=True)
    zarr.open_group(str(folder / "group.zarr"), mode="w").create_array("a", shape=(3,), dtype="uint8")
    (folder / "other").mkdir()
    (folder / "other" / "thesis.tex").write_text("precious")
    return {
        "raw": raw,
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
def test_refused(
    case: str, raw: str, places: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, named = CASES[case]
    config = standard_config(tmp_path, raw)
    options = [part for o in overrides.split("|") for part in ("--set", o.format(**places))]
    assert named in refused(capsys, "run", config, *options)
    assert not (tmp_path / "out.zarr").exists()
    assert Path(places["folder"], "thesis.tex").read_text() == "precious"


def test_config_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "CONFIG" in refused(capsys, "run", tmp_path / "none.toml")


def test_config_that_is_no_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text("volume = [")
    assert "TOML" in refused(capsys, "run", tmp_path / "c.toml")


def test_config_without_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "c.toml", output={"path": "out.zarr"})
    assert "volume.path" in refused(capsys, "run", config)


def test_agglomerate_before_predict(raw: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run_predict.py" in refused(capsys, "agglomerate", standard_config(tmp_path, raw))


def test_stale_output_says_which_stage_and_why(raw: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = standard_config(tmp_path, raw)
    run(load_config(config))
    before = read(tmp_path / "out.zarr", "segmentation")
    text = refused(capsys, "run", config, "--set", "fragments.min_seed_distance=9")
    assert "fragments" in text and "min_seed_distance: 5 -> 9" in text and "--redo fragments" in text
    assert np.array_equal(read(tmp_path / "out.zarr", "segmentation"), before)
    text = refused(capsys, "run", config, "--set", "schedule.predict.block_shape=[16,16,16]")
    assert "predict" in text and "--redo predict" in text
    other = write_volume(tmp_path / "other.zarr", cells((30, 30, 30), seed=9))
    assert "predict" in refused(capsys, "run", config, "--set", f"volume.path={other}")
    run(load_config(config, ["fragments.min_seed_distance=9"]), redo="fragments")
    run(load_config(config, ["schedule.workers=1", "schedule.agglomerate.workers=1", "fragments.min_seed_distance=9"]))


def test_unknown_stage_to_redo(raw: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--redo" in refused(capsys, "run", standard_config(tmp_path, raw), "--redo", "everything")


def test_arrays_of_others_are_not_overwritten(raw: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    group = zarr.open_group(str(tmp_path / "lab.zarr"), mode="w")
    group.create_array("affinities", shape=(4,), dtype="uint8")[:] = [1, 2, 3, 4]
    config = standard_config(tmp_path, raw)
    assert "affinities" in refused(capsys, "run", config, "--set", f"output.path={tmp_path / 'lab.zarr'}")
    assert list(read(tmp_path / "lab.zarr", "affinities")) == [1, 2, 3, 4]


def test_evaluate_refuses(raw: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "evaluate", places["labels"], "/nowhere")
    refused(capsys, "evaluate", places["float"], places["labels"])


def test_scripts_refuse_without_a_traceback(raw: str, tmp_path: Path) -> None:
    for name in ("run_predict.py", "run_agglomerate.py"):
        done = script(name, standard_config(tmp_path, raw), "--set", "agglomerate.threshold=2", check=False)
        assert done.returncode == 2 and "agglomerate.threshold" in done.stderr and "Traceback" not in done.stderr
    assert fgnet("run", tmp_path / "config.toml", "--workers", "-3", check=False).returncode == 2


def test_unit_attributes_are_honoured(tmp_path: Path) -> None:
    attributes = dict(ATTRIBUTES, voxel_size=[0.01, 0.01, 0.01], units=["um"] * 3)
    raw = write_volume(tmp_path / "raw.zarr", cells((30, 30, 30)), attributes)
    config = standard_config(tmp_path, raw)
    run(load_config(config, ["volume.roi=[[0,0,0],[150,300,300]]"]), ("predict",))
    assert (read(tmp_path / "out.zarr", "affinities")[:, 15:] == 0).all()


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_checkpoint_whose_keys_or_shapes_differ(
    damage: str, raw: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    config = standard_config(tmp_path, raw)
    text = refused(capsys, "run", config, "--set", f"model.checkpoint={path}")
    assert (key if damage != "extra" else "something.else") in text
    assert not (tmp_path / "out.zarr").exists()
