"""The cost of a model that is named by a preset, a shipped name, a file of weights, or a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fgnet
from fgnet import ModelError

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.toml_file import read_toml
from fgnet_pipeline.stages.configuration import load_config


def describe_model(name: str) -> dict[str, Any]:
    """The document of `fgnet.describe`. Of a file of weights only the header is read, and nothing is computed.

    Args:
        name: `tiny`, `small`, `base_plus`, `large`, `nano`, a shipped name, a `.safetensors` file, or a
            TOML configuration of a training or of a run.

    Raises:
        InputError: nothing has that name, the file is neither of both kinds, or torch or sam2 is not installed.
    """
    try:
        return _described(name)
    except ModelError as error:
        raise InputError("NAME", name, error.expected, error.remedy) from error
    except ModuleNotFoundError as error:
        remedy = "install torch and sam2 as README.md says"
        raise InputError("NAME", name, f"the package {error.name}, which counts the operations", remedy) from error


def _described(name: str) -> dict[str, Any]:
    if not name.endswith(".toml"):
        return fgnet.describe(name)
    if "optimise" not in read_toml(Path(name)):
        return {**fgnet.describe(load_config(name).model.checkpoint), "name": name}
    from fgnet.describing import describe_network

    from fgnet_pipeline.training.config import TrainConfig

    training = TrainConfig.load(name)
    return describe_network(name, training.network(), training.exported_geometry())
