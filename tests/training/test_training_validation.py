"""Scoring of a model in training."""

from __future__ import annotations

import fgnet
import numpy as np
import pytest
from fgnet import normalise

from fgnet_pipeline.training.validation import THRESHOLDS, Score, plateau, predict_alone, score_affinities


def curve(*sums: float) -> list[Score]:
    return [Score(t, s, 0.0, 0.0, 1, 0.5) for t, s in zip(THRESHOLDS, sums, strict=False)]


def test_the_plateau_beats_a_lower_but_lonely_point() -> None:
    lonely = curve(2, 2, 0.4, 2, 2, 2, 1, 1, 1, 1, 1, 2)
    threshold, score = plateau([lonely], width=2)
    assert threshold == THRESHOLDS[8] and score == 1
    assert plateau([lonely], width=0) == (THRESHOLDS[2], pytest.approx(0.4))


def test_the_plateau_is_shared_by_all_curves() -> None:
    left, right = curve(0, 0, 0, 0, 3, 3, 3), curve(3, 3, 0, 0, 0, 0, 3)
    assert plateau([left, right], width=0) == (THRESHOLDS[2], 0)


def test_perfect_affinities_score_zero() -> None:
    labels = np.ones((12, 24, 24), np.int64)
    labels[:, 12:] = 2
    affinities = np.full((3, 12, 24, 24), 255, np.uint8)
    affinities[:, :, 11:13] = 0
    rows = score_affinities(affinities, labels, thresholds=(0.5,))
    assert rows[0].voi_sum == 0 and rows[0].segments == 2 and rows[0].largest == 0.5
    joined = score_affinities(np.full_like(affinities, 255), labels, thresholds=(0.5,))
    assert joined[0].voi_merge == pytest.approx(1) and joined[0].voi_split == 0 and joined[0].largest == 1


def test_a_volume_smaller_than_a_tile_is_predicted() -> None:
    predictor = fgnet.load_predictor("identity")
    raw = np.random.default_rng(0).integers(0, 256, (5, 20, 9)).astype(np.uint8)
    constants = normalise.constants(raw, "range")
    found = predict_alone(normalise.apply(raw, *constants), predictor.geometry, predictor)
    assert all(np.array_equal(found[c], raw) for c in range(3))
