"""What a change of files means, and the collection of changes that a format has."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from lab_files.specimen import Rendered

#: Changes a specimen, or its files in memory.
Change = Callable[[Any, random.Random], None]
Condition = Callable[[Any], bool]


class Kind(Enum):
    """What must follow from a change."""

    PRESERVING = "preserving"  #: the same voxels, voxel size and offset are read
    DESTROYING = "destroying"  #: an `InputError`
    UNDECIDABLE = "undecidable"  #: a value or one of our errors, and nothing else


@dataclass(frozen=True)
class Mutation:
    """One declared change.

    Attributes:
        name: what is changed.
        kind: what must follow.
        apply: changes a specimen before it is rendered; if `on_files`, a `Rendered`.
        when: to which specimens it can be applied.
        on_files: see `apply`.
        exact: undecidable only: a refusal is right, and so is the unchanged meaning, but no other value.
        native: decoded by a library that may crash or hang, so it runs in a process of its own.
    """

    name: str
    kind: Kind
    apply: Change
    when: Condition
    on_files: bool = False
    exact: bool = False
    native: bool = False


def _always(_: Any) -> bool:
    return True


@dataclass
class Changes:
    """Changes that belong together; its methods are decorators that declare one.

    Attributes:
        declared: in the order of their declaration.
    """

    declared: list[Mutation] = field(default_factory=list)

    def preserving(self, name: str, when: Condition = _always, on_files: bool = False) -> Callable[[Change], Change]:
        """Declare a change after which the same must be read."""
        return self._declare(Kind.PRESERVING, name, when=when, on_files=on_files)

    def destroying(self, name: str, when: Condition = _always, on_files: bool = False) -> Callable[[Change], Change]:
        """Declare a change after which the files must be refused."""
        return self._declare(Kind.DESTROYING, name, when=when, on_files=on_files)

    def undecidable(self, name: str, when: Condition = _always, **options: bool) -> Callable[[Change], Change]:
        """Declare a change of which nobody can say what follows, or (`exact`) that a reader need not support."""
        return self._declare(Kind.UNDECIDABLE, name, when=when, **options)

    def _declare(self, kind: Kind, name: str, **options: Any) -> Callable[[Change], Change]:
        def keep(apply: Change) -> Change:
            self.declared.append(Mutation(name, kind, apply, **options))
            return apply

        return keep


@dataclass(frozen=True)
class Format:
    """One row of the report.

    Attributes:
        name: of the row.
        make: a specimen, as the format's usual writers make it.
        render: its files.
        changes: all that can be made.
    """

    name: str
    make: Callable[[random.Random], Any]
    render: Callable[[Any], Rendered]
    changes: tuple[Changes, ...]

    @property
    def mutations(self) -> list[Mutation]:
        """All changes, in one list."""
        return [change for changes in self.changes for change in changes.declared]


def lose(files: Rendered, names: Iterable[str]) -> None:
    """Take files away."""
    for name in names:
        del files.files[name]


def rename(files: Rendered, names: Iterable[str], ending: str) -> None:
    """Give files an ending that their format does not know."""
    for name in names:
        files.files[name + ending] = files.files.pop(name)


def cut_off(files: Rendered, rng: random.Random) -> None:
    """Leave less than half of the only file."""
    content = files.files[files.path].rstrip(b"\0")
    files.files[files.path] = content[: rng.randrange(0, len(content) // 2)]
