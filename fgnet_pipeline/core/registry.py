"""Find the objects that are registered under an attribute of modules or in an entry-point group.

A stage, a fragments method or a score is one object in one file. Its place registers it:

1. Inside the package: the file lies in the folder of its kind and holds the object in a module attribute, for example
   `METHOD`.
2. Outside the package: an installed distribution names the object in an entry-point group, for example
   `fgnet_pipeline.fragments_methods`.
"""

import importlib
import pkgutil
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar

from fgnet_pipeline.core.errors import InputError


class Named(Protocol):
    """An object with a name that users type."""

    @property
    def name(self) -> str:
        """The name of the object, unique among its kind."""


T = TypeVar("T", bound=Named)


def discover(package: str, attribute: str, group: str, kind: type[T]) -> dict[str, T]:
    """Collect the objects of one kind from a package and from an entry-point group.

    Every call imports and searches again; wrap it in `functools.cache`.

    Args:
        package: dotted name of a package. All its modules are imported, in the order of their names.
        attribute: module attribute that holds the object; modules without the attribute are skipped.
        group: entry-point group of objects from other distributions.
        kind: class of the objects.

    Returns:
        The objects by name. Those of the package come first, in the order of their modules; then those of the group, in
        the order of their entry points.

    Raises:
        InputError: two objects have one name, or an entry point cannot be loaded or is not of this kind.
    """
    places: dict[str, str] = {}
    found: dict[str, T] = {}
    for place, thing in [*_in_package(package, attribute), *_in_group(group)]:
        if not isinstance(thing, kind):
            raise InputError(
                group,
                place,
                f"an object of the class {kind.__module__}.{kind.__qualname__}, not {type(thing).__qualname__}",
                "correct the object, or uninstall its distribution",
            )
        if thing.name in found:
            raise InputError(
                group,
                place,
                f"a name of its own, but {places[thing.name]} is called {thing.name!r} too",
                "rename one of the two, or uninstall its distribution",
            )
        places[thing.name], found[thing.name] = place, thing
    return found


def _in_package(package: str, attribute: str) -> list[tuple[str, object]]:
    """Pairs (module:attribute, object) of all modules of a package that have the attribute."""
    root = importlib.import_module(package)
    names = sorted(module.name for module in pkgutil.iter_modules(root.__path__))
    modules = [importlib.import_module(f"{package}.{name}") for name in names]
    return [(f"{m.__name__}:{attribute}", getattr(m, attribute)) for m in modules if hasattr(m, attribute)]


def _in_group(group: str) -> list[tuple[str, object]]:
    """Pairs (entry point as text, object) of an entry-point group."""
    points = sorted(_entry_points(tuple(sys.path)).select(group=group), key=lambda point: (point.name, point.value))
    return [(f"{point.name} = {point.value}", _load(group, point)) for point in points]


@cache
def _entry_points(path: tuple[str, ...]) -> Any:
    """The entry points of all distributions on a search path. Reading them takes a twentieth of a second."""
    return entry_points()


def _load(group: str, point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:  # a module of another package may raise any error
        raise InputError(
            group,
            f"{point.name} = {point.value}",
            f"an entry point that can be loaded ({type(error).__name__}: {error})",
            "correct its distribution, or uninstall it",
        ) from error
