"""What a finished training is worth, in a few lines, and how its weights are used.

A loss does not tell whether a network joins everything. So the weights segment a box, and what came out is said: its
score, the number of segments, how far the threshold may be moved, and the command that uses the weights.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_pipeline.core.counted import counted
from fgnet_pipeline.core.toml_file import toml_value
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.validation import PLATEAU, Score, plateau
from fgnet_pipeline.training.volumes import LabelledBox

#: A threshold belongs to the plateau if its score is at most this factor of the best one, plus a constant, bits.
AS_GOOD = (1.1, 0.02)
#: A plateau is wide if it has `PLATEAU` steps on either side, or if it covers more than this.
WIDE = 0.14
#: One segment takes over if it holds this share of the voxels, and at least twice the share of the largest object.
TAKEN_OVER = 0.8
#: Weights are no use if their score is not below this share of the score of one single segment.
USELESS = 0.9
RUN_FILE = "run.toml"


@dataclass(frozen=True)
class Verdict:
    """Scores of the final weights.

    Attributes:
        where: what was scored, as people say it.
        threshold: of the agglomeration, in the middle of the plateau.
        voi_split: at that threshold, mean over the boxes, bits.
        voi_merge: the same.
        segments: at that threshold, of all boxes together.
        objects: that are labelled there.
        low: lowest threshold of the plateau.
        high: highest one.
        is_wide: whether neighbouring thresholds are as good.
        warnings: what is wrong with the result.
    """

    where: str
    threshold: float
    voi_split: float
    voi_merge: float
    segments: int
    objects: int
    low: float
    high: float
    is_wide: bool
    warnings: tuple[str, ...]

    @property
    def voi_sum(self) -> float:
        """Variation of information, bits."""
        return self.voi_split + self.voi_merge

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "warnings": list(self.warnings), "voi_sum": self.voi_sum}

    def lines(self) -> list[str]:
        """The verdict, at most 80 columns per line except for warnings."""
        plateau_of = f"thresholds {self.low:g} to {self.high:g} are as good"
        return [
            f"{self.where}: VOI {self.voi_sum:.3f} bits at threshold {self.threshold:g} "
            f"(split {self.voi_split:.3f}, merge {self.voi_merge:.3f})",
            f"{counted(self.segments, 'segment')} for {counted(self.objects, 'labelled object')}; {plateau_of} "
            f"({'a wide plateau' if self.is_wide else 'a narrow plateau'})",
            *(f"warning: {warning}" for warning in self.warnings),
        ]


def judge(curves: Sequence[Sequence[Score]], boxes: Sequence[LabelledBox], where: str) -> Verdict:
    """The verdict on scores over thresholds.

    Args:
        curves: one sequence of scores per box, all over the same thresholds.
        boxes: that were scored.
        where: what they are, as people say it.
    """
    threshold, _ = plateau(curves)
    sums = np.mean([[s.voi_sum for s in curve] for curve in curves], axis=0)
    at = next(i for i, score in enumerate(curves[0]) if score.threshold == threshold)
    low = high = at
    limit = AS_GOOD[0] * sums[at] + AS_GOOD[1]
    while low > 0 and sums[low - 1] <= limit:
        low -= 1
    while high < len(sums) - 1 and sums[high + 1] <= limit:
        high += 1
    chosen = [curve[at] for curve in curves]
    split, merge = (float(np.mean([getattr(s, name) for s in chosen])) for name in ("voi_split", "voi_merge"))
    thresholds = [score.threshold for score in curves[0]]
    is_wide = high - low >= 2 * PLATEAU or thresholds[high] - thresholds[low] > WIDE
    return Verdict(
        where,
        threshold,
        split,
        merge,
        sum(s.segments for s in chosen),
        sum(_objects(box) for box in boxes),
        thresholds[low],
        thresholds[high],
        is_wide,
        tuple(_warnings(chosen, boxes, is_wide)),
    )


def _objects(box: LabelledBox) -> int:
    ids = np.unique(box.labels)
    return int((ids > 0).sum())


def _warnings(scores: Sequence[Score], boxes: Sequence[LabelledBox], is_wide: bool) -> list[str]:
    found = []
    for score, box in zip(scores, boxes, strict=True):
        sizes = np.bincount(box.labels.ravel())[1:]
        shares = sizes[sizes > 0] / sizes.sum()
        alone = float(-(shares * np.log2(shares)).sum())  # VOI of one segment for everything
        name = box.field.removeprefix("data.")
        if score.segments <= 1 and len(shares) > 1:
            what = "ONE SEGMENT" if score.segments else "NO SEGMENT"
            found.append(f"the weights give {what} in {name}: they are of no use. Look at the data with --preview")
        elif score.largest >= TAKEN_OVER and score.largest >= 2 * shares.max():
            found.append(f"one segment takes {score.largest:.0%} of {name}: the weights join almost everything")
        elif len(shares) > 1 and score.voi_sum > USELESS * alone:
            found.append(f"{name} scores hardly better than one single segment ({alone:.3f} bits): train longer")
    if not is_wide:
        found.append("the score changes fast with the threshold: on other tissue this threshold may be wrong")
    return found


def crop(box: LabelledBox, shape: Sequence[int]) -> LabelledBox:
    """The middle of a box, no larger than `shape`."""
    begins = [(n - min(n, s)) // 2 for n, s in zip(box.raw.shape, shape, strict=True)]
    part = tuple(slice(b, b + s) for b, s in zip(begins, shape, strict=True))
    return replace(box, raw=box.raw[part], labels=box.labels[part])


def write_run_file(config: TrainConfig, verdict: Verdict | None, box: LabelledBox, weights: Path) -> Path:
    """`run.toml` beside the weights: a configuration that segments the first training volume with them.

    Every training writes it anew, because the threshold belongs to the weights.
    """
    from fgnet.training.checkpoints import write_whole

    path = weights.with_name(RUN_FILE)
    method = "volume" if box.isotropic else "sections"
    wanted: dict[str, dict[str, Any]] = {"fragments": {"method": method, "min_seed_distance": 3}, "agglomerate": {}}
    if verdict is not None:
        wanted["agglomerate"] = {"threshold": verdict.threshold}
    tables: dict[str, dict[str, Any]] = {
        "volume": {"path": box.entry.raw},
        "output": {"path": str(weights.with_name("segmentation.zarr"))},
        "model": {"checkpoint": str(weights)},
    }
    for name, values in wanted.items():
        tables[name] = {**values, **config.export.recommended.get(name, {})}
    lines = ["# Written by `fgnet train`, and anew by a later training: copy it before you change it."]
    for name, values in tables.items():
        lines += [f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in values.items())] if values else []
    write_whole(path, ("\n".join(lines) + "\n").encode())
    return path


def how_to_use(weights: Path, run_file: Path) -> list[str]:
    """The lines that name the weights and the command that uses them."""
    return [
        f"weights: {weights}",
        f"use them: fgnet run {shlex.quote(str(run_file))} --set model.checkpoint={shlex.quote(str(weights))}",
    ]
