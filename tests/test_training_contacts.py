"""The loss of contacts against a face-by-face oracle."""

import math

import numpy as np
import pytest
import torch
from fgnet.training.contacts import contact_faces, contact_loss, entropy_of_joining, owners

SHAPE = (5, 6, 7)


def columns(affinities: np.ndarray) -> np.ndarray:
    """Fragments that do not depend on the affinities: four columns, one voxel of background."""
    _, y, x = np.indices(affinities.shape[1:])
    fragments = (1 + (y >= 3) + 2 * (x >= 4)).astype(np.uint32)
    fragments[0, 0, 0] = 0
    return fragments


def labels() -> np.ndarray:
    """Fragments 1 and 2 are one object, 3 another, and most of 4 is not labelled."""
    fragments = columns(np.zeros((3, *SHAPE)))
    ids = np.array([0, 7, 7, 9, 9])[fragments].astype(np.int32)
    ids[:, :, 6] = 0
    ids[1, 0, 0] = 9  # a voxel of another object does not change whose the fragment is
    return ids


def oracle(p: np.ndarray, fragments: np.ndarray, ids: np.ndarray, margin: int) -> float:
    """The loss as the module's docstring states it, one face after the other."""
    contacts: dict[tuple[int, int], list[float]] = {}
    inner = [range(margin, n - margin) for n in SHAPE]
    for z in inner[0]:
        for y in inner[1]:
            for x in inner[2]:
                for c, (a, b, d) in enumerate(((z - 1, y, x), (z, y - 1, x), (z, y, x - 1))):
                    if a not in inner[0] or b not in inner[1] or d not in inner[2]:
                        continue
                    u, v = sorted((int(fragments[z, y, x]), int(fragments[a, b, d])))
                    if u != v and u > 0:
                        contacts.setdefault((u, v), []).append(float(p[c, z, y, x]))
    owner = {}
    for f in range(1, 5):
        own = ids[(fragments == f) & (ids > 0)]
        owner[f] = int(np.bincount(own).argmax()) if len(own) else 0
    cost = {True: [], False: []}
    for (u, v), values in contacts.items():
        if 0 in (owner[u], owner[v]):
            continue
        mean = sum(values) / len(values)
        a, b = int((fragments == u).sum()), int((fragments == v).sum())
        bits = a * math.log2((a + b) / a) + b * math.log2((a + b) / b)
        same = owner[u] == owner[v]
        cost[same].append((bits, -math.log(mean if same else 1 - mean)))
    halves = [sum(w * c for w, c in k) / sum(w for w, _ in k) for k in cost.values() if k]
    return sum(halves) / len(halves)


@pytest.mark.parametrize("margin", [0, 1])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_it_is_what_it_says(margin: int, shift: float) -> None:
    logits = torch.randn((1, 3, *SHAPE), generator=torch.Generator().manual_seed(3))
    found = float(contact_loss(logits, torch.from_numpy(labels())[None], columns, shift, margin))
    p = torch.sigmoid(logits - shift)[0].numpy()
    assert found == pytest.approx(oracle(p, columns(p), labels(), margin), rel=1e-5)


def test_gradient_reaches_the_faces_of_contacts_alone() -> None:
    logits = torch.zeros((1, 3, *SHAPE), requires_grad=True)
    contact_loss(logits, torch.from_numpy(labels())[None], columns, 0.0, 0).backward()
    touched = np.flatnonzero(logits.grad.numpy())
    faces, _ = contact_faces(columns(np.zeros((3, *SHAPE))), 0)
    assert set(touched) <= set(faces.tolist()) and len(touched) > 0


def test_without_contacts_it_is_zero_and_keeps_its_graph() -> None:
    logits = torch.randn((1, 3, *SHAPE), requires_grad=True)
    loss = contact_loss(logits, torch.ones((1, *SHAPE), dtype=torch.int32), lambda a: np.ones(SHAPE, np.uint32), 1, 1)
    loss.backward()
    assert float(loss.detach()) == 0 and not logits.grad.any()


def test_better_affinities_cost_less() -> None:
    fragments, ids = columns(np.zeros((3, *SHAPE))), labels()
    owner, _ = owners(fragments, ids)
    faces, pairs = contact_faces(fragments, 0)
    right = torch.zeros(3 * fragments.size)
    right[torch.from_numpy(faces)] = torch.from_numpy(np.where(owner[pairs[0]] == owner[pairs[1]], 3.0, -3.0)).float()
    right = right.reshape(1, 3, *SHAPE)
    costs = [float(contact_loss(s * right, torch.from_numpy(ids)[None], columns, 0.0, 0)) for s in (-1.0, 0.0, 1.0)]
    assert costs[0] > costs[1] > costs[2]
    assert costs[1] == pytest.approx(math.log(2), rel=1e-5)


def test_owner_is_the_label_of_most_voxels() -> None:
    owner, sizes = owners(columns(np.zeros((3, *SHAPE))), labels())
    assert owner.tolist() == [0, 7, 7, 9, 9]
    assert sizes.tolist() == [1, 5 * 3 * 4 - 1, 5 * 3 * 4, 5 * 3 * 3, 5 * 3 * 3]


def test_entropy_of_joining_halves_is_one_bit_a_voxel() -> None:
    assert entropy_of_joining(np.array([8]), np.array([8])) == pytest.approx([16.0])
