"""The name that a user probably meant, for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fgnet_pipeline.core.errors import InputError

#: Similarity (`difflib.SequenceMatcher.ratio`) from which a name is suggested.
SIMILAR = 0.6


def closest(name: str, known: Iterable[str], similar: float = SIMILAR) -> str | None:
    """The known name that is most similar to `name`, whatever its case; None if none is similar.

    Args:
        name: what was typed.
        known: names that exist.
        similar: least similarity, in [0, 1].
    """
    names = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), names, 1, similar)
    return names[found[0]] if found else None


def did_you_mean(name: object, known: Iterable[str], otherwise: str) -> str:
    """The remedy of an error about an unknown name: a suggestion if there is one, else `otherwise`.

    Args:
        name: what was typed; only a text has a suggestion.
        known: names that exist.
        otherwise: a clause that says what the user can do.
    """
    found = closest(name, known) if isinstance(name, str) else None
    return otherwise if found is None else f"did you mean {found}?"


def unknown_choice(
    field: str, value: object, known: Iterable[str], otherwise: str = "choose one of them"
) -> InputError:
    """The error for a value that is none of the known names.

    Args:
        field: the key or option.
        value: what was found.
        known: names that exist.
        otherwise: a clause that says what the user can do, if no name is similar.
    """
    names = list(known)
    return InputError(field, value, f"one of {', '.join(names)}", did_you_mean(value, names, otherwise))
