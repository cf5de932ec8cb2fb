"""Affinity targets, erosion and augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fgnet.geometry import NEAREST
from fgnet.training.chance import Chance
from fgnet.training.defects import augment_defects
from fgnet.training.losses import bce_dice
from fgnet.training.sampling import LabelledVolume, crop, draw, place
from fgnet.training.settings import AugmentSettings, DefectSettings, IntensitySettings, WarpSettings
from fgnet.training.targets import affinities, erode
from fgnet.training.warp import coordinates, resample, rotation, symmetry
from hypothesis import given, settings
from hypothesis import strategies as st

OFFSETS = (*NEAREST, (-3, 0, 0), (0, 2, 0), (1, -1, 2), (9, 0, 0))


def labels_of(seed: int, shape: tuple[int, int, int] = (5, 6, 7)) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 4, [-(-n // 2) for n in shape])
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[: shape[0], : shape[1], : shape[2]]
    return torch.from_numpy(np.ascontiguousarray(fine).astype(np.int32))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_affinities_equal_the_definition(seed: int) -> None:
    labels, objects = labels_of(seed), labels_of(seed + 1)
    target, weight = affinities(labels[None], objects[None], OFFSETS)
    shape = labels.shape
    for channel, offset in enumerate(OFFSETS):
        for v in np.ndindex(*shape):
            w = tuple(a + b for a, b in zip(v, offset, strict=True))
            inside = all(0 <= a < n for a, n in zip(w, shape, strict=True))
            known = inside and labels[v] > 0 and labels[w] > 0
            same = inside and objects[v] == objects[w] and objects[v] > 0
            assert weight[0, channel][v] == float(known)
            assert target[0, channel][v] == float(same)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(0, 1, 2), (1, 2)]))
def test_erosion_equals_the_definition(seed: int, axes: tuple[int, ...]) -> None:
    labels = labels_of(seed)
    found = erode(labels[None], axes)[0]
    for v in np.ndindex(*labels.shape):
        border = False
        for axis in axes:
            for step in (-1, 1):
                w = list(v)
                w[axis] += step
                if 0 <= w[axis] < labels.shape[axis]:
                    other = labels[tuple(w)]
                    border |= bool(other > 0 and labels[v] > 0 and other != labels[v])
        assert found[v] == (0 if border else labels[v])


def coded(shape: tuple[int, int, int]) -> LabelledVolume:
    """A volume whose raw equals its labels, so that whatever moves one must move the other."""
    z, y, x = np.indices(shape)
    labels = (1 + z // 8 + 10 * (y // 8) + 100 * (x // 8)).astype(np.int32)
    return LabelledVolume(torch.from_numpy(labels.astype(np.float32)), torch.from_numpy(labels))


@pytest.mark.parametrize("isotropic", [True, False])
def test_symmetries_move_raw_and_labels_together(isotropic: bool) -> None:
    volume = coded((16, 16, 16))
    seen = set()
    for seed in range(200):
        raw, labels = symmetry(volume.raw, volume.labels, Chance(seed), isotropic)
        assert torch.equal(raw, labels.float())
        seen.add(labels.numpy().tobytes())
    assert len(seen) == (48 if isotropic else 16)


def test_a_warp_moves_raw_and_labels_together() -> None:
    volume = coded((40, 40, 40))
    shape = (24, 24, 24)
    for seed in range(5):
        positions = coordinates(shape, torch.tensor([20.0, 20, 20]), WarpSettings(), Chance(seed), True)
        raw, labels = resample(volume.raw, volume.labels, positions)
        nearest = positions.round().long()
        inside = ((nearest >= 0) & (nearest < 40)).all(-1)
        assert inside.float().mean() > 0.5
        clear = inside & ((positions % 8 > 1) & (positions % 8 < 6)).all(-1)
        assert torch.allclose(raw[clear], labels[clear].float(), atol=1e-2)
        assert (labels[~inside] == 0).all()


def test_no_warp_is_a_crop() -> None:
    volume = coded((20, 20, 20))
    still = WarpSettings(rotate=0, zoom=1.0, elastic=0)
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


def test_a_misaligned_section_stays_aligned_with_its_labels() -> None:
    volume = coded((16, 32, 32))
    only = DefectSettings(0, 0, 0, 1.0, 0, 0, 0)
    for seed in range(20):
        raw, labels = augment_defects(volume.raw, volume.labels, Chance(seed), only)
        known = labels > 0
        assert torch.equal(raw[known], labels[known].float()) and known.float().mean() > 0.7


def test_every_defect_changes_raw_alone() -> None:
    raw = torch.randn(16, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.ones(16, 32, 32, dtype=torch.int32)
    for name in ("section_contrast", "missing_section", "missing_part", "motion_blur", "cut_noise", "cut_blur"):
        none = dict.fromkeys(DefectSettings.__dataclass_fields__, 0.0)
        changed, kept = augment_defects(raw, labels, Chance(4), DefectSettings(**{**none, name: 1.0}))
        assert not torch.equal(changed, raw) and torch.equal(kept, labels)
        assert torch.isfinite(changed).all()


def test_patches_depend_on_their_key_alone() -> None:
    volume = LabelledVolume(torch.randn(40, 40, 40), coded((40, 40, 40)).labels)
    first = draw([volume], (32, 32, 32), AugmentSettings(), Chance(1, 7, 0, 0))
    again = draw([volume], (32, 32, 32), AugmentSettings(), Chance(1, 7, 0, 0))
    other = draw([volume], (32, 32, 32), AugmentSettings(), Chance(1, 8, 0, 0))
    assert torch.equal(first.raw, again.raw) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.raw, other.raw)


def test_a_volume_smaller_than_a_patch_is_padded_without_labels() -> None:
    volume = coded((5, 40, 40))
    raw, labels = crop(volume, (16, 32, 32), (0, 4, 8))
    assert raw.shape == labels.shape == (16, 32, 32)
    assert (labels[:5] > 0).all() and (labels[5:] == 0).all()


def test_zero_strength_leaves_raw_as_it_is() -> None:
    volume = LabelledVolume(torch.randn(32, 32, 32), coded((32, 32, 32)).labels)
    quiet = AugmentSettings(
        warp=WarpSettings(probability=0),
        intensity=IntensitySettings(contrast=0, curve=0, field=0, noise=0, blur=0, sharpen=0),
        defects=DefectSettings(0, 0, 0, 0, 0, 0, 0),
    )
    patch = draw([volume], (32, 32, 32), quiet, Chance(3))
    assert torch.equal(patch.raw.flatten().sort().values, volume.raw.flatten().sort().values)


def test_weights_choose_the_volume() -> None:
    def constant(value: float, weight: float) -> LabelledVolume:
        return LabelledVolume(torch.full((8, 8, 8), float(value)), torch.ones((8, 8, 8), dtype=torch.int32), weight)

    volumes = [constant(0, 1), constant(1, 3)]
    off = AugmentSettings(enabled=False)
    share = np.mean([float(draw(volumes, (4, 4, 4), off, Chance(i)).raw.mean()) for i in range(400)])
    assert 0.65 < share < 0.85


def test_the_loss_ignores_voxels_without_weight_and_is_low_where_right() -> None:
    target = (torch.rand(1, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    weight = torch.ones_like(target)
    weight[..., 4:] = 0
    logits = (target * 2 - 1) * 12
    right = bce_dice(logits, target, weight)
    spoilt = logits.clone()
    spoilt[..., 4:] *= -1
    assert torch.equal(bce_dice(spoilt, target, weight), right) and float(right) < 0.01
    assert float(bce_dice(-logits, target, weight)) > 5


def test_places_with_more_labels_are_preferred_and_lie_inside() -> None:
    labels = torch.ones(32, 32, 64, dtype=torch.int32)
    labels[..., 32:] = torch.arange(32).repeat_interleave(1)[:, None, None].int() + 2
    volume = LabelledVolume(torch.zeros(32, 32, 64), labels)
    begins = {c: [place(volume, (32, 32, 32), c, Chance(i))[2] for i in range(200)] for c in (1, 4)}
    assert np.mean(begins[4]) > np.mean(begins[1]) and max(begins[4]) <= 32 and min(begins[1]) >= 0
