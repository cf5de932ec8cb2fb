"""A training seen in TensorBoard: scalars of every iteration and validation, and pictures of what is predicted.

TensorBoard is optional: `pip install 'fgnet-pipeline[tensorboard]'`, then `tensorboard --logdir OUTPUT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from fgnet.training.chance import Chance
from fgnet.training.sampling import draw
from numpy.typing import NDArray

from fgnet_pipeline.training.preview import panels

if TYPE_CHECKING:
    from fgnet.training.loop import Step, Trainer

    from fgnet_pipeline.training.validation import Score


class Board:
    """The event files of one training."""

    def __init__(self, folder: Path, first_iteration: int) -> None:
        """Open event files in `folder`.

        Events from `first_iteration` on belong to an interrupted run; TensorBoard is told to drop them.
        """
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter
        self.writer = writer(str(folder), purge_step=first_iteration)

    def step(self, step: Step) -> None:
        """Write loss, learning rate and seconds of one iteration."""
        for name, value in (("loss", step.loss), ("rate", step.rate), ("seconds", step.seconds)):
            self.writer.add_scalar(f"train/{name}", value, step.iteration)

    def scores(self, iteration: int, curves: Sequence[Sequence[Score]], threshold: float) -> None:
        """Write VOI and adapted Rand error of every held-out box at the plateau's threshold."""
        for i, curve in enumerate(curves):
            score = next(s for s in curve if s.threshold == threshold)
            for name in ("voi_split", "voi_merge", "voi_sum", "arand"):
                self.writer.add_scalar(f"held_out_{i}/{name}", getattr(score, name), iteration)

    def picture(self, trainer: Trainer) -> None:
        """Write the panels of the preview, and beside them the affinities that the averaged weights predict."""
        settings = trainer.settings
        shape = settings.phase(max(0, trainer.iteration - 1)).patch
        patch = draw(trainer.volumes, shape, settings.augment, Chance(settings.seed, trainer.iteration, 0, 0))
        network = trainer.averaged_network()
        with torch.inference_mode():
            logits = network(patch.raw[None, None].to(trainer.device)).refined
        middle = patch.raw.shape[0] // 2
        predicted: NDArray[np.float32] = logits[0, :3, middle].sigmoid().cpu().numpy().transpose(1, 2, 0)
        picture = np.concatenate([*panels(patch, network.config), (predicted * 255).astype(np.uint8)], axis=1)
        self.writer.add_image("patch", picture, trainer.iteration, dataformats="HWC")

    def close(self) -> None:
        """Write what is still in memory, and end."""
        self.writer.close()
