"""Turn, zoom and bend: what is read, and where."""

from __future__ import annotations

import pytest
import torch
from fgnet.training.augmentations.warp import Settings, coordinates
from fgnet.training.chance import Chance
from fgnet.training.resampling import resample, rotation
from tiny_training import coded


def test_a_warp_moves_raw_and_labels_together() -> None:
    volume = coded((40, 40, 40))
    shape = (24, 24, 24)
    for seed in range(5):
        positions = coordinates(shape, torch.tensor([20.0, 20, 20]), Settings(), Chance(seed), True)
        raw, labels = resample(volume.raw, volume.labels, positions)
        nearest = positions.round().long()
        inside = ((nearest >= 0) & (nearest < 40)).all(-1)
        assert inside.float().mean() > 0.5
        clear = inside & ((positions % 8 > 1) & (positions % 8 < 6)).all(-1)
        assert torch.allclose(raw[clear], labels[clear].float(), atol=1e-2)
        assert (labels[~inside] == 0).all()


def test_no_warp_is_a_crop() -> None:
    volume = coded((20, 20, 20))
    still = Settings(rotate=0, zoom=1.0, elastic=0)
    positions = coordinates((8, 8, 8), torch.tensor([7.5, 9.5, 10.5]), still, Chance(0), True)
    raw, labels = resample(volume.raw, volume.labels, positions)
    assert torch.equal(labels, volume.labels[4:12, 6:14, 7:15])
    assert torch.allclose(raw, volume.raw[4:12, 6:14, 7:15], atol=1e-3)


def test_rotations_are_rotations() -> None:
    for seed in range(20):
        for isotropic in (True, False):
            matrix = rotation(Chance(seed), isotropic)
            assert torch.allclose(matrix @ matrix.T, torch.eye(3), atol=1e-5)
            assert float(torch.det(matrix)) == pytest.approx(1, abs=1e-5)
            if not isotropic:
                assert matrix[0].tolist() == [1, 0, 0]
