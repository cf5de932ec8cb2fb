"""Every number of a training, as frozen data with its default. Importing this module does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from fgnet.geometry import Triple
from fgnet.training.augmentation import check_ranges, table_fields
from fgnet.training.tables import Table

#: Iterations.
LONGEST_WARM_UP = 200

_WARP: Any = table_fields("warp")
_INTENSITY: Any = table_fields("intensity")
_DEFECTS: Any = table_fields("defects")


@dataclass(frozen=True)
class WarpSettings(_WARP):
    """`[optimise.augment.warp]`: the settings of the augmentations that name this table."""


@dataclass(frozen=True)
class IntensitySettings(_INTENSITY):
    """`[optimise.augment.intensity]`: the settings of the augmentations that name this table."""


@dataclass(frozen=True)
class DefectSettings(_DEFECTS):
    """`[optimise.augment.defects]`: the settings of the augmentations that name this table."""


@dataclass(frozen=True)
class AugmentSettings:
    """What happens to a patch.

    Attributes:
        enabled: if False, patches are cut and nothing else happens to them.
        candidates: random places per patch, of which the one with most labels is taken, see
            `fgnet.training.sampling.place`.
        warp: turn, zoom and bend.
        intensity: grey values of the whole patch.
        defects: what goes wrong in microscopes.
    """

    enabled: bool = True
    candidates: int = 2
    warp: WarpSettings = field(default_factory=WarpSettings)
    intensity: IntensitySettings = field(default_factory=IntensitySettings)
    defects: DefectSettings = field(default_factory=DefectSettings)

    @property
    def tables(self) -> dict[Table, Any]:
        """Name of a table -> its values."""
        return {"warp": self.warp, "intensity": self.intensity, "defects": self.defects}

    def check(self) -> None:
        """See that every setting of an augmentation lies in its range; ModelError names the first one that does not."""
        check_ranges(self.tables)


@dataclass(frozen=True)
class Phase:
    """A part of a training.

    Attributes:
        begin: iteration from which it holds.
        patch: zyx of a patch in voxels.
        batch: patches per batch and process.
    """

    begin: int
    patch: Triple
    batch: int


@dataclass(frozen=True)
class LoopSettings:
    """How long a training lasts, and how it proceeds.

    Attributes:
        cycles: iterations at which the learning rate starts anew, rising; the last one is the end of the training.
        phases: size and number of patches, by the iteration from which they hold, rising; the first one begins at 0.
            Empty in a configuration: whoever reads it derives them from the data and the device.
        learning_rate: AdamW's, at the peak of the first cycle.
        final_rate: the learning rate at the end of a cycle, as a share of the cycle's peak.
        restart_rate: the peak of every later cycle, as a share of the first one.
        warm_up: iterations over which the learning rate rises linearly at the begin of a cycle; None: a tenth of all
            iterations, `LONGEST_WARM_UP` at most.
        weight_decay: AdamW's, of all parameters with more than one axis.
        clip: greatest norm of the gradient of all parameters together.
        average: share of the old value that the running average of the weights keeps per iteration; lower at first.
        ends: the result is the mean of the running averages at the ends of so many last cycles; 1 = the last average.
        auxiliary_weight: factor of the loss of the auxiliary affinities.
        lsd_weight: factor of the loss of local shape descriptors (`fgnet.training.descriptors`); 0: they are not
            predicted.
        lsd_sigma: standard deviation of their window in voxels, zyx.
        accumulate: batches whose gradients are added up for one iteration.
        mixed: compute in bfloat16 if torch finds it safe and the device has instructions for it, else in float32.
        seed: of the first weights and of all patches.
        freeze_encoder: leave the weights of the section encoder as they are.
        augment: what happens to a patch.
    """

    cycles: tuple[int, ...]
    phases: tuple[Phase, ...] = ()
    learning_rate: float = 1e-3
    final_rate: float = 0.01
    restart_rate: float = 0.7
    warm_up: int | None = None
    weight_decay: float = 1e-4
    clip: float = 1.0
    average: float = 0.998
    ends: int = 1
    auxiliary_weight: float = 0.5
    lsd_weight: float = 0.0
    lsd_sigma: tuple[float, float, float] = (8.0, 8.0, 8.0)
    accumulate: int = 1
    mixed: bool = True
    seed: int = 1
    freeze_encoder: bool = False
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    @property
    def iterations(self) -> int:
        """The length of the whole training."""
        return self.cycles[-1]

    @property
    def rise(self) -> int:
        """`warm_up`, or its default."""
        return self.warm_up if self.warm_up is not None else min(LONGEST_WARM_UP, self.iterations // 10)

    @property
    def kept_ends(self) -> tuple[int, ...]:
        """The ends of cycles whose averages make the result; none if the result is the running average."""
        return self.cycles[-self.ends :] if self.ends > 1 else ()

    def phase(self, iteration: int) -> Phase:
        """The phase that holds in an iteration."""
        return [p for p in self.phases if p.begin <= iteration][-1]

    def rate(self, iteration: int) -> float:
        """The learning rate: per cycle a linear warm-up, times half a cosine from the peak down to `final_rate`.

        The cosine with restarts is that of Loshchilov and Hutter 2017 (arXiv 1608.03983).
        """
        begin = max((c for c in (0, *self.cycles[:-1]) if c <= iteration), default=0)
        end = min(c for c in self.cycles if c > iteration)
        peak = self.learning_rate * (self.restart_rate if begin else 1.0)
        ramp = min(1.0, (iteration - begin + 1) / max(1, self.rise))
        fall = 0.5 + 0.5 * math.cos(math.pi * (iteration - begin) / (end - begin))
        return peak * ramp * (self.final_rate + (1 - self.final_rate) * fall)
