"""The keys that a document may have at a place, read off its pydantic model, and the key that a user probably meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.suggestions import closest

#: A place in a document: keys, and indices of lists.
Location = Sequence[str | int]
#: Similarity from which the key of another table is suggested. Such a key is less likely meant than one of the same.
SIMILAR_ELSEWHERE = 0.8


def unknown_key(
    model: type[Any], location: Location, value: object, more: Sequence[str] = (), within: str = ""
) -> InputError:
    """The error for a key that does not exist.

    Args:
        model: class of the whole document.
        location: of the unknown key.
        value: what it was set to.
        more: keys that its table may have beside those of the model.
        within: what the whole key begins with, if the model describes a part of a document, e.g. `"schedule."`.
    """
    meant = meant_key(model, location, more)
    spelling = "check the spelling (docs/reference/configuration.md lists them)"
    remedy = spelling if meant is None else f"did you mean {within}{meant}?"
    return InputError(within + ".".join(map(str, location)), value, "a known key", remedy)


def meant_key(model: type[Any], location: Location, more: Sequence[str] = ()) -> str | None:
    """The key that was probably meant by one that does not exist; None if there is none like it.

    Args:
        model: class of the whole document.
        location: of the unknown key.
        more: keys that its table may have beside those of the model.

    Returns:
        The whole key, e.g. `agglomerate.threshold`.
    """
    *table, key = location
    if not isinstance(key, str):
        return None
    places: dict[str, list[str]] = {}
    for place in _paths(model):
        places.setdefault(place[-1], []).append(".".join(place))
    if len(places.get(key, ())) == 1:  # the right name in the wrong table
        return places[key][0]
    if (near := closest(key, (*keys_at(model, table), *more))) is not None:
        return ".".join(map(str, [*table, near]))
    found = closest(key, places, SIMILAR_ELSEWHERE)
    return None if found is None else places[found][0]


def keys_at(model: type[Any], location: Location) -> tuple[str, ...]:
    """The keys that a document may have at a place; none if the place holds no table.

    Args:
        model: class of the whole document.
        location: of the table in it.
    """
    tables = [model]
    for part in location:
        tables = [inner for table in tables for inner in _tables_below(table, part)]
    return tuple(key for table in tables for key in _fields(table))


def _paths(model: type[Any]) -> Iterator[tuple[str, ...]]:
    """All keys of the tables of a document, each with its table."""
    for table in _fields(model):
        yield from ((table, key) for key in keys_at(model, (table,)))


def _fields(table: type[Any]) -> dict[str, Any]:
    """Key -> annotation."""
    if issubclass(table, BaseModel):
        return {name: field.annotation for name, field in table.model_fields.items()}
    return {field.name: get_type_hints(table)[field.name] for field in dataclasses.fields(table)}


def _tables_below(table: type[Any], part: str | int) -> Iterator[type[Any]]:
    fields = _fields(table)
    if isinstance(part, int):  # an entry of a list, which the key before it has led to already
        yield table
    elif part in fields:
        yield from _tables_in(fields[part])
    elif issubclass(table, BaseModel) and table.model_config.get("extra") == "allow":
        yield from _tables_in(get_type_hints(table).get("__pydantic_extra__"))


def _tables_in(annotation: Any) -> Iterator[type[Any]]:
    """The classes of tables that an annotation names, also inside lists and unions."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType, tuple, list, dict):
        for inner in get_args(annotation):
            yield from _tables_in(inner)
