"""A loss on what agglomeration looks at: the mean affinity of every contact of two fragments.

1. Fragments are cut from the affinities that the network predicts now, by the pipeline's own watershed.
2. The faces between two fragments are one contact; its score is the mean of their predicted affinities.
3. Its target is 1 where the two fragments belong to the same object (by the label that most of their voxels carry).
4. Binary cross entropy of score and target, each contact weighted by the bits that a wrong decision costs: joining
   (or parting) sets of A and B voxels changes a partition's entropy by A log2((A+B)/A) + B log2((A+B)/B).

Contacts of either kind count half. The watershed itself has no gradient; the affinities of the faces have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Fragmenter = Callable[[NDArray[np.uint8]], NDArray[np.uint32]]
"""uint8 affinities (3, z, y, x) -> fragments (z, y, x), 0 = none."""
SMALLEST = 1e-4


def contact_loss(logits: Tensor, labels: Tensor, fragmenter: Fragmenter, shift: float, margin: int) -> Tensor:
    """The loss of a batch.

    logits: (B, 3, z, y, x) of the nearest neighbours before a voxel. labels: (B, z, y, x), 0 = not labelled. shift: is
    subtracted from the logits, as in the exported weights. margin: voxels at the faces of a patch whose contacts are
    left out, as the network lacks context there. A batch without any contact costs 0, with its graph.
    """
    affinities = torch.sigmoid(logits.float() - shift)
    stored = (affinities.detach() * 255).round().to(torch.uint8).cpu().numpy()
    ids = labels.cpu().numpy()
    parts = [_patch_loss(affinities[i], fragmenter(stored[i]), ids[i], margin) for i in range(len(stored))]
    return torch.stack(parts).mean()


def _patch_loss(affinities: Tensor, fragments: NDArray[np.uint32], labels: NDArray[np.int32], margin: int) -> Tensor:
    owner, sizes = owners(fragments, labels)
    places, pairs = contact_faces(fragments, margin)
    known = (owner[pairs[0]] > 0) & (owner[pairs[1]] > 0)
    places, pairs = places[known], pairs[:, known]
    if not len(places):
        return affinities.sum() * 0
    contacts, index = np.unique(pairs, axis=1, return_inverse=True)
    contact = torch.from_numpy(index.ravel()).to(affinities.device)
    faces = affinities.reshape(-1)[torch.from_numpy(places).to(affinities.device)]
    total = torch.zeros(contacts.shape[1], device=affinities.device).index_add(0, contact, faces)
    count = torch.bincount(contact, minlength=contacts.shape[1])
    mean = (total / count).clamp(SMALLEST, 1 - SMALLEST)
    same = torch.from_numpy(owner[contacts[0]] == owner[contacts[1]]).to(mean.device)
    bits = torch.from_numpy(entropy_of_joining(sizes[contacts[0]], sizes[contacts[1]])).to(mean)
    cost = torch.where(same, -mean.log(), -(1 - mean).log()) * bits
    halves = [cost[kind].sum() / bits[kind].sum() for kind in (same, ~same) if bool(kind.any())]
    return torch.stack(halves).mean()


def entropy_of_joining(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bits by which joining sets of a and b voxels changes the entropy of a partition, times all voxels."""
    both = a + b
    bits: NDArray[np.float64] = a * np.log2(both / a) + b * np.log2(both / b)
    return bits


def owners(fragments: NDArray[np.uint32], labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each fragment id 0..n: the label that most of its voxels carry (0 where none is labelled), and its voxels."""
    flat, ids = fragments.ravel().astype(np.int64), labels.ravel().astype(np.int64)
    sizes = np.bincount(flat).astype(np.int64)
    width = int(ids.max()) + 1
    keys, counts = np.unique(flat[ids > 0] * width + ids[ids > 0], return_counts=True)
    owner = np.zeros(len(sizes), np.int64)
    order = np.argsort(counts, kind="stable")
    owner[keys[order] // width] = keys[order] % width  # the most frequent label is written last
    owner[0] = 0
    return owner, sizes


def contact_faces(fragments: NDArray[np.uint32], margin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(flat positions in (3, z, y, x) of the faces between two fragments, their fragments (2, n), smaller id first)."""
    size = fragments.size
    numbers = np.arange(size).reshape(fragments.shape)
    inner = tuple(slice(min(margin, n), max(n - margin, 0)) for n in fragments.shape)
    part, numbers = fragments[inner], numbers[inner]
    places, low, high = [], [], []
    for axis in range(3):
        here, before = np.delete(part, 0, axis), np.delete(part, -1, axis)
        differ = (here != before) & (here > 0) & (before > 0)
        places.append(np.delete(numbers, 0, axis)[differ] + axis * size)
        low.append(np.minimum(here, before)[differ])
        high.append(np.maximum(here, before)[differ])
    return np.concatenate(places), np.stack([np.concatenate(low), np.concatenate(high)]).astype(np.int64)
