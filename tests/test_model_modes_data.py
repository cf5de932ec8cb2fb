"""`fast` beside `reference` and `exact` on a corner of the real sample that was not trained on.

The acceptance itself, within .01 on all held-out sections, is benchmarks/fast_acceptance.py: in a corner of 26 neurons
one small piece is worth more than that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fgnet
import numpy as np
import pytest
import zarr
from fgnet import normalise
from numpy.typing import NDArray

from fgnet_pipeline.training_validation import predict_alone, score_affinities

BOX = (slice(140, 180), slice(0, 72), slice(0, 72))
SHIPPED_THRESHOLD, SHIPPED_DISTANCE = 0.2, 6


@pytest.fixture(scope="module")
def affinities(sample: Path) -> dict[str, NDArray[np.uint8]]:
    """Affinities of the corner in every mode."""
    array: Any = zarr.open_array(sample / "raw", mode="r")
    raw = np.asarray(array[BOX])
    found = {}
    for mode in ("reference", "exact", "fast"):
        predictor = fgnet.load_predictor("nano-fib25", mode, threads=1)
        constants = normalise.constants(raw.ravel(), predictor.geometry.normalisation)
        found[mode] = predict_alone(normalise.apply(raw, *constants), predictor.geometry, predictor)
    return found


def test_fast_segments_as_well_as_reference(sample: Path, affinities: dict[str, NDArray[np.uint8]]) -> None:
    array: Any = zarr.open_array(sample / "labels", mode="r")
    labels = np.asarray(array[BOX])
    scores = {
        mode: score_affinities(a, labels, min_seed_distance=SHIPPED_DISTANCE, thresholds=(SHIPPED_THRESHOLD,))[0]
        for mode, a in affinities.items()
    }
    assert abs(scores["fast"].voi_sum - scores["reference"].voi_sum) < 0.03
    assert abs(scores["fast"].arand - scores["reference"].arand) < 0.01


def test_bfloat16_changes_less_than_another_place_of_the_tiles(affinities: dict[str, NDArray[np.uint8]]) -> None:
    exact = affinities["exact"].astype(int)
    rounding = np.abs(exact - affinities["fast"]).mean()
    placing = np.abs(exact - affinities["reference"]).mean()
    assert rounding < 2 and rounding < placing / 2
