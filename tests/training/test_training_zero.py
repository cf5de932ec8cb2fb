"""Labels whose membranes are 0: recognised, filled, and told apart from voxels without label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fgnet.geometry import NEAREST
from fgnet.training.targets import affinities, erode
from labelled_tissue import configuration, membranes, tissue, write

from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.volumes import load_training, load_validation
from fgnet_pipeline.training.zero_labels import fill_membranes, look_at_zero

SIZE = (10.0, 10.0, 10.0)


def drawn() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Labels that touch, and the same ones with membranes of 0."""
    labels = tissue()[1]
    return labels, np.where(membranes(labels), 0, labels).astype(np.uint64)


def pair(values: np.ndarray[Any, Any], axis: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Values at voxels and at their next neighbours along an axis."""
    count = values.shape[axis]
    return np.take(values, range(count - 1), axis), np.take(values, range(1, count), axis)


def test_membranes_of_zero_are_recognised_and_other_zeros_are_not() -> None:
    labels, thin = drawn()
    assert look_at_zero(thin, SIZE).choice == "membrane" and look_at_zero(thin, None).choice == "membrane"
    found = look_at_zero(labels, SIZE)
    assert (found.choice, found.divided, found.touching_share) == ("ignore", 0, 1.0)
    unlabelled = labels.copy()
    unlabelled[:, :40] = 0
    assert look_at_zero(unlabelled, SIZE).choice == "ignore"
    sparse = np.where(labels % 8 == 0, labels, 0)  # a few objects, far from each other
    assert look_at_zero(sparse, SIZE).choice == "ignore"
    mixed = np.where(membranes(labels) & (labels % 3 > 0), 0, labels)
    assert look_at_zero(mixed, SIZE).is_doubtful and look_at_zero(mixed, SIZE).choice == "ignore"


def test_a_thick_membrane_is_filled_from_both_sides_and_a_hole_is_not() -> None:
    labels = np.zeros((2, 4, 20), np.uint64)
    labels[:, :, :6], labels[:, :, 10:14] = 7, 9
    filled = fill_membranes(labels, labels == 0, 3, isotropic=False)
    assert filled[0, 0].tolist() == [7] * 8 + [9] * 9 + [0] * 3
    known = labels == 0
    known[:, :, 6] = False
    assert fill_membranes(labels, known, 3, isotropic=True)[1, 2, :8].tolist() == [7] * 6 + [0, 7]


def test_filling_by_slabs_is_filling_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from fgnet_pipeline.training import zero_labels

    _, thin = drawn()
    whole = fill_membranes(thin, thin == 0, 3, isotropic=True)
    monkeypatch.setattr(zero_labels, "SLAB", 5)
    parts = fill_membranes(thin, thin == 0, 3, isotropic=True)
    assert ((whole > 0) == (parts > 0)).all() and (whole == parts).mean() > 0.995  # ties may go to either side


def test_targets_say_separate_objects_on_both_sides_of_a_filled_membrane(tmp_path: Path) -> None:
    _, thin = drawn()
    write(tmp_path, tissue()[0], thin)
    file = configuration(tmp_path)
    for zero, expected in ((None, "membrane"), ("membrane", "membrane"), ("ignore", "ignore")):
        config = TrainConfig.load(file, [] if zero is None else [f"data.zero={zero}"])
        box = load_training(config)[0]
        assert box.zero == expected
        labels = torch.from_numpy(box.labels)[None]
        target, weight = affinities(labels, erode(labels), NEAREST)
        apart = [(np.diff(box.labels, axis=a) != 0) & (np.minimum(*pair(box.labels, a)) > 0) for a in (1, 2)]
        assert sum(int(a.sum()) for a in apart) > 10_000 if expected == "membrane" else not any(a.any() for a in apart)
        for axis, differ in enumerate(apart, 1):
            values, weights = (pair(t[0, axis].numpy(), axis)[1] for t in (target, weight))
            assert not values[differ].any() and weights[differ].all()
        # Nothing joins two cells: every pair with target 1 is inside one cell of the full labels.
        full = torch.from_numpy(tissue()[1][:24, :48].astype(np.int64))
        for channel, axis in enumerate(range(3)):
            joined = target[0, channel].narrow(axis, 1, full.shape[axis] - 1) == 1
            same = full.narrow(axis, 1, full.shape[axis] - 1) == full.narrow(axis, 0, full.shape[axis] - 1)
            assert (joined & ~same).float().mean() < 0.002
    held_out = load_validation(TrainConfig.load(file))[0]
    assert held_out.zero == "ignore" and (held_out.labels == 0).mean() == pytest.approx((thin[:, 48:] == 0).mean())


def test_reserved_ids_are_never_filled(tmp_path: Path) -> None:
    _, thin = drawn()
    marked = thin.astype(np.int64)
    marked[3:9, :20] = -1
    write(tmp_path, tissue()[0], marked)
    box = load_training(TrainConfig.load(configuration(tmp_path)))[0]
    assert box.zero == "membrane" and not box.labels[3:9, :20].any() and box.labels[:3].all()
