"""Labelled volumes on disk as arrays in memory, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from tiny_training import write_labelled, write_training

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.volume import open_volume
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.train import train
from fgnet_pipeline.training.volumes import as_volumes, dense_labels, load_training, sampled_constants


def test_a_coarser_mask_takes_labels_away(labelled: Path) -> None:
    mask = np.zeros((16, 32, 32), np.uint8)
    mask[4:12, 8:20, :16] = 1
    array = zarr.create_array(labelled / "v.zarr" / "mask", shape=mask.shape, dtype="u1", chunks=(16, 32, 32))
    array[:] = mask
    frame = {"voxel_size": [20, 20, 20], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    array.attrs.update(frame)
    masked = 'begin = [4, 0, 0]\nend = [28, 64, 64]\nmask = "v.zarr/mask"'
    file = write_training(labelled, ("end = [24, 64, 64]", masked))
    config = TrainConfig.load(file)
    labels = as_volumes(load_training(config))[0].labels.numpy()
    assert np.array_equal(labels > 0, mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)[4:28] > 0)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    plain = TrainConfig.load(write_training(labelled))
    assert '"mask"' not in plain.model_dump_json()
    array.attrs.update({"voxel_size": [5, 5, 5]})
    with pytest.raises(InputError, match=r"data\.volumes\.0\.mask"):
        load_training(config)


def test_constants_come_from_the_whole_volume_however_large_its_sections(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(2, 1500, 1500), dtype="u1", chunks=(1, 750, 750))
    array[0], array[1] = 10, 200
    shift, scale = sampled_constants(open_volume(str(tmp_path / "a.zarr")), "robust")
    assert (shift, scale) == pytest.approx((105, 95))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_padding_of_any_value_leaves_the_constants_alone(tmp_path: Path, value: int) -> None:
    tissue = np.random.default_rng(0).integers(60, 200, (8, 64, 64)).astype(np.uint8)
    tissue[tissue == 128] = 127
    padded = np.full((12, 64, 128), value, np.uint8)
    padded[:8, :, 64:] = tissue
    for name, data in (("tissue", tissue), ("padded", padded)):
        zarr.create_array(tmp_path / name, data=data, chunks=(8, 64, 64))
    one, other = (sampled_constants(open_volume(str(tmp_path / n)), "robust") for n in ("tissue", "padded"))
    assert one == pytest.approx(other, rel=0.02)


@pytest.mark.parametrize(
    ("case", "field"),
    [
        ("no labels", "labels"),
        ("shape", "labels"),
        ("offset", "labels"),
        ("box", "end"),
        ("float", "labels"),
        ("empty", "labels"),
        ("not finite", "raw"),
    ],
)
def test_bad_data_are_named_and_nothing_is_written(tmp_path: Path, case: str, field: str) -> None:
    write_labelled(tmp_path, **({"offset": [0, 0, 10]} if case == "offset" else {}))
    target = tmp_path / "v.zarr" / "labels"
    config = write_training(tmp_path)
    if case == "no labels":
        config = write_training(tmp_path, ("v.zarr/labels", "v.zarr/nothing"))
    if case == "box":
        config = write_training(tmp_path, ("end = [24, 64, 64]", "end = [24, 65, 64]"))
    if case in ("shape", "float", "empty"):
        shape = (32, 64, 60) if case == "shape" else (32, 64, 64)
        array = zarr.create_array(target, shape=shape, dtype="f4" if case == "float" else "u8", overwrite=True)
        array.attrs.update({"voxel_size": [10, 10, 10], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"]})
    if case == "not finite":
        attributes = dict(zarr.open_array(tmp_path / "v.zarr" / "raw").attrs)
        raw = zarr.create_array(tmp_path / "v.zarr" / "raw", shape=(32, 64, 64), dtype="f4", overwrite=True)
        raw[:] = 1.0
        raw[5, 5, 5] = np.nan
        raw.attrs.update(attributes)
    with pytest.raises(InputError) as caught:
        train(TrainConfig.load(config))
    assert caught.value.field == f"data.volumes.0.{field}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("dtype", "marks"), [("i8", (-1, -3)), ("i4", (-1, -2)), ("u8", (2**64 - 1, 2**64 - 3))])
def test_reserved_ids_are_no_labels(labelled: Path, dtype: str, marks: tuple[int, int]) -> None:
    stored = zarr.open_array(labelled / "v.zarr" / "labels")
    ids, attributes = np.asarray(stored[:]), dict(stored.attrs)
    marked = ids.astype(dtype)
    marked[2, :9], marked[7, 4:30] = marks
    array = zarr.create_array(labelled / "v.zarr" / "labels", data=marked, overwrite=True)
    array.attrs.update(attributes)
    found = as_volumes(load_training(TrainConfig.load(write_training(labelled))))[0].labels.numpy()
    expected = ids[:24] > 0
    expected[2, :9] = expected[7, 4:30] = False
    assert np.array_equal(found > 0, expected) and found.max() == len(np.unique(ids[:24][expected]))


def test_labels_become_dense_and_zero_stays() -> None:
    assert dense_labels(np.array([7, 9, 7, 2**40])).tolist() == [1, 2, 1, 3]
    assert dense_labels(np.array([0, 9, 9, 0])).tolist() == [0, 1, 1, 0]
