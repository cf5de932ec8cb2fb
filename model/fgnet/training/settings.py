"""Every number of a training, as frozen data with its default. Free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fgnet.geometry import Triple


@dataclass(frozen=True)
class WarpSettings:
    """Probabilities and ranges. rotate: probability of a turn by any angle. zoom: largest factor. elastic: voxels."""

    probability: float = 0.6
    rotate: float = 0.6
    zoom: float = 1.3
    elastic: float = 3.0
    elastic_spacing: int = 24


@dataclass(frozen=True)
class IntensitySettings:
    """Probabilities of each change, and how strong it may be, in deviations of the normalised raw."""

    contrast: float = 0.8
    contrast_range: float = 1.6
    brightness: float = 0.4
    curve: float = 0.5
    field: float = 0.3
    field_strength: float = 0.4
    noise: float = 0.5
    noise_strength: float = 0.4
    blur: float = 0.25
    blur_sigma: float = 1.2
    sharpen: float = 0.15


@dataclass(frozen=True)
class DefectSettings:
    """Probability of each defect in a patch."""

    section_contrast: float = 0.2
    missing_section: float = 0.08
    missing_part: float = 0.08
    misaligned: float = 0.05
    motion_blur: float = 0.05
    cut_noise: float = 0.05
    cut_blur: float = 0.05


@dataclass(frozen=True)
class AugmentSettings:
    """What happens to a patch. `enabled = false` draws plain crops. candidates: see `fgnet.training.sampling.place`."""

    enabled: bool = True
    candidates: int = 2
    warp: WarpSettings = field(default_factory=WarpSettings)
    intensity: IntensitySettings = field(default_factory=IntensitySettings)
    defects: DefectSettings = field(default_factory=DefectSettings)


@dataclass(frozen=True)
class Phase:
    """From iteration `begin` on: patches of `patch` voxels (zyx), `batch` of them an iteration."""

    begin: int
    patch: Triple
    batch: int


@dataclass(frozen=True)
class LoopSettings:
    """How long and how.

    cycles: iterations at which the learning rate starts anew; the last one is the end of training. ends: the result is
    the mean of the averages at the ends of so many last cycles. mixed: bfloat16 where torch finds it safe and the
    device has instructions for it, float32 elsewhere.
    """

    cycles: tuple[int, ...]
    phases: tuple[Phase, ...]
    learning_rate: float = 1e-3
    final_rate: float = 0.01
    restart_rate: float = 0.7
    warm_up: int = 200
    weight_decay: float = 1e-4
    clip: float = 1.0
    average: float = 0.998
    ends: int = 1
    auxiliary_weight: float = 0.5
    accumulate: int = 1
    mixed: bool = True
    seed: int = 1
    freeze_encoder: bool = False
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    @property
    def iterations(self) -> int:
        return self.cycles[-1]

    @property
    def kept_ends(self) -> tuple[int, ...]:
        """The ends of cycles that the result is the mean of; none where it is the running average."""
        return self.cycles[-self.ends :] if self.ends > 1 else ()

    def phase(self, iteration: int) -> Phase:
        return [p for p in self.phases if p.begin <= iteration][-1]

    def rate(self, iteration: int) -> float:
        """The learning rate: in every cycle a linear warm-up and a cosine down to `final_rate` of the peak."""
        begin = max((c for c in (0, *self.cycles[:-1]) if c <= iteration), default=0)
        end = min(c for c in self.cycles if c > iteration)
        peak = self.learning_rate * (self.restart_rate if begin else 1.0)
        ramp = min(1.0, (iteration - begin + 1) / max(1, self.warm_up))
        fall = 0.5 + 0.5 * math.cos(math.pi * (iteration - begin) / (end - begin))
        return peak * ramp * (self.final_rate + (1 - self.final_rate) * fall)
