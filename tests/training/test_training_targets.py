"""Affinity targets, erosion and the loss."""

from __future__ import annotations

import numpy as np
import torch
from fgnet.geometry import NEAREST
from fgnet.training.losses import bce_dice
from fgnet.training.targets import affinities, erode
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
