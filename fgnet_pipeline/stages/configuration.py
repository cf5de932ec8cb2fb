"""Load a configuration with the stages, fragments methods and scores that are registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fgnet_pipeline.core import config_file
from fgnet_pipeline.core.config import Choices, Config, is_url
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.kernels.agglomeration.scores.score import Part, Score, scores
from fgnet_pipeline.kernels.fragments.method import methods


@cache
def choices() -> Choices:
    """The registered stages, fragments methods and scores, which a configuration may name."""
    from fgnet_pipeline.stages.registry import stages  # imported late: the stages import this file

    return Choices(
        stages=tuple(name for name, stage in stages().items() if stage.schedule == name),
        fragments_methods={name: method.resolve for name, method in methods().items()},
        scores={name: _check_of(score) for name, score in scores().items()},
    )


def load_config(file: str | Path | Mapping[str, Any], overrides: list[str] | None = None) -> Config:
    """Read a TOML file, apply `section.key=value` overrides and validate.

    Args:
        file: path of the TOML file, or the tables of one.
        overrides: `section.key=value` texts, applied in this order; None for none.

    Raises:
        InputError: the file cannot be read or is not TOML, a key is unknown, or a value has a wrong type or range.
    """
    return config_file.load_config(file, overrides, choices())


def load_result(place: str, overrides: list[str] | None = None) -> Config:
    """Load the configuration of a result, named by its TOML file or by the output itself.

    Args:
        place: path of a TOML file, or an output: a folder, the URL of arrays in an object store, or the folder of their
            state. An output may have been moved; its inputs are looked for where the run found them.
        overrides: as for `load_config`.

    Raises:
        InputError: as `load_config`; or the place is a folder or URL that holds no output.
    """
    if not is_url(place) and not Path(place).is_dir():
        return load_config(place, overrides)
    from fgnet_pipeline.store.output import stored_output  # which loads Zarr

    stored = stored_output(place)
    tables = stored.saved_configuration()[0] if stored is not None else {}
    if not tables:
        expected = "a configuration (TOML), or an output that `fgnet run` has begun"
        raise InputError("CONFIG|OUTPUT", place, expected, "name the folder that output.path names")
    output = tables["output"]
    if not is_url(output["path"]):
        output["path"] = str(Path(place).resolve())
    elif not is_url(place):
        output["state"] = str(Path(place).resolve())
    for override in overrides or []:
        config_file.apply_override(tables, override, Config)
    return validate(tables)


def validate(tables: dict[str, Any]) -> Config:
    """Validate the tables of a configuration, e.g. those that a worker receives.

    Raises:
        InputError: a key is unknown, or a value has a wrong type or range; the error names the first such key.
    """
    return config_file.validate(tables, choices())


def score_of(config: Config) -> Score:
    """The score by which edges are merged."""
    return scores()[config.agglomerate.score]


def score_part(config: Config) -> Part | None:
    """The parameter of the score, e.g. the quantile; None if the score has none."""
    return score_of(config).part(config.agglomerate.quantile)


def has_histograms(config: Config) -> bool:
    """Whether the edge tables hold histograms."""
    return bool(config.edges.histogram) or score_of(config).needs_histogram


def _check_of(score: Score) -> Callable[[Config], None]:
    return lambda config: score.check(config.agglomerate.quantile, config.edges.histogram)
