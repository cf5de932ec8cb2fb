"""A configuration as TOML text, in which every key has a comment that says why it has its value."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fgnet_pipeline.core.toml_file import toml_value

#: Columns of the file, at most, unless a path is longer.
WIDTH = 100
#: Reason of a key that the user has set.
GIVEN = "As given with --set."


@dataclass(frozen=True)
class Line:
    """A key of the configuration.

    Attributes:
        section: its table, e.g. `schedule.predict`.
        key: its name.
        value: text, number, truth value or list.
        why: sentences for the comment above it.
        is_set: False: the key stands in the file as a comment, so that its default holds.
    """

    section: str
    key: str
    value: Any
    why: str
    is_set: bool = True


def with_given(lines: Iterable[Line], given: Mapping[str, Any]) -> list[Line]:
    """The lines with the values that a user has set in place of others, and lines for the further keys.

    Args:
        lines: of a proposal.
        given: tables of a configuration.
    """
    values = dict(_flat(given))
    found = []
    for line in lines:
        at = (line.section, line.key)
        if at in values:
            found.append(replace(line, value=values.pop(at), why=GIVEN, is_set=True))
        else:
            found.append(line)
    return found + [Line(section, key, value, GIVEN) for (section, key), value in values.items()]


def _flat(tables: Mapping[str, Any], above: str = "") -> list[tuple[tuple[str, str], Any]]:
    """((table, key), value) of every key; tables below tables have names with dots."""
    found: list[tuple[tuple[str, str], Any]] = []
    for name, value in tables.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{above}.{name}" if above else name)
        else:
            found.append(((above, name), value))
    return found


def toml_text(head: Iterable[str], lines: Iterable[Line]) -> str:
    """The text of the file.

    Args:
        head: sentences, each a comment at the begin of the file.
        lines: keys in any order; tables stand in the order in which they first come.
    """
    tables: dict[str, list[Line]] = {}
    for line in lines:
        tables.setdefault(line.section, []).append(line)
    text = [part for sentence in head for part in _comment(sentence)]
    for section, keys in tables.items():
        text += ["", f"[{section}]"]
        for line in keys:
            text += ([""] if line is not keys[0] else []) + _comment(line.why)
            text.append(f"{'' if line.is_set else '# '}{line.key} = {toml_value(line.value)}")
    return "\n".join(text) + "\n"


def _comment(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip
