"""`fgnet train`: labelled Zarr volumes in, weights with their geometry out.

The loop itself is in `fgnet.training` and does not know Zarr. All results are written to `output.path`: the resolved
configuration, `last.pt` (the state to resume from), `log.jsonl` (one line per iteration), `scores.jsonl`
(validation) and at the end `weights.safetensors` (averaged weights), `summary.json` and `run.toml`.

Torch is imported when a training begins, so that a wrong configuration is refused at once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet import ModelError

from fgnet_pipeline.execution.processes.fork_server import server_with
from fgnet_pipeline.training.config import TrainConfig
from fgnet_pipeline.training.data_checks import check_data
from fgnet_pipeline.training.data_facts import Look
from fgnet_pipeline.training.defaults import told, with_defaults
from fgnet_pipeline.training.model_errors import as_input_error
from fgnet_pipeline.training.reports import SCORES, Reports, check_board, exported_weights
from fgnet_pipeline.training.verdict import Verdict, crop, how_to_use, judge, write_run_file
from fgnet_pipeline.training.volumes import LabelledBox, as_volumes, load_training, load_validation

if TYPE_CHECKING:
    from fgnet.training.loop import Step, Trainer

logger = logging.getLogger(__name__)


Report = Callable[[str], None]


def _silent(sentence: str) -> None:
    del sentence


def train(
    config: TrainConfig,
    progress: Callable[[Step], None] | None = None,
    report: Report = _silent,
    accepted: bool = False,
) -> Path:
    """Train to the end; an earlier state in `output.path` is resumed.

    Args:
        config: of the training.
        progress: called after every iteration.
        report: takes sentences for the user: what was found in the data, and the verdict at the end.
        accepted: train on data that look wrong, see `check_data`.

    Returns:
        The path of the exported weights.

    Raises:
        InputError: data or settings that do not fit, a state of another network, a loss that is not finite. Files
            written before stay as they are.
    """
    from fgnet.training.distributed import leave

    weights = Path(config.output.path) / "weights.safetensors"
    try:
        return _run(config, progress, report, accepted, weights)
    except ModelError as error:
        raise as_input_error(error) from error
    finally:
        leave()


def _run(
    config: TrainConfig, progress: Callable[[Step], None] | None, report: Report, accepted: bool, weights: Path
) -> Path:
    """Check everything, train to the end, write the results."""
    from fgnet.training.loop import run

    data = _checked_data(config, report, accepted)
    config = with_defaults(config, data.training)
    trainer = make_trainer(config, data.training)
    _begin(config, trainer, report)
    reports = Reports(config, trainer, data.held_out, progress)
    run(trainer, Path(config.output.path), config.output.every, reports.after_step)
    if trainer.crew.leads:
        _export(weights, trainer, config, data)
        verdict = _verdict(reports, data)
        _write_summary(trainer, weights, verdict)
        run_file = write_run_file(config, verdict, data.training[0], weights)
        for line in [*verdict.lines(), *how_to_use(weights, run_file)]:
            report(line)
    reports.close()
    return weights


@dataclass(frozen=True)
class _Data:
    """What is learned from, what is scored, and what the former looks like."""

    training: list[LabelledBox]
    held_out: list[LabelledBox]
    look: Look


def _checked_data(config: TrainConfig, report: Report, accepted: bool) -> _Data:
    """All data in memory; in a training of several processes only the first one reports."""
    from fgnet.weights import read_geometry, read_trained_on

    report = report if os.environ.get("RANK", "0") == "0" else _silent
    training, held_out = load_training(config), load_validation(config)
    begins_with = None
    if config.model.weights is not None:
        stated = read_trained_on(config.model.weights)
        if stated is not None and stated.get("normalisation") == config.data.normalisation:
            begins_with = Look.from_dict(stated)
        theirs = read_geometry(config.model.weights).normalisation
        if theirs != config.data.normalisation:
            report(f"warning: model.weights were trained on grey values of data.normalisation = {theirs!r}")
    facts = check_data(config, training, held_out, begins_with, accepted, report)
    return _Data(training, held_out, facts[0].look)


def _begin(config: TrainConfig, trainer: Trainer, report: Report) -> None:
    """Resume, if there is something to resume; after that the first files are written."""
    from fgnet.training.checkpoints import write_whole
    from fgnet.training.loop import resume, truncate

    folder = Path(config.output.path)
    check_board(config)
    resume(trainer, folder)  # a state that cannot be resumed is refused before anything is written
    if trainer.crew.leads:
        write_whole(folder / "config.json", config.model_dump_json(indent=1).encode())
        truncate(folder / SCORES, trainer.iteration + 1)
        report(told(config))


def _verdict(reports: Reports, data: _Data) -> Verdict:
    """The verdict on the held-out boxes, or else on the first training volume, one tile of it."""
    if data.held_out:
        return judge(reports.final_scores(), data.held_out, "held-out data")
    geometry = reports.config.geometry
    inner = [n - 2 * m for n, m in zip(geometry.tile, geometry.margin, strict=True)]
    boxes = [crop(data.training[0], inner)]
    return judge(reports.scores_of(boxes), boxes, "training data, since data.validation is empty")


def make_trainer(config: TrainConfig, boxes: Sequence[LabelledBox]) -> Trainer:
    """Network and optimiser, on the configured device with the configured threads.

    Args:
        config: of the training, with phases.
        boxes: what is learned from.

    Raises:
        InputError: an encoder's checkpoint that does not fit.
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
    trainer = Trainer(config.network(), config.optimise, as_volumes(boxes), device, crew, loaders=loaders)
    if config.model.weights is not None:
        begin_from(trainer.network, config.model.weights)
        trainer.reset_average()
    if config.model.encoder_checkpoint is not None:
        load_official(trainer.network.encoder, Path(config.model.encoder_checkpoint))
        trainer.reset_average()
    return trainer


def _export(path: Path, trainer: Trainer, config: TrainConfig, data: _Data) -> None:
    from fgnet.training.checkpoints import export

    weights, geometry = exported_weights(trainer, config), config.exported_geometry()
    stated = {"normalisation": config.data.normalisation, **data.look.to_dict()}
    recommended = config.export.recommended
    export(path, trainer.network, weights, geometry, recommended=recommended, trained_on=stated)


def _write_summary(trainer: Trainer, weights: Path, verdict: Verdict) -> None:
    """`summary.json` beside the weights: iterations, seconds, parameters, and the verdict."""
    from fgnet.training.checkpoints import write_whole

    parameters = sum(p.numel() for p in trainer.network.parameters())
    summary: dict[str, Any] = {
        "iterations": trainer.iteration,
        "seconds": round(trainer.seconds, 1),
        "parameters": parameters,
    }
    summary["verdict"] = verdict.to_dict()
    write_whole(weights.with_name("summary.json"), json.dumps(summary).encode())
    logger.info("weights: %s", weights)
