"""The option `--quiet` of every command: whether people are told more than results, warnings and errors."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print no progress and no explanations: only results, warnings and errors."),
]
#: What a sentence begins with that is printed in spite of `--quiet`.
WARNING = "warning:"
_state = {"quiet": False}


def is_quiet() -> bool:
    """Whether the command that runs was given `--quiet`."""
    return _state["quiet"]


def is_told(sentence: str) -> bool:
    """Whether a sentence is printed: with `--quiet`, only a warning is."""
    return not is_quiet() or sentence.startswith(WARNING)


def quietable(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option `--quiet`, which the functions of this file then tell of."""

    @functools.wraps(command)
    def with_option(*arguments: Any, quiet: bool = False, **options: Any) -> None:
        _state["quiet"] = quiet
        command(*arguments, **options)

    # typer makes the options from the signature; it would look up the names of annotations in this file
    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    extended = signature.replace(parameters=[*signature.parameters.values(), option])
    with_option.__signature__ = extended  # type: ignore[attr-defined]
    with_option.__annotations__ = {name: parameter.annotation for name, parameter in extended.parameters.items()}
    return with_option
