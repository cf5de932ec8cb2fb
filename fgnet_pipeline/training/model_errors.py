"""Errors of the model package as errors of what the user gave."""

from __future__ import annotations

from fgnet import ModelError

from fgnet_pipeline.core.errors import InputError


def as_input_error(error: ModelError) -> InputError:
    """The same field, value, expectation and remedy."""
    return InputError(error.field, error.value, error.expected, error.remedy)
