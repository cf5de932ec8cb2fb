"""numba's decorators, with compiled code kept in a folder that can be written, or else not kept.

numba keeps compiled code beside the source. If the installation is read-only, it takes a folder below HOME, and if that
cannot be written either, it refuses to compile. Therefore every kernel takes its decorator from this module, which
chooses the folder when it is imported: before any kernel is compiled, and in every process anew, because a node of a
cluster has another temporary folder than the machine that submits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numba

from fgnet_pipeline.core.cache_folder import cache_folder, is_writable

PACKAGE = Path(__file__).parent
_SETTINGS: Any = numba.config


def _is_kept() -> bool:
    """Choose the folder of compiled code; False if no folder can be written."""
    if _SETTINGS.CACHE_LOCATOR_CLASSES or (_SETTINGS.CACHE_DIR and _can_be_made(Path(_SETTINGS.CACHE_DIR))):
        return True  # the user's own settings (NUMBA_CACHE_LOCATOR_CLASSES, NUMBA_CACHE_DIR)
    if all(_can_be_made(folder / "__pycache__") for folder in _folders()):
        return True
    folder = cache_folder(f"kernels-{_digest()}")
    if folder is not None:
        _SETTINGS.CACHE_DIR = str(folder)
    return folder is not None


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


#: Whether compiled code is kept for the next process.
KEPT = _is_kept()
njit: Any = partial(numba.njit, cache=KEPT)
cfunc: Any = partial(numba.cfunc, cache=KEPT)
