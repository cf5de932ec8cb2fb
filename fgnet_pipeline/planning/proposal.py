"""A configuration for a volume: what `fgnet init` writes.

1. The volume is looked at: metadata, and voxels at few fixed positions (`volume_facts`).
2. A shipped model is looked for that was trained on such voxels (`stages.model_choice`).
3. Blocks and workers follow from volume, model and machine (`block_choice`).
4. Every key gets a value and the reason for it (`proposal_keys`), as TOML text (`proposal_text`).
5. The text is read back and planned, so that nothing is written that `fgnet plan` refuses.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.config_file import apply_override
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.planning.block_choice import BlockChoice, choose_blocks
from fgnet_pipeline.planning.document import Estimate
from fgnet_pipeline.planning.estimate import estimate
from fgnet_pipeline.planning.machine import Machine, this_machine
from fgnet_pipeline.planning.proposal_keys import Situation, head_of, lines_of, misfit
from fgnet_pipeline.planning.proposal_text import toml_text, with_given
from fgnet_pipeline.planning.volume_facts import VolumeFacts, volume_facts
from fgnet_pipeline.stages.configuration import validate
from fgnet_pipeline.stages.model_choice import ModelFacts, model_facts, shipped_models


@dataclass(frozen=True)
class Proposal:
    """A configuration that fits a volume; nothing is written yet.

    Attributes:
        text: of the TOML file.
        config: the same, validated.
        volume: as it was seen.
        machine: that the schedule is for.
        blocks: how the run is divided.
        model: that the configuration names; None with the user's own affinities.
        fits: whether the model was trained on such voxels; None without a model.
        plan: what `fgnet plan` says.
    """

    text: str
    config: Config
    volume: VolumeFacts
    machine: Machine
    blocks: BlockChoice
    model: ModelFacts | None
    fits: bool | None
    plan: Estimate

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        schedule = {"workers": self.config.schedule.workers, "block_shape": list(self.config.schedule.block_shape)}
        return {
            "volume": self.volume.to_dict(),
            "machine": self.machine.to_dict(),
            "model": None if self.model is None else {"name": self.model.name, "fits": self.fits},
            "schedule": schedule,
            "output": self.config.output.path,
            "warnings": warnings_for(self),
        }


def warnings_for(found: Proposal) -> list[str]:
    """What a user should know before a run: no model fits, and the warnings of the plan."""
    said = []
    if found.model is not None and not found.fits:
        assert found.volume.frame is not None  # or there would be no proposal
        said.append(misfit(found.model, found.volume.frame))
    return said + found.plan.warnings


def propose(path: str, file: Path, overrides: Sequence[str]) -> Proposal:
    """Make a configuration for a volume.

    Args:
        path: folder or URL of a Zarr array or group, absolute.
        file: the file that will hold the configuration; its folder also gets the output.
        overrides: `section.key=value` texts; they are written to the file.

    Raises:
        InputError: no volume, or a key that does not fit.
        ImportNeededError: a volume that `fgnet import` can convert.
    """
    given, config = given_keys(path, file, overrides)
    models = shipped_models()
    volume = volume_facts(path, config.volume, models)
    if volume.frame is None:
        raise InputError(
            "volume.voxel_size",
            f"not stated by {volume.path}",
            "the voxel size in nm, zyx",
            "add it, e.g. --set volume.voxel_size=[8,8,8]; it is written to the file",
        )
    model = _model(config, volume, models)
    machine = this_machine()
    blocks = choose_blocks(volume.shape, volume.chunk, None if model is None else model.stride, machine)
    situation = Situation(volume, volume.frame, machine, blocks, model, file, config)
    text = toml_text(head_of(situation), with_given(lines_of(situation), given))
    written = validate(tomllib.loads(text))
    fits = None if model is None else model.fits(volume.frame.voxel_size)
    return Proposal(text, written, volume, machine, blocks, model, fits, estimate(written, small_region=False))


def given_keys(path: str, file: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], Config]:
    """The tables of keys that a user has set, and a configuration that holds nothing else.

    Args:
        path: of the volume.
        file: of the configuration.
        overrides: `section.key=value` texts.

    Raises:
        InputError: an unknown key, a value of another type, or another volume.
    """
    given: dict[str, Any] = {}
    for override in overrides:
        apply_override(given, override, Config)
    if given.get("volume", {}).get("path") is not None:
        raise InputError("--set", f"volume.path={given['volume']['path']}", "another key: the volume is VOLUME",
                         "name the volume as the argument")  # fmt: skip
    volume, output = {"path": path, **given.get("volume", {})}, {"path": str(file.parent), **given.get("output", {})}
    return given, validate({**given, "volume": volume, "output": output})


def _model(config: Config, volume: VolumeFacts, models: list[ModelFacts]) -> ModelFacts | None:
    """The model that the user names, one that fits, or else the nearest; None with the user's own affinities."""
    if config.affinities.path is not None:
        return None
    if "checkpoint" in config.model.model_fields_set:
        return model_facts(config.model.checkpoint)
    assert volume.frame is not None  # the caller has checked it
    size = volume.frame.voxel_size
    fitting = [model for model in models if model.fits(size)]
    return min(fitting or models, key=lambda model: float(np.abs(np.log(np.divide(size, model.voxel_size))).max()))
