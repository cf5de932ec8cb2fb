"""Find all export formats."""

from __future__ import annotations

from functools import cache

from fgnet_pipeline.core.registry import discover
from fgnet_pipeline.core.suggestions import unknown_choice
from fgnet_pipeline.exports.format import Format
from fgnet_pipeline.stages.registry import add_stages

PACKAGE, ATTRIBUTE, GROUP = "fgnet_pipeline.exports", "FORMAT", "fgnet_pipeline.exports"


@cache
def formats() -> dict[str, Format]:
    """All export formats by name. Their stages are registered.

    Raises:
        InputError: two formats or two stages have one name.
    """
    found = discover(PACKAGE, ATTRIBUTE, GROUP, Format)  # type: ignore[type-abstract]
    for each in found.values():
        add_stages(each.stages)
    return found


def format_of(name: str) -> Format:
    """The format that `fgnet export` calls `name`.

    Raises:
        InputError: there is none of this name.
    """
    if name not in formats():
        raise unknown_choice("FORMAT", name, formats())
    return formats()[name]
