"""The real sample, block by block from Zarr, against scikit-image on whole arrays."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import ndimage

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.evaluation.evaluate import Comparison

metrics = pytest.importorskip("skimage.metrics")


@pytest.mark.parametrize("block", [None, (23, 100, 77)])
def test_scores_of_the_last_sections_equal_scikit_image(
    sample: Path, tmp_path: Path, block: tuple[int, int, int] | None
) -> None:
    labels = zarr.open_array(sample / "labels", mode="r")
    raw = zarr.open_array(sample / "raw", mode="r")
    region = Box((140, 0, 0), (180, 250, 250))
    bright, _ = ndimage.label(ndimage.gaussian_filter(np.asarray(raw[140:]), 1.5) > 125)
    stored = zarr.create_array(
        tmp_path / "seg.zarr", shape=(40, 250, 250), dtype="u8", chunks=(20, 50, 50), shards=(20, 100, 100)
    )
    stored[:] = bright.astype(np.uint64)
    got = Comparison(stored, labels, segmentation_offset=(140, 0, 0), region=region, block=block, workers=2).scores()
    truth = np.asarray(labels[140:]).astype(np.int64)
    split, merged = metrics.variation_of_information(truth, bright, ignore_labels=(0,))
    assert got.voi_split == pytest.approx(split, abs=1e-9)
    assert got.voi_merge == pytest.approx(merged, abs=1e-9)
    assert got.adapted_rand_error == pytest.approx(metrics.adapted_rand_error(truth, bright)[0], abs=1e-9)
    assert got.voxels == int((truth > 0).sum())


def test_the_labels_score_zero_against_themselves(sample: Path) -> None:
    labels = zarr.open_array(sample / "labels", mode="r")
    scores = Comparison(labels, labels).scores()
    assert (scores.voi_sum, scores.adapted_rand_error, scores.cremi_score) == (0.0, 0.0, 0.0)
