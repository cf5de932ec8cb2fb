"""The tables of `[optimise.augment]` that hold the settings of augmentations."""

from __future__ import annotations

from typing import Literal

#: warp: where raw and labels are read. defects: what goes wrong in microscopes. intensity: grey values.
Table = Literal["warp", "defects", "intensity"]
