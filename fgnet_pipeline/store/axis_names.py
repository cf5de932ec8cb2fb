"""Which axes of an array are z, y and x, from all that its metadata state."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.statement import Asked, Order, Statement, shown

#: Names that tools invent for axes that nobody has named: xarray, netCDF, funlib.persistence.
_INVENTED = re.compile(r"(dim|axis|phony_?dim|d|c)_?\d+")


def names_of(asked: Asked, where: str, value: object) -> tuple[str, ...] | None:
    """Names of axes as metadata spell them: a list of texts or of objects with a `name`, or a text such as "zyx".

    Args:
        asked: the array.
        where: what states the names, for the error.
        value: as it was read.

    Returns:
        Names in lower case, without signs such as funlib's `^`; None if the value states nothing.

    Raises:
        InputError: the value is of another form.
    """
    if value is None or value == []:
        return None
    if isinstance(value, str) and len(value) == asked.ndim:
        value = list(value)
    if isinstance(value, list | tuple):
        value = [entry.get("name") if isinstance(entry, dict) else entry for entry in value]
    if not isinstance(value, list) or not all(entry is None or isinstance(entry, str) for entry in value):
        raise asked.refusal("axes", f"{where} = {shown(value)}", "a list of names of axes")
    names = tuple(re.sub(r"\W", "", entry or "").lower() for entry in value)
    if not any(names) or all(_INVENTED.fullmatch(name) for name in names):
        return None
    return names


def order_of(asked: Asked, shape: Sequence[int], names: tuple[str, ...], where: str) -> Order:
    """The positions of z, y and x among the stored axes.

    Args:
        asked: the array.
        shape: of the array.
        names: in lower case. Three names z, y, x also fit an array with more axes, if the first ones have length 1.
        where: what states the names, for the error.

    Raises:
        InputError: other names, another number of names, or a name that occurs twice.
    """
    extra = asked.ndim - len(names)
    if sorted(names) == ["x", "y", "z"] and extra > 0 and all(n == 1 for n in shape[:extra]):
        names = ("",) * extra + names
    if len(names) != asked.ndim or any(names.count(name) != 1 for name in "zyx"):
        expected = f"{asked.ndim} names, z, y and x among them"
        remedy = 'set e.g. volume.axes=["z","y","x"]'
        if asked.field == "volume.path":
            raise InputError("volume.axes", f"{where} {list(names)}", expected, remedy)
        raise asked.refusal("axes", f"{where} {list(names)}", expected)
    return names.index("z"), names.index("y"), names.index("x")


def agreed_order(asked: Asked, shape: Sequence[int], statements: Sequence[Statement]) -> tuple[Order, str]:
    """The order that all statements agree on; without a statement, the last three axes are z, y, x.

    Returns:
        The order, and what states it.

    Raises:
        InputError: two statements contradict each other, or one names other axes.
    """
    found: list[tuple[Order, str, tuple[str, ...]]] = []
    for statement in statements:
        if (names := statement.axes()) is not None:
            order = order_of(asked, shape, names, statement.source)
            found.append((order, statement.source, names))
    if not found:
        return (asked.ndim - 3, asked.ndim - 2, asked.ndim - 1), "not stated, taken as z, y, x"
    first = found[0]
    for other in found[1:]:
        if other[0] != first[0]:
            stated = " but ".join(f"{source} {','.join(names)}" for _, source, names in (first, other))
            raise asked.refusal("axes", f"{asked.path}: {stated}", "statements about axes that agree")
    return first[0], first[1]
