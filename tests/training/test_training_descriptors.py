"""Local shape descriptors against sums over all voxels, and against values of the authors' package."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fgnet.config import NetworkConfig, preset
from fgnet.network import FGNet
from fgnet.tensors import read_weights
from fgnet.training.checkpoints import export
from fgnet.training.descriptors import Sigma, descriptor_targets, local_shape_descriptors
from fgnet.training.loop import Trainer
from fgnet.training.losses import descriptor_loss
from fgnet.weights import read_network
from tiny_network import GEOMETRY, SMALL
from tiny_training import SETTINGS, phantom, write_training

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig

#: Made once by `lsds` 0.1.3, sigma 3, 4, 4: labels, 300 voxels `at`, their descriptors, and those with downsample=2.
REFERENCE = Path(__file__).with_name("lsds_reference.npz")
SIGMA: Sigma = (3.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def reference() -> dict[str, npt.NDArray[Any]]:
    with np.load(REFERENCE, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def in_torch(labels: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(labels.astype(np.int32))[None]


@pytest.mark.parametrize(("name", "step"), [("full", (1, 1, 1)), ("half", (2, 2, 2))])
def test_values_are_those_of_the_authors(
    reference: dict[str, npt.NDArray[Any]], name: str, step: tuple[int, int, int]
) -> None:
    labels, at = reference["labels"], tuple(reference["at"].astype(int))
    found = local_shape_descriptors(in_torch(labels), SIGMA, step)[0].numpy()[(slice(None), *at)]
    coarse = labels[:: step[0], :: step[1], :: step[2]]
    for axis, repeats in enumerate(step):
        coarse = coarse.repeat(repeats, axis)
    # A voxel whose label is not that of the computed voxel has no value here; the authors' looks beyond its object.
    same = (coarse == labels)[at]
    assert same.mean() > 0.7
    np.testing.assert_allclose(found[:, same], reference[name][:, same], atol=3e-5)
    assert not found[:, ~same].any()


def by_sums(labels: npt.NDArray[np.int64], sigma: Sigma, at: tuple[int, ...]) -> list[float]:
    """The descriptors of one voxel, voxel by voxel of its window."""
    weights, places = [], []
    reach = [int(3 * s + 0.5) for s in sigma]
    norms = [sum(np.exp(-0.5 * (d / s) ** 2) for d in range(-r, r + 1)) for r, s in zip(reach, sigma, strict=True)]
    for offset in itertools.product(*(range(-r, r + 1) for r in reach)):
        place = np.add(at, offset)
        if (place < 0).any() or (place >= labels.shape).any() or labels[tuple(place)] != labels[at]:
            continue
        parts = [np.exp(-0.5 * (d / s) ** 2) / n for d, s, n in zip(offset, sigma, norms, strict=True)]
        weights.append(np.prod(parts))
        places.append(offset)
    size, points = np.sum(weights), np.array(places, float)
    mean = np.average(points, axis=0, weights=weights)
    spread = np.maximum(np.average((points - mean) ** 2, axis=0, weights=weights), 1e-3)
    pairs = ((0, 1), (0, 2), (1, 2))
    products = [np.average(np.prod(points[:, p] - mean[list(p)], axis=1), weights=weights) for p in map(list, pairs)]
    bound = [np.sqrt(spread[a] * spread[b]) for a, b in pairs]
    values = [
        *(mean / sigma * 0.5 + 0.5),
        *(spread / np.square(sigma)),
        *(np.divide(products, bound) * 0.5 + 0.5),
        size,
    ]
    return [float(v) for v in np.clip(values, 0, 1)]


def test_values_are_sums_over_the_window() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 4, (3, 4, 5)).repeat(3, 0).repeat(3, 1).repeat(2, 2)
    sigma: Sigma = (1.0, 2.0, 1.5)
    found = local_shape_descriptors(in_torch(labels), sigma)[0].numpy()
    assert not found[:, labels == 0].any()
    for at in random.permutation(np.argwhere(labels > 0))[:40]:
        np.testing.assert_allclose(found[(slice(None), *at)], by_sums(labels, sigma, tuple(at)), atol=1e-4)


def test_patches_do_not_see_each_other() -> None:
    labels, sigma = torch.randint(0, 3, (3, 8, 8, 10), dtype=torch.int32), (2.0, 2.0, 2.0)
    together = local_shape_descriptors(labels, sigma)
    for one, found in zip(labels, together, strict=True):
        assert torch.equal(found, local_shape_descriptors(one[None], sigma)[0])


def test_voxels_near_a_face_and_without_label_have_no_weight() -> None:
    labels = torch.ones(1, 12, 14, 16, dtype=torch.int32)
    labels[0, 6] = 0
    target, weight = descriptor_targets(labels, (2.0, 2.5, 3.0))
    expected = torch.zeros(12, 14, 16)
    expected[2:10, 3:11, 3:13] = 1
    expected[6] = 0
    assert torch.equal(weight[0, 0], expected)
    assert target[0, -1][expected > 0].min() > 0


def test_the_loss_is_least_at_the_target_and_ignores_other_voxels() -> None:
    target, weight = descriptor_targets(torch.randint(1, 3, (1, 16, 16, 16), dtype=torch.int32), (2.0, 2.0, 2.0))
    perfect = torch.logit(target.clamp(1e-6, 1 - 1e-6))
    assert descriptor_loss(perfect, target, weight) < 1e-9
    moved = torch.where(weight > 0, perfect, 50.0)
    assert descriptor_loss(moved, target, weight) < 1e-9
    assert float(descriptor_loss(torch.full_like(target, 60), target, weight)) == pytest.approx(
        float(((1 - target) ** 2 * weight).sum() / (weight.sum() * 10)), rel=1e-5
    )


def test_only_the_training_has_the_head() -> None:
    plain, described = preset("nano"), replace(preset("nano"), descriptors=True)
    assert described.without_training() == plain.without_training()
    assert "descriptors" not in plain.to_json()
    assert NetworkConfig.from_json(described.to_json()) == described
    network = FGNet(described).train()
    logits = network(torch.zeros(1, 1, 16, 32, 32))
    assert logits.descriptors is not None and logits.descriptors.shape == (1, 10, 16, 32, 32)
    assert network.eval()(torch.zeros(1, 1, 16, 32, 32)).descriptors is None


def test_a_training_with_descriptors_resumes_and_exports_without_them(tmp_path: Path) -> None:
    settings = replace(SETTINGS, cycles=(4,), lsd_weight=5.0, lsd_sigma=(2.0, 2.0, 2.0))
    config = replace(SMALL, descriptors=True)
    whole, parts = Trainer(config, settings, [phantom()]), Trainer(config, settings, [phantom()])
    expected = [whole.step().loss for _ in range(4)]
    found = [parts.step().loss for _ in range(2)]
    resumed = Trainer(config, settings, [phantom()])
    resumed.restore(parts.state())
    assert [*found, *(resumed.step().loss for _ in range(2))] == expected
    assert Trainer(SMALL, SETTINGS, [phantom()]).step().loss < expected[0]  # without the loss of the descriptors
    export(tmp_path / "w.safetensors", whole.averaged_network(), whole.result(), GEOMETRY)
    assert not [name for name in read_weights(tmp_path / "w.safetensors") if name.startswith("descriptors")]
    assert read_network(tmp_path / "w.safetensors") == config.without_training()


@pytest.mark.parametrize(("key", "value"), [("lsd_weight", "-1.0"), ("lsd_sigma", "[8.0,0.2,8.0]")])
def test_values_that_mean_nothing_are_refused(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(InputError, match=f"optimise.{key}"):
        TrainConfig.load(write_training(tmp_path), [f"optimise.{key}={value}"])
