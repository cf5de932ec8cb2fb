"""What documents name must exist: links, anchors, commands, options, files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from pipeline_tools import CHECKOUT

from fgnet_pipeline.commands.cli import app

DOCUMENTS = sorted(
    path
    for path in CHECKOUT.rglob("*.md")
    if not {part for part in path.relative_to(CHECKOUT).parts if part.startswith(".") or part in ("demo", "runs")}
)
#: Files whose text sends a reader to a document.
SOURCES = sorted(
    path
    for folder in ("fgnet_pipeline", "model", "benchmarks", "configs", "tests", "workflows")
    for path in (CHECKOUT / folder).rglob("*")
    if path.suffix in (".py", ".toml")
)
#: A file may be named from any of these folders on.
ROOTS = (CHECKOUT, CHECKOUT / "fgnet_pipeline", CHECKOUT / "model" / "fgnet")
#: Files of other repositories.
ELSEWHERE = ("evaluation/NeuronIds.py",)
UPPER_CASE = ("README", "CHANGELOG", "CONTRIBUTING")
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))


def code_of(text: str) -> Iterator[str]:
    """The lines of fences and of indented code; a line that ends in a backslash is joined with the next."""
    fenced, held = False, ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if fenced or line.startswith("    "):
            held += line.strip()
            if held.endswith("\\"):
                held = held[:-1]
                continue
            yield held
        held = ""


def prose_of(text: str) -> str:
    """The text without its fences."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors_of(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document, and those that its HTML names."""
    found: dict[str, int] = {}
    prose = prose_of(document.read_text())
    anchors = set(re.findall(r"""<[^>]+\b(?:id|name)=["']([^"']+)""", prose))
    for title in re.findall(r"^#+ +(.*?)(?: +#+)? *$", prose, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
        anchors.add(f"{anchor}-{found[anchor]}" if found[anchor] else anchor)
    return anchors


def links_of(text: str) -> list[str]:
    """Where the links and pictures of a document lead: `[a](b)`, `[a](b "c")`, `[a]: b`, and HTML; not in code."""
    prose = re.sub(r"`[^`\n]+`", "`", prose_of(text))
    return [
        *re.findall(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)", prose),
        *re.findall(r"^ {0,3}\[[^\]]+\]:\s+<?([^\s>]+)", prose, flags=re.MULTILINE),
        *re.findall(r"""<[^>]+\b(?:href|src)=["']([^"']+)""", prose),
    ]


def broken_links(document: Path, text: str) -> list[str]:
    """Links of a document that lead to no file of the checkout, or to no heading of a document."""
    broken = []
    for target in links_of(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        inside = path.is_relative_to(CHECKOUT) and path.exists()
        if not inside or (anchor and (path.suffix != ".md" or anchor not in anchors_of(path))):
            broken.append(target)
    return broken


@documents
def test_links_lead_to_files_and_headings(document: Path) -> None:
    assert broken_links(document, document.read_text()) == []


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[a](docs/README.md) [b](docs/README.md#documents) [c](#fgnet-pipeline) [d](https://a.b/c#d)", []),
        ("`[a](none.md)`\n```\n[a](none.md)\n```", []),
        ("[a](none.md)", ["none.md"]),
        ('[a](none.md "title")', ["none.md"]),
        ("[a](\nnone.md)", ["none.md"]),
        ("![a](docs/none.png)", ["docs/none.png"]),
        ("[a][b]\n\n[b]: none.md", ["none.md"]),
        ('<img src="docs/none.png" width="400">', ["docs/none.png"]),
        ("[a](docs/README.md#Documents)", ["docs/README.md#Documents"]),
        ("[a](#none)", ["#none"]),
        ("[a](Makefile#demo)", ["Makefile#demo"]),
        ("[a](../README.md)", ["../README.md"]),
        ("[a](/docs/README.md)", ["/docs/README.md"]),
    ],
)
def test_a_broken_link_is_found(text: str, broken: list[str]) -> None:
    assert broken_links(CHECKOUT / "README.md", text) == broken


def test_anchors_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '# Write `a.b_c`, then [run](x.md)!\n```\n# no heading\n```\n## Twice\n## Twice ##\n<a id="own"></a>\n'
    )
    assert anchors_of(page) == {"write-ab_c-then-run", "twice", "twice-1", "own"}


@documents
def test_files_that_a_document_names_exist(document: Path) -> None:
    named = re.findall(r"(?<![\w./:-])[\w.-]+(?:/[\w.-]+)*/[\w-]+\.(?:py|toml|md)\b", document.read_text())
    assert [name for name in named if not is_there(name, document)] == []


def is_there(name: str, document: Path) -> bool:
    """Whether a file is there; capital letters stand for a name that the reader chooses (`stages/NAME.py`)."""
    if re.search(r"(?<![A-Za-z])[A-Z]{2,}(?![A-Za-z])", Path(name).stem) and Path(name).stem not in UPPER_CASE:
        return True
    return name in ELSEWHERE or any((root / name).exists() for root in (*ROOTS, document.parent))


def test_documents_that_files_name_exist() -> None:
    named = {source: re.findall(r"docs/[\w./-]+\.md", source.read_text()) for source in SOURCES}
    missing = [
        f"{source.relative_to(CHECKOUT)}: {name}"
        for source, names in named.items()
        for name in names
        if not (CHECKOUT / name).exists()
    ]
    assert missing == []


@documents
def test_commands_and_options_exist(document: Path) -> None:
    text = document.read_text()
    inline = re.findall(r"`((?:fgnet|make|python) [^`]+)`", prose_of(text))
    wrong = [f"{line}: {reason}" for line in [*code_of(text), *inline] if (reason := problem_of(line))]
    assert wrong == []


def problem_of(line: str) -> str:
    """What is wrong with a line of shell; empty if nothing is, or if it runs no program of this repository."""
    for part in re.split(r"\s(?:&&|\||;)\s|\s#\s|\s<<", line):
        words = words_of(part)
        if words[:1] == ["fgnet"]:
            found = problem_of_fgnet(words[1:])
        elif words[:1] == ["make"]:
            found = problem_of_make(words[1:])
        elif len(words) > 1 and words[0] == "python" and words[1].startswith("benchmarks/"):
            found = problem_of_benchmark(words[1], words[2:])
        else:
            found = ""
        if found or words[:1] in (["fgnet"], ["make"]):
            return found
    return ""


def words_of(part: str) -> list[str]:
    """The words of a command; square brackets around what may be left out are dropped, redirections too."""
    plain = re.sub(r"(?<![=\w])\[(?=[-A-Z])|(?<=\w)\](?=\s|$)", " ", part.split(" > ")[0].removeprefix("$ "))
    try:
        return [word for word in shlex.split(plain, comments=True) if word not in ("&", "...")]
    except ValueError:  # an apostrophe: this is prose
        return []


def problem_of_fgnet(words: list[str]) -> str:
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            return ""
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    options = {name: option for option in command.params for name in option.opts if name.startswith("-")}
    arguments, position = 0, 0
    while position < len(words):
        name, equals, _ = words[position].partition("=")
        position += 1
        if not name.startswith("-"):
            arguments += 1
        elif name in ("--help", "-h"):
            continue
        elif name not in options:
            return f"no option {name}"
        elif not equals and not getattr(options[name], "is_flag", False):
            position += 1
    most = sum(parameter.param_type_name == "argument" for parameter in command.params)
    return f"{arguments} arguments for {most}" if arguments > most else ""


def problem_of_make(words: list[str]) -> str:
    targets = set(re.findall(r"^([\w.-]+):", (CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE))
    return next((f"no target {word}" for word in words if "=" not in word and word not in targets), "")


def problem_of_benchmark(script: str, words: list[str]) -> str:
    path = CHECKOUT / script
    if not path.exists():
        return f"no file {script}"
    known = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', path.read_text())) | {"--help"}
    used = [word.partition("=")[0] for word in words if word.startswith("--")]
    return next((f"no option {name}" for name in used if name not in known), "")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("fgnet run my.toml --set a.b=1  # fine", ""),
        ("fgnet model describe large --json", ""),
        ("fgnet evaluate A B [--begin z,y,x --end z,y,x] [--json]", ""),
        ("fgnet rum my.toml", "no command rum"),
        ("fgnet run my.toml --works 3", "no option --works"),
        ("fgnet run my.toml other.toml", "2 arguments for 1"),
        ("make tset", "no target tset"),
        ("python benchmarks/throughput.py --device cuda", ""),
        ("python benchmarks/throughput.py --machine cuda", "no option --machine"),
        ("python benchmarks/nothing.py", "no file benchmarks/nothing.py"),
    ],
)
def test_a_wrong_command_is_found(line: str, reason: str) -> None:
    assert problem_of(line) == reason


def test_every_table_of_results_is_listed() -> None:
    folder = CHECKOUT / "benchmarks" / "results"
    index = (folder / "README.md").read_text()
    names = {path.name for path in folder.glob("*.md")} - {"README.md"}
    assert [name for name in sorted(names) if f"({name})" not in index] == []


# Examples


def test_the_example_of_a_fragments_method_is_one() -> None:
    text = (CHECKOUT / "docs" / "guides" / "add-a-fragments-method.md").read_text()
    example: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0], example)
    affinities = np.full((3, 4, 6, 8), 255, np.uint8)
    affinities[:, :, :, 3:5] = 0
    mask = np.ones((4, 6, 8), bool)
    mask[0] = False
    settings = example["Settings"](mask=mask)
    labels = example["METHOD"].segment(affinities, settings, **example["METHOD"].resolve({}))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert ((labels == 0) == ~mask).all()


def uneven_rows(text: str) -> list[str]:
    """Rows of tables with another number of cells than the first row; a bar in code divides cells, too."""
    found, cells = [], 0
    for line in prose_of(text).splitlines():
        here = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        if cells and here and here != cells:
            found.append(line)
        cells = here and (cells or here)
    return found


@documents
def test_rows_of_tables_have_the_cells_of_the_header(document: Path) -> None:
    assert uneven_rows(document.read_text()) == []


def test_an_uneven_row_is_found() -> None:
    assert uneven_rows("| a | b |\n|---|---|\n| `x|y` | 1 |\n| `x\\|y` | 1 |") == ["| `x|y` | 1 |"]
