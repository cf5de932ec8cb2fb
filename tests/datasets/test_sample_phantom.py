"""The generated phantom: deterministic, dense connected ids, dark membranes."""

import numpy as np
import pytest
from scipy import ndimage

from fgnet_pipeline.datasets.phantom import Phantom, generate

SHAPES = {
    "isotropic": Phantom((40, 60, 70)),
    "sections": Phantom((5, 200, 220), (40.0, 4.0, 4.0)),
    "small": Phantom((1, 9, 8)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_ids_are_dense_and_every_one_is_connected(name: str) -> None:
    raw, labels = generate(SHAPES[name])
    assert raw.shape == labels.shape == SHAPES[name].shape
    assert (raw.dtype, labels.dtype) == (np.uint8, np.uint64)
    ids = np.unique(labels)
    np.testing.assert_array_equal(ids, np.arange(1, len(ids) + 1))
    assert all(ndimage.label(labels == i)[1] == 1 for i in ids)


def test_a_seed_fixes_every_voxel() -> None:
    first, second, other = (generate(Phantom((16, 30, 30), seed=seed)) for seed in (3, 3, 4))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[0] != other[0]).mean() > 0.5


@pytest.mark.parametrize("name", ["isotropic", "sections"])
def test_membranes_are_darker_than_cells(name: str) -> None:
    raw, labels = generate(SHAPES[name])
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:, :, 1:] |= labels[:, :, 1:] != labels[:, :, :-1]
    assert len(np.unique(labels)) > 5
    assert raw[edge].mean() < raw[~edge].mean() - 20
    assert raw.std() > 10


def test_noise_is_what_was_asked_for() -> None:
    quiet, loud = (generate(Phantom((16, 60, 60), noise=noise))[0].astype(float) for noise in (0.0, 12.0))
    assert np.std(loud - quiet) == pytest.approx(12.0, rel=0.2)
