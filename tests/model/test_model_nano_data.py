"""The shipped weights on sections of the real sample that they were not trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import fgnet
import numpy as np
import pytest
import zarr
from fgnet import normalise
from fgnet.weights import locate, read_network
from pipeline_tools import CHECKOUT

from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.validation import predict_alone, score_affinities

BOX = (slice(140, 180), slice(120, 195), slice(0, 75))


@pytest.fixture(scope="module")
def held_out(sample: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(affinities, labels) of a corner of the held-out sections, predicted by itself."""
    arrays: list[Any] = [zarr.open_array(sample / name, mode="r")[BOX] for name in ("raw", "labels")]
    predictor = fgnet.load_predictor("nano-fib25", threads=1)
    constants = normalise.constants(arrays[0].ravel(), predictor.geometry.normalisation)
    raw = normalise.apply(arrays[0], *constants)
    return predict_alone(raw, predictor.geometry, predictor), arrays[1]


def test_the_shipped_weights_are_what_the_shipped_configuration_makes() -> None:
    """Architecture, geometry, normalisation: all that can be compared without training again, which the card has."""
    config = TrainConfig.load(CHECKOUT / "configs" / "train_fib25_nano.toml")
    assert read_network(locate("nano-fib25")) == dataclasses.replace(config.network(), auxiliary=())
    assert fgnet.read_geometry("nano-fib25") == config.exported_geometry()


def test_borders_between_neurons_are_told_from_their_inside(
    held_out: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> None:
    affinities, labels = held_out
    for axis in range(3):
        before, after = (
            np.take(labels, range(*r), axis) for r in ((0, -1 + labels.shape[axis]), (1, labels.shape[axis]))
        )
        values = np.take(affinities[axis], range(1, labels.shape[axis]), axis)
        border, inside = values[before != after], values[before == after]
        rng = np.random.default_rng(0)
        one, other = rng.choice(border, 20_000), rng.choice(inside, 20_000)
        assert ((one < other) + (one == other) / 2).mean() > 0.85


def test_a_corner_is_segmented(held_out: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> None:
    affinities, labels = held_out
    best = min(score_affinities(affinities, labels), key=lambda s: s.voi_sum)
    one_piece = score_affinities(np.full_like(affinities, 255), labels, thresholds=(0.5,))[0]
    assert best.voi_sum < 1.5 < one_piece.voi_sum
