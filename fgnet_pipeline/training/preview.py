"""A picture of what the network is shown: a mistake in the augmentation is seen before it costs days."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from fgnet.config import NetworkConfig
from fgnet.training.chance import Chance
from fgnet.training.checkpoints import write_whole
from fgnet.training.patch import LabelledVolume, Patch
from fgnet.training.sampling import draw
from fgnet.training.settings import LoopSettings
from fgnet.training.targets import affinities, erode, eroded_axes
from numpy.typing import NDArray
from PIL import Image

from fgnet_pipeline.kernels.grey import to_grey
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.defaults import with_defaults
from fgnet_pipeline.training.volumes import as_volumes, load_training

#: Pixels between two panels.
GAP = 4
#: Normalised raw values, in deviations, that are shown black and white.
BLACK_AND_WHITE = (-3.2, 3.175)


def write_preview(config: TrainConfig, path: Path, count: int = 6) -> None:
    """Write a PNG of `count` augmented patches of a configuration, one per row.

    Raises:
        InputError: data that do not fit.
    """
    boxes = load_training(config)
    settings = with_defaults(config, boxes).optimise
    draw_preview(as_volumes(boxes), settings, config.network(), path, count)


def draw_preview(
    volumes: Sequence[LabelledVolume], settings: LoopSettings, network: NetworkConfig, path: Path, count: int
) -> None:
    """Write a PNG with one patch of the last phase per row.

    A row shows raw, raw with coloured labels, and affinity targets (z, y, x as red, green, blue).
    """
    shape = settings.phases[-1].patch
    rows = [_row(draw(volumes, shape, settings.augment, Chance(settings.seed, 0, 0, i)), network) for i in range(count)]
    buffer = BytesIO()
    Image.fromarray(np.concatenate(rows)).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())


def _row(patch: Patch, network: NetworkConfig) -> NDArray[np.uint8]:
    """uint8 (y, x, 3): the panels side by side, with gaps."""
    padded = [np.pad(p, ((0, GAP), (0, GAP), (0, 0))) for p in panels(patch, network)]
    return np.concatenate(padded, axis=1)


def panels(patch: Patch, network: NetworkConfig) -> list[NDArray[np.uint8]]:
    """Three pictures uint8 (y, x, 3) of the middle section: raw, raw with labels, affinity targets."""
    labels = patch.labels[None]
    target, _ = affinities(labels, erode(labels, eroded_axes(patch.isotropic)), network.neighbourhood[:3])
    middle = patch.raw.shape[0] // 2
    grey = to_grey(patch.raw[middle].numpy(), BLACK_AND_WHITE)[..., None].repeat(3, axis=2)
    ids = patch.labels[middle].numpy().astype(np.int64)
    colours = np.stack([ids * k % 200 + 55 for k in (73, 151, 211)], axis=2) * (ids > 0)[..., None]
    pictures = (grey, (grey + colours) / 2, target[0, :, middle].numpy().transpose(1, 2, 0) * 255)
    return [p.astype(np.uint8) for p in pictures]
