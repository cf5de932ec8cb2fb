"""Which patches are drawn."""

from __future__ import annotations

import numpy as np
import torch
from fgnet.training.chance import Chance
from fgnet.training.patch import LabelledVolume, cut
from fgnet.training.sampling import draw, place
from fgnet.training.settings import AugmentSettings
from tiny_training import coded


def test_patches_depend_on_their_key_alone() -> None:
    volume = LabelledVolume(torch.randn(40, 40, 40), coded((40, 40, 40)).labels)
    first = draw([volume], (32, 32, 32), AugmentSettings(), Chance(1, 7, 0, 0))
    again = draw([volume], (32, 32, 32), AugmentSettings(), Chance(1, 7, 0, 0))
    other = draw([volume], (32, 32, 32), AugmentSettings(), Chance(1, 8, 0, 0))
    assert torch.equal(first.raw, again.raw) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.raw, other.raw)


def test_a_volume_smaller_than_a_patch_is_padded_without_labels() -> None:
    volume = coded((5, 40, 40))
    patch = cut(volume, (16, 32, 32), (0, 4, 8))
    assert patch.raw.shape == patch.labels.shape == (16, 32, 32)
    assert (patch.labels[:5] > 0).all() and (patch.labels[5:] == 0).all()
    assert all(torch.equal(section, patch.raw[4]) for section in patch.raw[5:])


def test_weights_choose_the_volume() -> None:
    def constant(value: float, weight: float) -> LabelledVolume:
        return LabelledVolume(torch.full((8, 8, 8), float(value)), torch.ones((8, 8, 8), dtype=torch.int32), weight)

    volumes = [constant(0, 1), constant(1, 3)]
    off = AugmentSettings(enabled=False)
    share = np.mean([float(draw(volumes, (4, 4, 4), off, Chance(i)).raw.mean()) for i in range(400)])
    assert 0.65 < share < 0.85


def test_places_with_more_labels_are_preferred_and_lie_inside() -> None:
    labels = torch.ones(32, 32, 64, dtype=torch.int32)
    labels[..., 32:] = torch.arange(32).repeat_interleave(1)[:, None, None].int() + 2
    volume = LabelledVolume(torch.zeros(32, 32, 64), labels)
    begins = {c: [place(volume, (32, 32, 32), c, Chance(i))[2] for i in range(200)] for c in (1, 4)}
    assert np.mean(begins[4]) > np.mean(begins[1]) and max(begins[4]) <= 32 and min(begins[1]) >= 0
