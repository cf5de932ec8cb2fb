"""What goes wrong in electron microscopes, as augmentation of (z, y, x) patches: whole sections and parts of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fgnet.training.chance import Chance
from fgnet.training.intensity import gaussian_blur
from fgnet.training.settings import DefectSettings


def section_contrast(raw: Tensor, chance: Chance) -> Tensor:
    """Every section with a contrast and a brightness of its own."""
    strength = chance.uniform(0.0, 0.25)
    gain = torch.exp(chance.normal((raw.shape[0], 1, 1)) * strength)
    return raw * gain + chance.normal((raw.shape[0], 1, 1)) * strength


def missing_section(raw: Tensor, chance: Chance) -> Tensor:
    """One section (seldom two) without content."""
    raw = raw.clone()
    begin = chance.integer(0, raw.shape[0])
    raw[begin : begin + (2 if chance.happens(0.2) else 1)] = chance.uniform(-3, 3)
    return raw


def box(shape: torch.Size, chance: Chance, largest: float = 0.35) -> tuple[slice, ...]:
    """A random box with edges of up to `largest` of the patch."""
    slices = []
    for size in shape:
        edge = max(1, int(size * chance.uniform(0.1, largest)))
        begin = chance.integer(0, size - edge + 1)
        slices.append(slice(begin, begin + edge))
    return tuple(slices)


def missing_part(raw: Tensor, chance: Chance) -> Tensor:
    """A part of a few sections without content."""
    raw = raw.clone()
    z, y, x = box(raw.shape, chance)
    raw[slice(z.start, z.start + chance.integer(1, 4)), y, x] = chance.uniform(-3, 3)
    return raw


def misaligned(raw: Tensor, labels: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """All sections from one on shifted by up to 4 voxels in plane, mirrored content at the edge not labelled."""
    begin = chance.integer(1, raw.shape[0])
    dy, dx = chance.integer(-4, 5), chance.integer(-4, 5)
    raw, labels = raw.clone(), labels.clone()
    raw[begin:] = torch.roll(raw[begin:], (dy, dx), (1, 2))
    labels[begin:] = torch.roll(labels[begin:], (dy, dx), (1, 2))
    for shift, axis in ((dy, 1), (dx, 2)):
        if shift:
            edge = slice(0, shift) if shift > 0 else slice(shift, None)
            labels[
                (slice(begin, None), edge, slice(None)) if axis == 1 else (slice(begin, None), slice(None), edge)
            ] = 0
    return raw, labels


def motion_blur(raw: Tensor, chance: Chance) -> Tensor:
    """A few neighbouring sections smeared along one axis in plane."""
    raw = raw.clone()
    begin = chance.integer(0, raw.shape[0])
    part = slice(begin, begin + chance.integer(1, 4))
    sigma = chance.uniform(1.0, 3.0)
    raw[part] = gaussian_blur(raw[part], (0.0, sigma, 0.0) if chance.happens(0.5) else (0.0, 0.0, sigma))
    return raw


def cut_noise(raw: Tensor, chance: Chance) -> Tensor:
    """Strong noise in one box."""
    raw = raw.clone()
    part = box(raw.shape, chance)
    raw[part] += chance.normal(tuple(raw[part].shape)) * chance.uniform(0.3, 1.0)
    return raw


def cut_blur(raw: Tensor, chance: Chance) -> Tensor:
    """A blur in one box."""
    raw = raw.clone()
    part = box(raw.shape, chance)
    sigma = math.exp(chance.uniform(math.log(0.7), math.log(2.5)))
    raw[part] = gaussian_blur(raw[part], (sigma, sigma, sigma))
    return raw


def augment_defects(raw: Tensor, labels: Tensor, chance: Chance, settings: DefectSettings) -> tuple[Tensor, Tensor]:
    """Raw with defects, and the labels that still hold."""
    if chance.happens(settings.misaligned):
        raw, labels = misaligned(raw, labels, chance)
    for name in ("cut_blur", "motion_blur", "cut_noise", "section_contrast", "missing_part", "missing_section"):
        if chance.happens(getattr(settings, name)):
            raw = _CHANGES[name](raw, chance)
    return raw, labels


_CHANGES = {
    "cut_blur": cut_blur,
    "motion_blur": motion_blur,
    "cut_noise": cut_noise,
    "section_contrast": section_contrast,
    "missing_part": missing_part,
    "missing_section": missing_section,
}
