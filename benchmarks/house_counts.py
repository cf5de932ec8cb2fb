"""How the house stands: counts of the source that should not grow, and docstrings drawn for a reader.

    python benchmarks/house_counts.py                              # the counts
    python benchmarks/house_counts.py --bounds                     # what is above its bound; then the exit code is 1
    python benchmarks/house_counts.py --docstrings 40 --seed 7     # forty docstrings to read, drawn by that seed

What the counts mean:

- entries: packages and modules directly in `fgnet_pipeline` (`__init__` and `__main__` are two of them).
- back up: contracts of setup.cfg that are broken; the one about rooms is exhaustive, so no module is left out.
- files with NAME: modules of the package that name one fragments method, score or stage. One is its own file; another
  file that holds the name is a place that a newcomer might have to edit.
- files with the cluster's words: modules in which a word of Slurm stands.
- long functions: those of the package and the model with more than 40 lines beside their docstring,
  or more than 7 parameters.
- over 300: files of Python with more lines than that, tests and benchmarks included.
- duplicates: pairs of places in the package and the model that share six or more lines of code, white space, comments,
  imports and lone punctuation left out.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE, MODEL = CHECKOUT / "fgnet_pipeline", CHECKOUT / "model" / "fgnet"
LONGEST, SHARED_LINES, LONGEST_FUNCTION, MOST_PARAMETERS = 300, 6, 40, 7
CLUSTER_WORDS = re.compile(r"slurm|sbatch|squeue|sacct|scancel|scontrol", re.IGNORECASE)
#: One of each kind whose name is no word that other code needs.
NAMES = {"fragments method": "waterz", "score": "quantile", "stage": "relabel"}


def sources(*roots: Path) -> list[Path]:
    """Python files below some folders, sorted."""
    return sorted(path for root in roots for path in root.rglob("*.py"))


def entries() -> list[str]:
    """What is directly in the package."""
    return sorted(p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists())


def broken_contracts() -> int:
    """Import contracts that are broken, by import-linter."""
    command = [str(Path(sys.executable).parent / "lint-imports")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    found = re.search(r"(\d+) broken", done.stdout)
    return int(found[1]) if found else -1


def files_with(pattern: re.Pattern[str]) -> list[str]:
    """Modules of the package whose text matches."""
    return [str(path.relative_to(CHECKOUT)) for path in sources(PACKAGE) if pattern.search(path.read_text())]


def files_naming(kind: str) -> list[str]:
    """Modules of the package that name the one of `NAMES` of this kind, as text."""
    return files_with(re.compile(rf"[\"'`]{NAMES[kind]}[\"'`]"))


def code_lines(path: Path) -> list[tuple[int, str]]:
    """(number, text) of the lines that count for duplicates."""
    found, skip = [], set[int]()
    for node in ast.walk(ast.parse(path.read_text())):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            skip |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = " ".join(line.split("  # ")[0].split())
        if number not in skip and re.search(r"\w", text) and not text.startswith("#"):
            found.append((number, text))
    return found


def duplicates() -> list[tuple[str, int, str, int, int]]:
    """(file, line, other file, line, shared lines) of every longest run that stands twice."""
    lines = {path: code_lines(path) for path in sources(PACKAGE, MODEL)}
    places = defaultdict(list)
    for path, code in lines.items():
        for at in range(len(code) - SHARED_LINES + 1):
            places[tuple(text for _, text in code[at : at + SHARED_LINES])].append((path, at))
    found, seen = [], set()
    for same in places.values():
        for (one, at), (other, there) in ((a, b) for i, a in enumerate(same) for b in same[i + 1 :]):
            if (one, at - 1, other, there - 1) not in seen:
                length = SHARED_LINES + sum(1 for _ in extension(lines[one], at, lines[other], there))
                found.append((name(one), lines[one][at][0], name(other), lines[other][there][0], length))
            seen.add((one, at, other, there))
    return found


def extension(one: list[tuple[int, str]], at: int, other: list[tuple[int, str]], there: int) -> Iterator[None]:
    """One item for every line beyond the first run that is the same, too."""
    for a, b in zip(one[at + SHARED_LINES :], other[there + SHARED_LINES :], strict=False):
        if a[1] != b[1]:
            return
        yield None


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def docstrings() -> list[tuple[str, str]]:
    """(place, text) of every docstring of the package and the model."""
    found = []
    for path in sources(PACKAGE, MODEL):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                line = getattr(node, "lineno", 1)
                found.append((f"{name(path)}:{line}", text))
    return found


def functions() -> list[tuple[str, int, int]]:
    """(place, lines, parameters) of every function of the package and the model; docstring and `self` left out."""
    found = []
    for path in sources(PACKAGE, MODEL):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                given = [a for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs] if a.arg != "self"]
                text = ast.get_docstring(node, clean=False)
                lines = (node.end_lineno or node.lineno) - node.lineno + 1 - (len(text.splitlines()) if text else 0)
                found.append((f"{name(path)}:{node.name}", lines, len(given)))
    return found


def file_lengths() -> dict[str, int]:
    """Lines of every file of Python, tests and benchmarks included."""
    folders = (PACKAGE, MODEL, CHECKOUT / "tests", CHECKOUT / "benchmarks")
    return {name(path): len(path.read_text().splitlines()) for path in sources(*folders)}


def above_bounds() -> list[str]:
    """One line per count that is above its bound."""
    counts: dict[str, tuple[list[str], int]] = {
        "entries in the package": (entries(), 15),
        "files with the cluster's words": (files_with(CLUSTER_WORDS), 2),
        **{f"files with the {kind} {NAMES[kind]!r}": (files_naming(kind), 2) for kind in ("fragments method", "score")},
        f"files over {LONGEST} lines": ([file for file, lines in file_lengths().items() if lines > LONGEST], 0),
        "duplicated places": ([f"{one}:{line} ~ {other}:{there}" for one, line, other, there, _ in duplicates()], 1),
    }
    return [f"{what}: {len(f)}, at most {most}: {', '.join(f)}" for what, (f, most) in counts.items() if len(f) > most]


def print_counts() -> None:
    long = file_lengths()
    longest = max(long, key=lambda p: long[p])
    shared = duplicates()
    print(f"entries in the package: {len(entries())}: {', '.join(entries())}")
    print(f"import contracts broken: {broken_contracts()}")
    for kind, word in NAMES.items():
        where = files_naming(kind)
        print(f"files with the {kind} {word!r}: {len(where)}: {', '.join(where)}")
    words = files_with(CLUSTER_WORDS)
    print(f"files with the cluster's words: {len(words)}: {', '.join(words)}")
    print(f"longest file: {long[longest]} lines ({longest}); over {LONGEST}: {sum(n > LONGEST for n in long.values())}")
    many = [f for f in functions() if f[1] > LONGEST_FUNCTION or f[2] > MOST_PARAMETERS]
    print(f"long functions: {len(many)}")
    for place, lines, parameters in many:
        print(f"  {place}: {lines} lines, {parameters} parameters")
    print(f"duplicated places: {len(shared)}")
    for one, line, other, there, length in shared:
        print(f"  {one}:{line} ~ {other}:{there} ({length} lines)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docstrings", type=int, help="print so many docstrings instead of the counts")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--bounds", action="store_true", help="print only what is above its bound")
    options = parser.parse_args()
    if options.bounds:
        above = above_bounds()
        print("\n".join(above) or "all counts are within their bounds")
        sys.exit(1 if above else 0)
    if options.docstrings is None:
        print_counts()
        return
    for place, text in random.Random(options.seed).sample(docstrings(), options.docstrings):
        print(f"== {place}\n{text}\n")


if __name__ == "__main__":
    main()
