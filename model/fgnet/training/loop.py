"""The training loop: AdamW, warm-up and cosine (with restarts), averaged weights, resumable to the same loss curve."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fgnet.config import NetworkConfig
from fgnet.errors import ModelError
from fgnet.network import FGNet, channels_last
from fgnet.precision import computes_bfloat16
from fgnet.training.batches import Batch, stream
from fgnet.training.checkpoints import load_state, save_state
from fgnet.training.distributed import Crew
from fgnet.training.losses import descriptor_loss, total_loss
from fgnet.training.patch import LabelledVolume
from fgnet.training.settings import LoopSettings

logger = logging.getLogger(__name__)
LAST = "last.pt"


@dataclass(frozen=True)
class Step:
    """What one iteration did.

    Attributes:
        iteration: counted from 0.
        loss: mean over all processes.
        rate: learning rate.
        seconds: wall clock.
    """

    iteration: int
    loss: float
    rate: float
    seconds: float


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for AdamW: weights with decay; biases and norms (one-dimensional parameters) without."""
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


class Trainer:
    """A network in training, with its optimiser and the running average of its weights."""

    def __init__(
        self,
        config: NetworkConfig,
        settings: LoopSettings,
        volumes: Sequence[LabelledVolume],
        device: str = "cpu",
        crew: Crew | None = None,
        build: Callable[[NetworkConfig], FGNet] = FGNet,
        loaders: int = 0,
    ) -> None:
        """Build the network, with random weights of `settings.seed`.

        Args:
            config: architecture.
            settings: of the training.
            volumes: what patches are drawn from.
            device: as torch names it.
            crew: the processes of this training; None for this one alone.
            build: makes the network; another network than FGNet must give `Logits`, too.
            loaders: processes that draw patches ahead, see `stream`.
        """
        torch.manual_seed(settings.seed)
        self.settings, self.volumes, self.device = settings, volumes, torch.device(device)
        self.mixed = settings.mixed and computes_bfloat16(self.device)
        if settings.mixed and not self.mixed:
            logger.info("training in float32: this %s does not compute in bfloat16", self.device.type)
        self.crew = crew or Crew()
        self.build, self.loaders = build, loaders
        self._batches: Iterator[Batch] | None = None
        self.network = channels_last(build(config)).to(self.device).train()
        if settings.freeze_encoder:
            self.network.encoder.requires_grad_(False)
        self.parallel: nn.Module = self.network
        if self.crew.size > 1:
            self.parallel = DistributedDataParallel(self.network, find_unused_parameters=True)
        groups = parameter_groups(self.network, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.999))
        self.reset_average()
        self.ends: dict[int, dict[str, Tensor]] = {}
        self.iteration, self.seconds = 0, 0.0

    def reset_average(self) -> None:
        """Begin the running average at the present weights."""
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def result(self) -> dict[str, Tensor]:
        """The weights to export.

        The running average; at the end of a training with `settings.ends` > 1 the mean of the averages at the ends
        of the last cycles.
        """
        if not self.settings.kept_ends or self.iteration < self.settings.iterations:
            return self.average
        ends = [self.ends[iteration] for iteration in self.settings.kept_ends]
        return {name: torch.stack([end[name] for end in ends]).mean(0) for name in self.average}

    def averaged_network(self) -> FGNet:
        """A copy of the network with the weights of `result`, in evaluation mode."""
        network = self.build(self.network.config)
        network.load_state_dict(self.result())
        return channels_last(network).to(self.device).eval()

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch, one number with its graph. Affinities are derived from the labels on the device."""
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits = self.parallel(batch.raw)
        (target, weight), others = batch.targets(self.network.config)
        loss = total_loss(logits, target, weight, others, self.settings.auxiliary_weight)
        if logits.descriptors is None:
            return loss
        shapes = batch.descriptors(self.settings.lsd_sigma)
        return loss + self.settings.lsd_weight * descriptor_loss(logits.descriptors, *shapes)

    def batch(self) -> Batch:
        """The next batch of this training."""
        if self._batches is None:
            pinned = self.device.type == "cuda"
            self._batches = stream(self.volumes, self.settings, self.iteration, self.crew.rank, self.loaders, pinned)
        return next(self._batches)

    def step(self) -> Step:
        """Do one iteration.

        Raises:
            ModelError: the loss is not finite; no weight was changed.
        """
        start = time.perf_counter()
        rate = self.settings.rate(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        value = self._accumulate()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.optimizer.step()
        self._average()
        self.iteration += 1
        if self.iteration in self.settings.kept_ends:
            self.ends[self.iteration] = {k: v.clone() for k, v in self.average.items()}
        seconds = time.perf_counter() - start
        self.seconds += seconds
        return Step(self.iteration - 1, value, rate, seconds)

    def _accumulate(self) -> float:
        """Add up the gradients of the batches of one iteration; returns their mean loss."""
        value = 0.0
        for _ in range(self.settings.accumulate):
            loss = self.loss(self.batch()) / self.settings.accumulate
            value += self.crew.mean(float(loss.detach()))
            if not math.isfinite(value):
                remedy = "lower optimise.learning_rate and run again: it resumes from the last checkpoint"
                raise ModelError("loss", value, f"a finite number at iteration {self.iteration}", remedy)
            loss.backward()  # type: ignore[no-untyped-call]
        return value

    @torch.no_grad()
    def _average(self) -> None:
        """Update the running average; it keeps less of the old weights during the first iterations."""
        decay = min(self.settings.average, (1 + self.iteration) / (10 + self.iteration))
        now = self.network.state_dict()
        get_ema_multi_avg_fn(decay)([self.average[name] for name in now], list(now.values()), 0)

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs, for `save_state`."""
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average,
            "ends": self.ends,
            "optimizer": self.optimizer.state_dict(),
            "architecture": self.network.config.to_json(),
            "seed": self.settings.seed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ModelError: it belongs to another architecture or seed, or lacks the average at an end of a cycle.
        """
        for field_name, ours in (("architecture", self.network.config.to_json()), ("seed", self.settings.seed)):
            theirs = state[field_name]
            if field_name == "architecture":  # an older state may lack fields that have a default
                theirs = NetworkConfig.from_json(theirs).to_json()
            if theirs != ours:
                remedy = "take another output path, or delete the old state"
                raise ModelError(field_name, ours, f"the one of the state to resume, {theirs}", remedy)
        self._require_ends(state)
        self.network.load_state_dict(state["network"])
        self.average = {k: v.to(self.device) for k, v in state["average"].items()}
        for iteration, end in state.get("ends", {}).items():
            self.ends[iteration] = {k: v.to(self.device) for k, v in end.items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self._batches = None

    def _require_ends(self, state: dict[str, Any]) -> None:
        past = {end for end in self.settings.kept_ends if end <= state["iteration"]}
        if missing := sorted(past - set(state.get("ends", {}))):
            expected = f"ends that the state to resume kept; it has none of iterations {missing}"
            raise ModelError("optimise.ends", self.settings.ends, expected, "lower it, or take another output path")


def resume(trainer: Trainer, folder: Path) -> None:
    """Go on from `last.pt` in `folder`, if there is one; writes nothing.

    Raises:
        ModelError: a torn state, or one of another network or seed.
    """
    last = folder / LAST
    if last.exists():
        trainer.restore(load_state(last))
        logger.info("resuming at iteration %d", trainer.iteration)


def run(trainer: Trainer, folder: Path, checkpoint_every: int, progress: Callable[[Step], None] | None = None) -> None:
    """Train to the end; an earlier state in `folder` is resumed.

    Args:
        trainer: before its first iteration, or already resumed.
        folder: where `last.pt` and `log.jsonl` (one line per iteration) are written, by the first process.
        checkpoint_every: iterations between two states.
        progress: called after every iteration, in the first process.

    Raises:
        ModelError: a state that cannot be resumed, or a loss that is not finite.
    """
    last, log = folder / LAST, folder / "log.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    if trainer.iteration == 0:
        resume(trainer, folder)
    trainer.crew.wait()
    if not trainer.crew.leads:
        while trainer.iteration < trainer.settings.iterations:
            trainer.step()
        return
    truncate(log, trainer.iteration)
    with open(log, "a") as file:
        while trainer.iteration < trainer.settings.iterations:
            step = trainer.step()
            file.write(json.dumps(asdict(step)) + "\n")
            file.flush()
            if progress is not None:
                progress(step)
            if trainer.iteration % checkpoint_every == 0 or trainer.iteration == trainer.settings.iterations:
                save_state(last, trainer.state())


def truncate(log: Path, iteration: int) -> None:
    """Drop the lines from `iteration` on, whose iterations will be done again, and a torn last line."""
    if not log.exists():
        return
    kept = []
    for line in log.read_text().splitlines():
        try:
            if json.loads(line)["iteration"] < iteration:
                kept.append(line)
        except (json.JSONDecodeError, KeyError):
            break
    log.write_text("".join(line + "\n" for line in kept))
