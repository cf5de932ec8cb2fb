"""Keep pyarrow from importing pandas."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pyarrow as pa


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("not looked for", name=name)


def forgo_pandas() -> None:
    """Have pyarrow never import pandas in this process.

    pyarrow looks for pandas once, when it first makes or converts an array. If pandas is installed, the import costs
    every worker half a second of CPU, and nothing here converts to tables of pandas. A process that has loaded pandas
    before is left alone.
    """
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)
