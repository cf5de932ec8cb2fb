"""Check every script given: prints one JSON line per script.

    python tests/benchmark_checks.py benchmarks/throughput.py ...

Each script runs in a fork of this process, which has imported what most scripts import, so that torch and numba are
imported once. A line holds the script, the exit code and output of `--help`, and the names of our modules that the
script imports or uses and that do not exist.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import io
import json
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

SHARED = ("torch", "fgnet.network", "fgnet_pipeline.execution.run", "fgnet_pipeline.kernels.fragments.method")


def main() -> None:
    for name in SHARED:
        importlib.import_module(name)
    for script in sys.argv[1:]:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            with os.fdopen(writing, "w") as out:
                json.dump(checked(Path(script)), out)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            sys.stdout.write(answer.read() + "\n")
        os.waitpid(child, 0)


def checked(script: Path) -> dict[str, object]:
    """What a line says of one script."""
    sys.path.insert(0, str(script.parent))
    missing = sorted(set(missing_names(ast.parse(script.read_text()))))
    code, out = help_of(script)
    return {"script": str(script), "code": code, "help": out, "missing": missing}


def help_of(script: Path) -> tuple[int, str]:
    """Exit code and output of `python SCRIPT --help`."""
    sys.argv = [str(script), "--help"]
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except Exception as error:
            code = 1
            out.write(f"{type(error).__name__}: {error}")
    return code, out.getvalue()


def missing_names(tree: ast.Module) -> Iterator[str]:
    """Names of our modules that the script imports or uses, and that do not exist. Other packages may be missing."""
    modules: dict[str, str] = {}
    for module, name, used_as in imports_of(tree):
        full = module if name is None else f"{module}.{name}"
        if not is_ours(module):
            continue
        if not exists(module) or (name is not None and not has(module, name)):
            yield full
        elif exists(full):
            modules[used_as] = full
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id, "")
            if module and not has(module, node.attr):
                yield f"{module}.{node.attr}"


def imports_of(tree: ast.Module) -> Iterator[tuple[str, str | None, str]]:
    """(module, name in it or None, name in the script) of every import, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, alias.name, alias.asname or alias.name) for alias in node.names)


def is_ours(module: str) -> bool:
    """Whether a module belongs to one of our packages, or is a script beside the one that is checked."""
    root = module.partition(".")[0]
    return root in ("fgnet", "fgnet_pipeline") or (Path(sys.path[0]) / f"{root}.py").exists()


def exists(module: str) -> bool:
    """Whether a module can be found."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def has(module: str, name: str) -> bool:
    """Whether a module has a name, or a package a module of that name."""
    return hasattr(importlib.import_module(module), name) or exists(f"{module}.{name}")


if __name__ == "__main__":
    main()
