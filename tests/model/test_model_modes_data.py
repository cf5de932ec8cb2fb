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

from fgnet_pipeline.training.validation import predict_alone, score_affinities

#: Corners of 72 voxels in plane (y, x) of the sections never trained on. One alone holds some fifteen objects, and one
#: join more or less is .05 bit there: modes are compared by the mean over corners and over the plateau of thresholds.
CORNERS = ((0, 0), (120, 0), (170, 170))
PLATEAU, SHIPPED_DISTANCE = (0.15, 0.2, 0.25, 0.3), 6


def corner(path: Path, y: int, x: int) -> NDArray[Any]:
    """Sections 140-179 of a corner of an array."""
    array: Any = zarr.open_array(path, mode="r")
    return np.asarray(array[140:180, y : y + 72, x : x + 72])


def predict(raw: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    """Affinities of raw by itself in a mode."""
    predictor = fgnet.load_predictor("nano-fib25", mode, threads=1)
    constants = normalise.constants(raw.ravel(), predictor.geometry.normalisation)
    return predict_alone(normalise.apply(raw, *constants), predictor.geometry, predictor)


@pytest.fixture(scope="module")
def affinities(sample: Path) -> dict[str, list[NDArray[np.uint8]]]:
    """Affinities of every corner in the modes compared, of the first in `exact`, too."""
    raws = [corner(sample / "raw", *place) for place in CORNERS]
    found = {mode: [predict(raw, mode) for raw in raws] for mode in ("reference", "fast")}
    return {**found, "exact": [predict(raws[0], "exact")]}


def test_fast_segments_as_well_as_reference(sample: Path, affinities: dict[str, list[NDArray[np.uint8]]]) -> None:
    means = {}
    for mode in ("reference", "fast"):
        scores = [
            (score.voi_sum, score.arand)
            for found, place in zip(affinities[mode], CORNERS, strict=True)
            for score in score_affinities(
                found, corner(sample / "labels", *place), min_seed_distance=SHIPPED_DISTANCE, thresholds=PLATEAU
            )
        ]
        means[mode] = np.mean(scores, axis=0)
    distance = np.abs(means["fast"] - means["reference"])
    assert distance[0] < 0.03 and distance[1] < 0.01


def test_bfloat16_changes_less_than_another_place_of_the_tiles(
    affinities: dict[str, list[NDArray[np.uint8]]],
) -> None:
    exact, fast, reference = (affinities[mode][0].astype(int) for mode in ("exact", "fast", "reference"))
    rounding = np.abs(exact - fast).mean()
    placing = np.abs(exact - reference).mean()
    assert rounding < 2 and rounding < placing / 2
