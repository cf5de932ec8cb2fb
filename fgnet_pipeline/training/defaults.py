"""Values that a training's configuration may leave open: warm-up, and size and number of patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from fgnet.training.settings import Phase

from fgnet_pipeline.training.config import IN_PLANE_MULTIPLE, TrainConfig, Triple
from fgnet_pipeline.training.volumes import LabelledBox

#: Patch (zyx) and batch, by (isotropic, on a processor). On one processor thread, torch computes the deep levels of a
#: single sample by a slower convolution, so a batch has two patches at least.
FIRST_PHASE: dict[tuple[bool, bool], tuple[Triple, int]] = {
    (True, True): ((32, 64, 64), 2),
    (True, False): ((64, 64, 64), 8),
    (False, True): ((12, 96, 96), 2),
    (False, False): ((16, 160, 160), 8),
}
#: Share of the iterations after which patches are as large as tiles, and their batch: on a processor, and on a GPU.
LAST_PHASE = {True: (0.98, 1), False: (0.4, 4)}


def with_defaults(config: TrainConfig, boxes: Sequence[LabelledBox]) -> TrainConfig:
    """The configuration with a warm-up and phases.

    Phases end with patches as large as the tile, so that the normalisation layers see the same statistics as at
    inference. A network with an encoder of SAM 2 gets one tile at a time from the begin.

    Args:
        config: of the training.
        boxes: what is learned from.
    """
    optimise = replace(config.optimise, warm_up=config.optimise.rise)
    if not optimise.phases:
        optimise = replace(optimise, phases=_phases(config, boxes))
    return config.model_copy(update={"optimise": optimise})


def _phases(config: TrainConfig, boxes: Sequence[LabelledBox]) -> tuple[Phase, ...]:
    largest = tuple(max(b.raw.shape[axis] for b in boxes) for axis in range(3))
    depth = int(np.prod([s[0] for s in config.network().fine.strides]))
    tile = _inside(config.geometry.tile, largest, depth)
    if not config.model.preset.startswith("nano"):
        return (Phase(0, tile, 1),)
    processor = config.machine.torch_device() == "cpu"
    patch, batch = FIRST_PHASE[any(b.isotropic for b in boxes), processor]
    first = Phase(0, _inside(patch, largest, depth), batch)
    share, number = LAST_PHASE[processor]
    begin = int(share * config.optimise.iterations)
    larger = np.prod(tile) > np.prod(first.patch)
    return (first, Phase(begin, tile, number)) if larger and begin > 0 else (first,)


def _inside(shape: Triple, largest: Sequence[int], depth: int) -> Triple:
    """The largest shape that the network takes and that is no larger than `shape` and than the largest volume."""
    steps = (depth, IN_PLANE_MULTIPLE, IN_PLANE_MULTIPLE)
    z, y, x = (max(s, min(n, v) // s * s) for n, v, s in zip(shape, largest, steps, strict=True))
    return z, y, x


def told(config: TrainConfig) -> str:
    """One sentence on the phases of a configuration."""
    parts = []
    for phase in config.optimise.phases:
        size = " x ".join(str(n) for n in phase.patch)
        plural = "es" if phase.batch > 1 else ""
        parts.append(f"{phase.batch} patch{plural} of {size} from iteration {phase.begin}")
    return f"warm-up of {config.optimise.rise} iterations; {', '.join(parts)}"
