"""Changes of JSON files that every format with such files has.

RFC 8259 (json.org): order of members, white space and the form of a number carry no meaning.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from lab_files.specimen import Rendered

from campaign.mutation import Changes

#: Values that stand where something else stood. Lengths stay small enough that no reader needs much memory.
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2.5, -0.5, 1e30, float("nan"), float("inf"), "", "x", "nm", "4", [], [1], [0, 0, 0],
    [1, 2, 3], ["z", "y", "x"], ["x"], {}, {"a": 1}, [[]], [{}], [None], 2**40, "\u0000", "é",
)  # fmt: skip


def document_changes(
    homes: Callable[[Rendered], list[dict[str, Any]]], main: Callable[[Rendered], list[str]]
) -> tuple[Changes, ...]:
    """The changes of a format.

    Args:
        homes: the objects to which a program may add members of its own.
        main: the files without which the volume cannot be understood.
    """
    own = Changes()

    @own.preserving("unknown attributes", on_files=True)
    def _unknown(files: Rendered, rng: random.Random) -> None:
        for home in homes(files):
            name = rng.choice(["x_note", "created_by", "éèê", "lab:session"])
            home[name] = rng.choice(["em", 7, None, {"a": [1]}, "µm"])

    @own.destroying("metadata cut off", _is_not_doubled, on_files=True)
    def _cut(files: Rendered, rng: random.Random) -> None:
        name = rng.choice(main(files))
        text = json.dumps(files.documents.pop(name), **files.layout)
        files.files[name] = text[: rng.randrange(0, len(text.rstrip()) - 1)].encode()

    return own, FORM, DAMAGE


def _is_not_doubled(files: Rendered) -> bool:
    """Whether there is no copy of the metadata (`.zmetadata` of Zarr v2), from which they may be read."""
    return not any(name.endswith(".zmetadata") for name in files.documents)


#: The form of a document.
FORM = Changes()


@FORM.preserving("members in another order", on_files=True)
def _order(files: Rendered, rng: random.Random) -> None:
    files.documents = {name: shuffled(document, rng) for name, document in files.documents.items()}


@FORM.preserving("other white space", on_files=True)
def _space(files: Rendered, rng: random.Random) -> None:
    indent = rng.choice([0, 1, 4, "\t"])
    files.layout |= {"indent": indent, "separators": rng.choice([(",", ":"), (" , ", " : ")])}


@FORM.preserving("no white space", on_files=True)
def _compact(files: Rendered, rng: random.Random) -> None:
    files.layout |= {"separators": (",", ":")}


@FORM.preserving("text as \\u escapes or as UTF-8", on_files=True)
def _escapes(files: Rendered, rng: random.Random) -> None:
    files.layout["ensure_ascii"] = rng.random() < 0.5


#: Changes of a document of which nobody can say what follows.
DAMAGE = Changes()


@DAMAGE.undecidable("bytes of the metadata flipped", on_files=True)
def _flip(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(sorted(files.documents))
    text = bytearray(json.dumps(files.documents.pop(name), **files.layout).encode())
    for _ in range(rng.randint(1, 3)):
        text[rng.randrange(len(text))] ^= 1 << rng.randrange(8)
    files.files[name] = bytes(text)


@DAMAGE.undecidable("a value of the metadata exchanged", on_files=True)
def _exchange(files: Rendered, rng: random.Random) -> None:
    holder, key = rng.choice(list(places(files.documents[rng.choice(sorted(files.documents))])) or [({}, "x")])
    holder[key] = rng.choice(STRANGE)


@DAMAGE.undecidable("a member of the metadata left out", on_files=True)
def _leave_out(files: Rendered, rng: random.Random) -> None:
    holder, key = rng.choice(list(places(files.documents[rng.choice(sorted(files.documents))])) or [({"x": 0}, "x")])
    del holder[key]


@DAMAGE.undecidable("a whole document exchanged", on_files=True)
def _replace(files: Rendered, rng: random.Random) -> None:
    files.documents[rng.choice(sorted(files.documents))] = rng.choice(STRANGE)


@DAMAGE.undecidable("an item of the metadata doubled", on_files=True)
def _double(files: Rendered, rng: random.Random) -> None:
    document = files.documents[rng.choice(sorted(files.documents))]
    lists = [v for holder, key in places(document) if isinstance(v := holder[key], list) and v]
    if lists:
        chosen = rng.choice(lists)
        chosen.insert(rng.randrange(len(chosen)), rng.choice(chosen))


@DAMAGE.undecidable("one file left out", on_files=True)
def _lose(files: Rendered, rng: random.Random) -> None:
    held = rng.choice([files.documents, files.files])
    del held[rng.choice(sorted(held))]


def shuffled(value: Any, rng: random.Random) -> Any:
    """The same value with the members of all objects in another order."""
    if isinstance(value, dict):
        names = list(value)
        rng.shuffle(names)
        return {name: shuffled(value[name], rng) for name in names}
    return [shuffled(item, rng) for item in value] if isinstance(value, list) else value


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key or index) of every value inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


def floated(value: Any, names: tuple[str, ...], inside: bool = False) -> None:
    """Turn whole numbers into floats, in members of these names."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        here = inside or key in names
        if here and type(inner) is int:
            value[key] = float(inner)
        floated(inner, names, here)
