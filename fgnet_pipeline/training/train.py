"""`fgnet train`: labelled Zarr volumes in, weights with their geometry out.

The loop itself is in `fgnet.training` and does not know Zarr. All results are written to `output.path`: the resolved
configuration, `last.pt` (the state to resume from), `log.jsonl` (one line per iteration), `scores.jsonl`
(validation) and at the end `weights.safetensors` (averaged weights).

Torch is imported when a training begins, so that a wrong configuration is refused at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fgnet import ModelError

from fgnet_pipeline.execution.processes.fork_server import server_with
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.model_errors import as_input_error
from fgnet_pipeline.training.reports import SCORES, Reports, check_board, exported_weights
from fgnet_pipeline.training.volumes import load_validation, load_volumes

if TYPE_CHECKING:
    from fgnet.training.loop import Step, Trainer

logger = logging.getLogger(__name__)


def train(config: TrainConfig, progress: Callable[[Step], None] | None = None) -> Path:
    """Train to the end; an earlier state in `output.path` is resumed.

    Args:
        config: of the training.
        progress: called after every iteration.

    Returns:
        The path of the exported weights.

    Raises:
        InputError: data or settings that do not fit, a state of another network, a loss that is not finite. Files
            written before stay as they are.
    """
    from fgnet.training.distributed import leave

    weights = Path(config.output.path) / "weights.safetensors"
    try:
        trainer = _run(config, progress)
        if trainer.crew.leads:
            _export(weights, trainer, config)
    except ModelError as error:
        raise as_input_error(error) from error
    finally:
        leave()
    if trainer.crew.leads:
        _write_summary(trainer, weights)
    return weights


def _run(config: TrainConfig, progress: Callable[[Step], None] | None) -> Trainer:
    """Check everything, then train to the end."""
    from fgnet.training.checkpoints import write_whole
    from fgnet.training.loop import resume, run, truncate

    folder = Path(config.output.path)
    trainer = make_trainer(config)
    held_out = load_validation(config)
    check_board(config)
    resume(trainer, folder)  # a state that cannot be resumed is refused before anything is written
    if trainer.crew.leads:
        write_whole(folder / "config.json", config.model_dump_json(indent=1).encode())
        truncate(folder / SCORES, trainer.iteration + 1)
    reports = Reports(config, trainer, held_out, progress)
    run(trainer, folder, config.output.every, reports.after_step)
    reports.close()
    return trainer


def make_trainer(config: TrainConfig) -> Trainer:
    """Data, network and optimiser, on the configured device with the configured threads.

    Raises:
        InputError: data that do not fit.
        ModelError: weights to begin from that do not fit.
    """
    import torch
    from fgnet.encoder import load_official
    from fgnet.training.checkpoints import begin_from
    from fgnet.training.distributed import join
    from fgnet.training.loop import Trainer

    torch.set_num_threads(config.machine.threads)
    crew, device = join(config.machine.torch_device())
    torch.backends.cudnn.benchmark = True  # shapes change with the phase alone
    loaders = config.machine.loading_processes()
    if loaders:
        server_with(["fgnet.training.batches"])
    trainer = Trainer(config.network(), config.optimise, load_volumes(config), device, crew, loaders=loaders)
    if config.model.weights is not None:
        begin_from(trainer.network, config.model.weights)
        trainer.reset_average()
    if config.model.encoder_checkpoint is not None:
        load_official(trainer.network.encoder, Path(config.model.encoder_checkpoint))
        trainer.reset_average()
    return trainer


def _export(path: Path, trainer: Trainer, config: TrainConfig) -> None:
    from fgnet.training.checkpoints import export

    weights, geometry = exported_weights(trainer, config), config.exported_geometry()
    export(path, trainer.network, weights, geometry, recommended=config.export.recommended)


def _write_summary(trainer: Trainer, weights: Path) -> None:
    """`summary.json` beside the weights: iterations, seconds and parameters."""
    from fgnet.training.checkpoints import write_whole

    parameters = sum(p.numel() for p in trainer.network.parameters())
    summary = {"iterations": trainer.iteration, "seconds": round(trainer.seconds, 1), "parameters": parameters}
    write_whole(weights.with_name("summary.json"), json.dumps(summary).encode())
    logger.info("weights: %s", weights)
