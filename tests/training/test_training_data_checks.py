"""What `fgnet train` refuses or warns of after a look at the data; nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from labelled_tissue import HELD_OUT, Array, configuration, membranes, tissue, write, written

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.data_checks import check_data
from fgnet_pipeline.training.data_facts import DataFacts, Look
from fgnet_pipeline.training.train import train
from fgnet_pipeline.training.volumes import load_training, load_validation

Change = Callable[[Array, Array], tuple[Array, Array]]
SECOND = '[[data.volumes]]\nraw = "u.zarr/raw"\nlabels = "u.zarr/labels"\n'


def held_shift(raw: Array, labels: Array) -> tuple[Array, Array]:
    moved = labels.copy()
    moved[:, 48:] = np.roll(labels[:, 48:], 6, 2)
    return raw, moved


def numbered_per_section(raw: Array, labels: Array) -> tuple[Array, Array]:
    return raw, labels + 1000 * np.arange(len(labels), dtype=np.uint64)[:, None, None]


def unlabelled(raw: Array, labels: Array) -> tuple[Array, Array]:
    labels[:, :48] = 0
    return raw, labels


def two_corners(raw: Array, labels: Array) -> tuple[Array, Array]:
    kept = (labels == labels[0, 0, 0]) | (labels == labels[23, 47, 95])
    return raw, np.where(kept, labels, 0)


FAULTS: dict[str, tuple[Change, str, str]] = {
    "no label": (unlabelled, "data.volumes.0.labels", "labelled voxels"),
    "one object": (lambda r, s: (r, s * 0 + 1), "data.volumes.0.labels", "one object"),
    "a mask of membranes": (lambda r, s: (r, (~membranes(s)).astype(np.uint64)), "data.volumes.0.labels", "its own id"),
    "apart": (two_corners, "data.volumes.0.labels", "of which no two touch"),
    "shifted along x": (lambda r, s: (r, np.roll(s, 5, 2)), "data.volumes.0.labels", "[0, 0, -5]"),
    "shifted along z": (lambda r, s: (r, np.roll(s, -3, 0)), "data.volumes.0.labels", "[3, 0, 0]"),
    "held-out labels shifted": (held_shift, "data.validation.0.labels", "[0, 0, -6]"),
    "numbered per section": (numbered_per_section, "data.volumes.0.labels", "link the labels"),
    "nan": (lambda r, s: (np.where(r > 0, np.nan, 0).astype("f4"), s), "data.volumes.0.raw", "finite"),
    "blank": (lambda r, s: (r * 0 + 9, s), "data.volumes.0.raw", "a picture"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_sentence_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    change, field, words = FAULTS[name]
    written(tmp_path, change)
    with pytest.raises(InputError) as caught:
        train(TrainConfig.load(configuration(tmp_path)))
    assert caught.value.field == field and words in str(caught.value)
    assert not (tmp_path / "out").exists()


def look_at(file: Path, accepted: bool = False, begins_with: Look | None = None) -> list[str]:
    """What a look at the data reports."""
    config, said = TrainConfig.load(file), list[str]()
    check_data(config, load_training(config), load_validation(config), begins_with, accepted, said.append)
    return said


def test_data_without_fault_give_a_table_of_80_columns_and_no_warning(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    said = look_at(configuration(tmp_path))
    assert len(said) == 3 and max(map(len, said)) <= 80
    assert said[1].split()[:3] == ["volumes.0", "0.111M", str(len(np.unique(tissue()[1][:, :48])))]


def test_membranes_of_zero_that_are_ignored_on_purpose_are_refused(tmp_path: Path) -> None:
    written(tmp_path, lambda r, s: (r, np.where(membranes(s), 0, s).astype(np.uint64)))
    assert any("is taken for membranes (100 % of borders are 0)" in line for line in look_at(configuration(tmp_path)))
    with pytest.raises(InputError, match=r'data\.zero = .ignore.*set data\.zero = "membrane"'):
        look_at(configuration(tmp_path, data='zero = "ignore"'))


def test_borders_of_which_some_are_zero_are_doubtful(tmp_path: Path) -> None:
    written(tmp_path, lambda r, s: (r, np.where(membranes(s) & (s % 3 > 0), 0, s)))
    assert any("whichever is meant" in line for line in look_at(configuration(tmp_path)))
    said = look_at(configuration(tmp_path, data='zero = "membrane"'))
    assert not any("whichever is meant" in line for line in said)


def test_yes_makes_warnings_of_what_is_refused(tmp_path: Path) -> None:
    written(tmp_path, lambda r, s: (r, np.roll(s, 5, 2)))
    file = configuration(tmp_path)
    with pytest.raises(InputError, match="--yes"):
        look_at(file)
    assert any(line.startswith("warning: data.volumes.0.labels") for line in look_at(file, accepted=True))


def test_a_mask_that_leaves_nothing_is_named(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    frame = dict(zarr.open_array(tmp_path / "t.zarr" / "raw").attrs)
    mask: Any = zarr.create_array(tmp_path / "t.zarr" / "mask", shape=(24, 80, 96), dtype="u1", chunks=(24, 40, 96))
    mask[:, 60:] = 1
    mask.attrs.update(frame)
    with pytest.raises(InputError) as caught:
        train(TrainConfig.load(configuration(tmp_path, volume='mask = "t.zarr/mask"')))
    assert caught.value.field == "data.volumes.0.mask" and not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["same", "copy", "crop"])
def test_held_out_voxels_that_are_trained_on_are_refused(tmp_path: Path, kind: str) -> None:
    raw, labels = tissue()
    write(tmp_path, raw, labels)
    held_out = HELD_OUT.replace("begin = [0, 48, 0]", "begin = [0, 40, 0]")
    if kind != "same":  # a crop states its place; a copy of the same size needs no place
        part, offset = (slice(0, None), (0, 0, 0)) if kind == "copy" else (slice(8, None), (0, 80, 0))
        write(tmp_path, raw[:, part], labels[:, part], "u.zarr", offset)
        begin = "begin = [0, 40, 0]" if kind == "copy" else "begin = [0, 32, 0]"
        held_out = HELD_OUT.replace("begin = [0, 48, 0]", begin).replace("t.zarr", "u.zarr")
    with pytest.raises(InputError) as caught:
        look_at(configuration(tmp_path, held_out=held_out))
    assert caught.value.field == "data.validation.0"
    assert f"{24 * 8 * 96} labelled voxels that data.volumes.0 holds" in str(caught.value)
    assert look_at(configuration(tmp_path, held_out=HELD_OUT))


def test_other_data_at_the_same_place_are_no_overlap(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    write(tmp_path, *tissue(7), "u.zarr")
    assert look_at(configuration(tmp_path, held_out=HELD_OUT.replace("t.zarr", "u.zarr").replace("48", "0")))


def test_a_negative_among_positives_is_refused_and_so_is_one_for_weights_that_know_positives(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    raw, labels = tissue(5)
    write(tmp_path, 255 - raw, labels, "u.zarr")
    with pytest.raises(InputError, match=r"data\.volumes\.1\.raw.*brighter than the rest.*invert raw"):
        look_at(configuration(tmp_path, volume=SECOND))
    file = configuration(tmp_path)
    look = DataFacts(load_training(TrainConfig.load(file))[0]).look
    assert look.borders is not None and look.borders < -1 and Look.from_dict(look.to_dict()) is not None
    with pytest.raises(InputError, match=r"darker than the rest.*as in the data of model\.weights"):
        look_at(file, begins_with=Look(1.0, look.grey))
    assert look_at(file, begins_with=look)


def test_another_contrast_is_refused_where_normalisation_keeps_it(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    raw, labels = tissue(5)
    write(tmp_path, raw // 3, labels, "u.zarr")
    assert not any("warning" in line for line in look_at(configuration(tmp_path, volume=SECOND)))
    with pytest.raises(InputError, match=r"data\.volumes\.1\.raw.*grey values as in data\.volumes\.0"):
        look_at(configuration(tmp_path, data='normalisation = "range"', volume=SECOND))


def test_16_bits_do_not_fit_the_normalisation_of_8(tmp_path: Path) -> None:
    written(tmp_path, lambda r, s: (r.astype(np.uint16) * 200, s))
    assert not any("warning" in line for line in look_at(configuration(tmp_path)))
    with pytest.raises(InputError, match=r"data\.volumes\.0\.raw.*values of 0 to 255"):
        look_at(configuration(tmp_path, data='normalisation = "range"'))


def test_a_held_out_box_with_one_object_is_doubtful(tmp_path: Path) -> None:
    def one_held_out(raw: Array, labels: Array) -> tuple[Array, Array]:
        labels[:, 48:] = 7
        return raw, labels

    written(tmp_path, one_held_out)
    assert any("hold out a box with more objects" in line for line in look_at(configuration(tmp_path)))


def test_weights_of_another_normalisation_are_a_warning(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    said: list[str] = []
    weights = ["model.weights=nano-fib25", "optimise.learning_rate=1e-30"]
    train(
        TrainConfig.load(configuration(tmp_path, 'normalisation = "range"', held_out=""), weights), report=said.append
    )
    assert any(line.startswith("warning: model.weights were trained") and "'robust'" in line for line in said)


def test_the_voxel_size_that_weights_state_must_be_that_of_the_data(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    file = configuration(tmp_path)
    file.write_text(file.read_text().replace("[geometry]", "[geometry]\nvoxel_size = [40.0, 4.0, 4.0]"))
    with pytest.raises(InputError, match=r"set geometry\.voxel_size = \[10\.0, 10\.0, 10\.0\]"):
        look_at(file)


def test_thin_sections_with_an_isotropic_network_are_doubtful(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    for name in ("raw", "labels"):
        zarr.open_array(tmp_path / "t.zarr" / name).attrs["voxel_size"] = [40, 10, 10]
    file = configuration(tmp_path)
    file.write_text(file.read_text().replace("[geometry]", "[geometry]\nvoxel_size = [40.0, 10.0, 10.0]"))
    assert any("nano-sections" in line for line in look_at(file))
    file.write_text(file.read_text().replace('"nano"', '"nano-sections"'))
    assert not any("nano-sections" in line for line in look_at(file))
