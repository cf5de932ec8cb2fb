"""Load a configuration with the stages, fragments methods and scores that are registered."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from fgnet_pipeline.core import config_file
from fgnet_pipeline.core.config import Choices, Config
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


def load_config(file: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML file, apply `section.key=value` overrides and validate.

    Args:
        file: path of the TOML file.
        overrides: `section.key=value` texts, applied in this order; None for none.

    Raises:
        InputError: the file cannot be read or is not TOML, a key is unknown, or a value has a wrong type or range.
    """
    return config_file.load_config(file, overrides, choices())


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
