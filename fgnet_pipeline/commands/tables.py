"""Tables for people: columns as wide as their content, divided if the terminal is narrower."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

#: Spaces between two columns, and if the table does not fit with so many.
GAP, NARROW_GAP = 2, 1


def terminal_columns() -> int | None:
    """The width of the terminal that standard output leads to; None if it leads to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def flowing(sentence: str) -> str:
    """A sentence for standard output, divided between words if a terminal is narrower.

    Further lines are indented. A single word, such as a path, is never divided; files and pipes get one line.
    """
    columns = terminal_columns()
    if columns is None or len(sentence) <= columns:
        return sentence
    return textwrap.fill(sentence, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, columns: int | None = None) -> list[str]:
    """The lines of a table.

    Args:
        titles: of the columns.
        rows: the cells of each row, as many as there are titles.
        left: how many columns, counted from the first, hold text and are aligned to the left. All others hold numbers
            and are aligned to the right.
        columns: width of the terminal. If the table is wider, its columns are divided among several tables, which all
            begin with the first column. None: one line per row, whatever its length.
    """
    cells = [list(titles), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    fits_narrowly = columns is not None and sum(widths) + NARROW_GAP * (len(widths) - 1) <= columns
    too_wide = columns is not None and sum(widths) + GAP * (len(widths) - 1) > columns
    gap = NARROW_GAP if too_wide and fits_narrowly else GAP
    lines = []
    for part in _parts(widths, gap, columns):
        for row in cells:
            aligned = [row[i].ljust(widths[i]) if i < left else row[i].rjust(widths[i]) for i in part]
            lines.append((" " * gap).join(aligned).rstrip())
    return lines


def _parts(widths: list[int], gap: int, columns: int | None) -> list[list[int]]:
    """The columns of each table; the first one stands in all of them."""
    parts = [[0]]
    for i in range(1, len(widths)):
        room = sum(widths[j] + gap for j in parts[-1]) + widths[i]
        if columns is not None and room > columns and len(parts[-1]) > 1:
            parts.append([0])
        parts[-1].append(i)
    return parts
