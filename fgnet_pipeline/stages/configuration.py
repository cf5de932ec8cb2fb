"""Loading a configuration with the stages, fragments methods and scores that are registered."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from fgnet_pipeline.core import config_file
from fgnet_pipeline.core.config import Choices, Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.kernels.fragments.method import methods

DEFAULT_QUANTILE, QUANTILE_DECIMALS = 0.85, 4


@cache
def choices() -> Choices:
    """What a configuration may name."""
    from fgnet_pipeline.stages.registry import stages  # which imports the stages, and these this file

    return Choices(
        stages=tuple(name for name, stage in stages().items() if stage.schedule == name),
        fragments_methods={name: method.resolve for name, method in methods().items()},
        scores={"mean": _check_mean, "quantile": _check_quantile},
    )


def load_config(file: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML file, apply ``section.key=value`` overrides and validate.

    Raises:
        InputError: no such file, no TOML, unknown key, wrong type or range.
    """
    return config_file.load_config(file, overrides, choices())


def validate(tables: dict[str, Any]) -> Config:
    """Validate the tables of a configuration, e.g. those that a worker is told.

    Raises:
        InputError: the first thing that is wrong with them.
    """
    return config_file.validate(tables, choices())


def quantile_part(config: Config) -> tuple[int, int] | None:
    """The quantile as the fraction (p, q) that was typed; None if the score is the mean."""
    if config.agglomerate.score == "mean":
        return None
    quantile = config.agglomerate.quantile
    part = Fraction(str(DEFAULT_QUANTILE if quantile is None else quantile))
    return part.numerator, part.denominator


def has_histograms(config: Config) -> bool:
    """Whether edge tables hold histograms."""
    return bool(config.edges.histogram) or config.agglomerate.score == "quantile"


def _check_mean(config: Config) -> None:
    if config.agglomerate.quantile is not None:
        raise InputError(
            "agglomerate.quantile",
            config.agglomerate.quantile,
            "no value, since agglomerate.score is the mean",
            'leave it out, or set agglomerate.score = "quantile"',
        )


def _check_quantile(config: Config) -> None:
    quantile = config.agglomerate.quantile
    if quantile is not None and Fraction(str(quantile)).denominator > 10**QUANTILE_DECIMALS:
        raise InputError("agglomerate.quantile", quantile, f"at most {QUANTILE_DECIMALS} decimals", "round it")
    if config.edges.histogram is False:
        raise InputError(
            "edges.histogram",
            False,
            'true, since agglomerate.score = "quantile" is taken of histograms',
            "leave it out, or score by the mean",
        )
