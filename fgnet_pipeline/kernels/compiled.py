"""numba's decorators, for kernels that are compiled or loaded at their first call.

- numba is imported at the first call of a kernel: a command that calls none, for example `fgnet status`, does without
  it. The import costs a third of a second of CPU.
- numba keeps compiled code beside the source. If the installation is read-only, it takes a folder below HOME, and if
  that cannot be written either, it refuses to compile. Therefore this module chooses the folder before any kernel is
  compiled, or else compiled code is not kept. Every process chooses anew, because a node of a cluster has another
  temporary folder than the machine that submits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cache, cached_property, partial, update_wrapper
from pathlib import Path
from typing import Any

from fgnet_pipeline.core.cache_folder import cache_folder, is_writable

PACKAGE = Path(__file__).parent


class Kernel:
    """A function that numba compiles, or loads from its cache, at its first call.

    Other kernels call it as they call a function of numba: the properties are all that numba reads of it.

    Args:
        function: the body, in the part of Python that numba knows.
        options: further arguments of `numba.njit`.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._function, self._options = function, options
        update_wrapper(self, function)

    @cached_property
    def compiled(self) -> Any:
        """numba's own object. It compiles for the types of its arguments when it is called."""
        kept = is_kept()
        import numba

        return numba.njit(cache=kept, **self._options)(self._function)

    def __call__(self, *arguments: Any) -> Any:
        return self.compiled(*arguments)

    @property
    def py_func(self) -> Any:
        """The function itself, which numba inlines and tests call."""
        return self._function

    @property
    def targetoptions(self) -> Any:
        """The options as numba knows them, for example whether to inline."""
        return self.compiled.targetoptions

    @property
    def _numba_type_(self) -> Any:
        """The type by which numba compiles a call from another kernel."""
        return self.compiled._numba_type_


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """numba's `njit`, as `@njit` or `@njit(option=value)`; the function is compiled at its first call."""
    return partial(Kernel, options=options) if function is None else Kernel(function, options)


def cfunc(signature: str, function: Callable[..., Any]) -> Any:
    """numba's `cfunc`: compile or load a function of this signature now, as a value that kernels can be given."""
    kept = is_kept()
    import numba

    return numba.cfunc(signature, cache=kept)(function)


@cache
def is_kept() -> bool:
    """Choose the folder of compiled code, once; False if no folder can be written and the code is not kept."""
    import numba

    settings: Any = numba.config
    if settings.CACHE_LOCATOR_CLASSES or (settings.CACHE_DIR and _can_be_made(Path(settings.CACHE_DIR))):
        return True  # the user's own settings (NUMBA_CACHE_LOCATOR_CLASSES, NUMBA_CACHE_DIR)
    folder = _own_folder()
    if folder not in (None, PACKAGE):
        settings.CACHE_DIR = str(folder)
    return folder is not None


@cache
def was_compiled(file: str = "fragments/flood.py") -> bool:
    """Whether compiled code of a file of kernels was there at the first call; numba is not imported.

    It tells a user what a first run waits for. Code older than its source does not count.

    Args:
        file: relative to the folder of kernels.
    """
    source = PACKAGE / file
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else _own_folder()
    found = [] if folder is None else list(folder.rglob(f"{source.stem}.*.nbi"))
    return any(file.stat().st_mtime >= source.stat().st_mtime for file in found)


def _own_folder() -> Path | None:
    """The folder of compiled code, if the user chose none: that of the source, one of this user, or None."""
    if all(_can_be_made(folder / "__pycache__") for folder in _folders()):
        return PACKAGE
    return cache_folder(f"kernels-{_digest()}")


def _folders() -> Iterator[Path]:
    """Every folder that holds kernels."""
    for folder, children, _ in os.walk(PACKAGE):
        children[:] = [child for child in children if child != "__pycache__"]
        yield Path(folder)


def _can_be_made(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return is_writable(folder)


def _digest() -> str:
    """Of the source of all kernels. numba looks at a kernel's own file only, and not at the functions that it calls."""
    digest = hashlib.sha256()
    for folder in sorted(_folders()):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
