"""Write the reference of all commands from their definitions: `python -m fgnet_pipeline.commands.reference`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from fgnet_pipeline.commands.cli import app

HEADER = """# Commands

Arguments and options of every command, as `--help` prints them. This page is written by
`python -m fgnet_pipeline.commands.reference`. [Command line](command-line.md) says what commands have in common.
"""

#: Type of an option without a name for its value -> that name.
_VALUES = {int: "N", float: "NUMBER", str: "TEXT", Path: "PATH", list[float]: "NUMBER", list[str]: "TEXT"}


def reference() -> str:
    """The text of the page `docs/reference/commands.md`."""
    return "\n".join([HEADER, *(_section(name, command) for name, command in _commands(typer.main.get_command(app)))])


def _commands(group: Any, before: str = "fgnet") -> Iterator[tuple[str, Any]]:
    """(full name, command) of every command of a group and of the groups in it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def _section(name: str, command: Any) -> str:
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    text = inspect.cleandoc(command.help or "")
    return "\n".join([f"## {name}", "", text, "", "| argument or option | default | |", "|---|---|---|", *rows, ""])


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        names = parameter.metavar or parameter.name.upper()
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or _VALUES[parameter.type_descriptor.annotation]}"
        names = ", ".join(parameter.opts) + value
    default = "required" if parameter.required else _default(parameter.default)
    return f"| `{_cell(names)}` | {default} | {_cell(getattr(parameter, 'help', None) or '')} |"


def _default(value: Any) -> str:
    """A default as it is typed; empty if the option is left out by default."""
    return "" if value in (None, False, (), []) or callable(value) else f"`{value}`"


def _cell(text: str) -> str:
    """Text that stays in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
