"""What an augmentation is, and how the ones of `fgnet.training.augmentations` are found.

An augmentation is one file of that package: its settings, the function that changes a patch, and the constant
`AUGMENTATION` that binds both. No list names the files. Importing them does not import torch, because a configuration
is read without it: a file imports torch inside its functions.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from fgnet.errors import ModelError
from fgnet.training.tables import Table

if TYPE_CHECKING:
    from fgnet.training.chance import Chance
    from fgnet.training.patch import Patch


@dataclass(frozen=True)
class NoSettings:
    """The settings of an augmentation that has none."""


@dataclass(frozen=True)
class Augmentation:
    """One change of a training patch.

    Attributes:
        name: how messages call it, unique.
        place: position in the order of all augmentations, lowest first, unique. Another order draws other random
            numbers, so the place of an augmentation that was released must not change.
        apply: (patch, chance, settings) -> patch. It draws every random number from `chance`, decides itself whether
            it changes the patch, and leaves the tensors of the given patch as they are.
        table: the table `[optimise.augment.TABLE]` that holds its settings, one of `fgnet.training.tables.Table`;
            None if it has no settings.
        settings: frozen dataclass, each field made by `setting`. The names of the fields are the keys of the table.
    """

    name: str
    place: int
    apply: Callable[[Patch, Chance, Any], Patch]
    table: Table | None = None
    settings: type[Any] = NoSettings

    def applied(self, patch: Patch, chance: Chance, tables: Mapping[Table, Any]) -> Patch:
        """The patch after this augmentation.

        Args:
            patch: what the augmentations before this one made.
            chance: source of all random numbers.
            tables: name of a table -> object that holds its values as attributes.
        """
        table = None if self.table is None else tables[self.table]
        values = {field.name: getattr(table, field.name) for field in dataclasses.fields(self.settings)}
        return self.apply(patch, chance, self.settings(**values))


@dataclass(frozen=True)
class Range:
    """The closed range of a setting, and its meaning in one phrase with the unit."""

    low: float
    high: float
    meaning: str

    def holds(self, value: float) -> bool:
        """True if `value` is inside; nan never is."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"at least {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"


def setting(default: float, meaning: str, low: float = 0.0, high: float = 1.0) -> Any:
    """A field of an augmentation's settings.

    Args:
        default: the value if a configuration does not give one.
        meaning: one phrase, with the unit if the value has one.
        low: the least value allowed.
        high: the greatest value allowed, `math.inf` for no limit.
    """
    return dataclasses.field(default=default, metadata={"range": Range(low, high, meaning)})


@cache
def augmentations() -> tuple[Augmentation, ...]:
    """Every augmentation of the package, in the order in which they are applied.

    Raises:
        ValueError: a module without `AUGMENTATION`; a name, a place or a key that two of them share; an unknown
            table.
    """
    from fgnet.training import augmentations as package

    found: list[Augmentation] = []
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        augmentation = getattr(importlib.import_module(module.name), "AUGMENTATION", None)
        if not isinstance(augmentation, Augmentation):
            raise ValueError(f"{module.name} has no constant AUGMENTATION of the class Augmentation")
        found.append(augmentation)
    _require_unique("name", [a.name for a in found])
    _require_unique("place", [a.place for a in found])
    _require_unique("key", [f"{a.table}.{field.name}" for a in found for field in dataclasses.fields(a.settings)])
    for augmentation in found:
        if augmentation.table is not None and augmentation.table not in get_args(Table):
            raise ValueError(f"{augmentation.name}: no table {augmentation.table!r}, only {get_args(Table)}")
    return tuple(sorted(found, key=lambda a: a.place))


def _require_unique(what: str, values: list[Any]) -> None:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"two augmentations have the {what} {twice[0]}")


def table_fields(table: Table) -> type[Any]:
    """A frozen dataclass with the settings of every augmentation of `table`, as a base of the table's class."""
    fields: list[tuple[str, Any, Any]] = []
    for augmentation in augmentations():
        if augmentation.table == table:
            types = get_type_hints(augmentation.settings)
            for field in dataclasses.fields(augmentation.settings):
                copied = dataclasses.field(default=field.default, metadata=field.metadata)
                fields.append((field.name, types[field.name], copied))
    return dataclasses.make_dataclass(f"{table.title()}Fields", fields, frozen=True)


def check_ranges(tables: Mapping[Table, Any]) -> None:
    """See that every setting of every augmentation lies in its range.

    Args:
        tables: name of a table -> object that holds its values as attributes.

    Raises:
        ModelError: names the first key that does not.
    """
    for name, table in tables.items():
        for field in dataclasses.fields(table):
            allowed: Range = field.metadata["range"]
            value = getattr(table, field.name)
            if not allowed.holds(value):
                key = f"optimise.augment.{name}.{field.name}"
                raise ModelError(key, value, f"{allowed} ({allowed.meaning})", "change the value")
