"""Reports of a training that runs: progress, TensorBoard, scores on held-out boxes."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.volumes import LabelledBox

if TYPE_CHECKING:
    from fgnet.training.loop import Step, Trainer

    from fgnet_pipeline.training.tensorboard import Board
    from fgnet_pipeline.training.validation import Score

logger = logging.getLogger(__name__)
SCORES = "scores.jsonl"


class Reports:
    """Called after every iteration of a training."""

    def __init__(
        self,
        config: TrainConfig,
        trainer: Trainer,
        held_out: Sequence[LabelledBox],
        progress: Callable[[Step], None] | None = None,
    ) -> None:
        """Open TensorBoard's event files, if they are wanted and this is the first process.

        Args:
            config: of the training.
            trainer: at the iteration that the training begins with.
            held_out: what the averaged weights are scored on.
            progress: called first after every iteration.
        """
        self.config, self.trainer, self.held_out, self.progress = config, trainer, held_out, progress
        self.folder = Path(config.output.path)
        self.board = self._open_board()

    def _open_board(self) -> Board | None:
        if not (self.config.output.tensorboard and self.trainer.crew.leads):
            return None
        from fgnet_pipeline.training.tensorboard import Board

        return Board(self.folder / "tensorboard", self.trainer.iteration)

    def after_step(self, step: Step) -> None:
        """Report one iteration, and validate if the configuration says so."""
        iteration, output = self.trainer.iteration, self.config.output
        if self.progress is not None:
            self.progress(step)
        if self.board is not None:
            self.board.step(step)
            if iteration % output.every == 0:
                self.board.picture(self.trainer)
        if self.held_out and output.validates_after(iteration):
            self.record_scores()

    def record_scores(self) -> None:
        """Append one line to `scores.jsonl`: scores of the averaged weights per held-out box, and their plateau."""
        from fgnet_pipeline.training.validation import plateau

        curves = self.scores_of(self.held_out)
        threshold, voi_sum = plateau(curves)
        logger.info("iteration %d: VOI sum %.3f at threshold %.2f", self.trainer.iteration, voi_sum, threshold)
        if self.board is not None:
            self.board.scores(self.trainer.iteration, curves, threshold)
        line = {
            "iteration": self.trainer.iteration,
            "threshold": threshold,
            "voi_sum": voi_sum,
            "curves": [[s.to_dict() for s in curve] for curve in curves],
        }
        with open(self.folder / SCORES, "a") as file:
            file.write(json.dumps(line) + "\n")

    def scores_of(self, boxes: Sequence[LabelledBox]) -> list[list[Score]]:
        """Scores of the averaged weights over thresholds, one list per box."""
        from fgnet.predictor import NetworkPredictor

        from fgnet_pipeline.training.validation import score_box

        trainer, geometry = self.trainer, self.config.exported_geometry()
        network = trainer.averaged_network()
        network.load_state_dict(exported_weights(trainer, self.config))
        threads = self.config.machine.threads
        predictor = NetworkPredictor(network, geometry, "exact", str(trainer.device), threads)
        return [score_box(box, geometry, predictor) for box in boxes]

    def final_scores(self) -> list[list[Score]]:
        """The scores of the held-out boxes at the end of the training; computed unless `scores.jsonl` has them."""
        from fgnet_pipeline.training.validation import Score

        last = self._last_line()
        if last is None or last["iteration"] != self.trainer.iteration:
            self.record_scores()
            last = self._last_line()
            assert last is not None
        return [[Score.from_dict(score) for score in curve] for curve in last["curves"]]

    def _last_line(self) -> dict[str, Any] | None:
        path = self.folder / SCORES
        lines = path.read_text().splitlines() if path.exists() else []
        return json.loads(lines[-1]) if lines else None

    def close(self) -> None:
        """Finish the event files."""
        if self.board is not None:
            self.board.close()


def check_board(config: TrainConfig) -> None:
    """Raise InputError if TensorBoard is wanted and not installed."""
    if config.output.tensorboard and importlib.util.find_spec("tensorboard") is None:
        remedy = "pip install 'fgnet-pipeline[tensorboard]', or leave the option out"
        raise InputError("output.tensorboard", True, "the package tensorboard", remedy)


def exported_weights(trainer: Trainer, config: TrainConfig) -> dict[str, Any]:
    """The averaged weights, sharpened as configured; at the end of a training with `ends` the mean of those."""
    from fgnet.training.checkpoints import sharpened

    return sharpened(trainer.result(), config.export.sharpness, config.export.shift)
