"""The order of sections that lie in one file each: the running number in their names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.source import first_line
from fgnet_pipeline.datasets.tiff_pages import TIFF

PNG = (".png",)
#: Pictures that are not read. If some lie among sections, they may be sections, too.
_OTHERS = (".jpg", ".jpeg", ".bmp", ".gif", ".jp2", ".j2k", ".webp", ".pgm", ".dm3", ".dm4", ".mrc")


def section_files(folder: Path, field: str) -> list[Path]:
    """The pictures of a folder, in the order of the running number in their names.

    Names hold other numbers, too, such as `s0001_10nm.png` or `sec_012_2019-03-04.tif`. The running number stands where
    all names have different numbers without a gap. If several places qualify, they must give the same order.

    Args:
        folder: of the pictures; hidden files are ignored.
        field: the option to name in errors.

    Raises:
        InputError: there are none, there are pictures of several formats, no place in the names is a running number or
            several contradict each other, or a number is left out, which would shift every later section.
    """
    try:
        listed = [p for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise InputError(field, str(folder), "a folder that can be read", first_line(error)) from error
    files = [p for p in listed if p.suffix.lower() in (*TIFF, *PNG)]
    kinds = {p.suffix.lower() in PNG for p in files}
    others = [p.name for p in listed if p.suffix.lower() in _OTHERS]
    if not files or len(kinds) > 1 or others:
        found = f"{folder} with {others[0]}" if others else str(folder)
        raise InputError(field, found, "a folder of PNG files or of TIFF files", "give one picture per section")
    numbers = {p: [int(n) for n in re.findall(r"\d+", p.stem)] for p in files}
    bare = [p.name for p, found in numbers.items() if not found]
    if bare:
        raise InputError(field, bare[0], "a number in the name of every section", "rename it, or move it away")
    counts = {len(found): p.name for p, found in sorted(numbers.items(), reverse=True)}
    if len(counts) > 1:
        names = " and ".join(sorted(counts.values())[:2])
        raise InputError(field, names, "as many numbers in the name of every section", "rename them to one pattern")
    return _ordered(numbers, field)


def _ordered(numbers: dict[Path, list[int]], field: str) -> list[Path]:
    columns = list(zip(*numbers.values(), strict=True))
    running = [column for column in columns if max(column) - min(column) + 1 == len(set(column)) == len(column)]
    files = list(numbers)
    if not running:
        _explain(columns, files, field)
    orders = {tuple(sorted(range(len(files)), key=column.__getitem__)) for column in running}
    if len(orders) > 1:
        expected = "names that give one order: they have two running numbers that contradict each other"
        raise InputError(
            field, files[0].name, expected, "rename the files so that only the order of sections counts up"
        )
    return [files[i] for i in orders.pop()]


def _explain(columns: Sequence[Sequence[int]], files: Sequence[Path], field: str) -> None:
    """Raise what is wrong with the numbers: the place without doubles that has the smallest gaps, else the last."""
    different = [column for column in columns if len(set(column)) == len(column)]
    column = min(different, key=lambda numbers: max(numbers) - min(numbers)) if different else columns[-1]
    ordered = sorted(zip(column, (p.name for p in files), strict=True))
    for (before, _), (after, name) in itertools.pairwise(ordered):
        if after != before + 1:
            expected = f"section {before + 1} after {before}"
            raise InputError(field, name, expected, "put a copy of a neighbour where a section is lost")
