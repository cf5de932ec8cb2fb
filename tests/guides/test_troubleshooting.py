"""Every message that the page on troubleshooting quotes is one that the program can print."""

from __future__ import annotations

import ast
import re

import pytest
from pipeline_tools import CHECKOUT

PAGE = CHECKOUT / "docs" / "troubleshooting.md"
#: Stands for a value in an f-string.
VALUE = "\0"


def texts_of(source: str) -> list[str]:
    """Every text of a module, with adjacent literals joined, and with `VALUE` for each value of an f-string."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values]
            found.append("".join(parts))
    return found


def is_in(quote: str, texts: list[str]) -> bool:
    """Whether one of the texts holds the quote; `...` stands for anything."""
    pattern = re.compile(".*".join(re.escape(part) for part in quote.split("...")), flags=re.DOTALL)
    return any(pattern.search(text) for text in texts)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """The texts of the package, without docstrings of several lines."""
    sources = sorted((CHECKOUT / "fgnet_pipeline").rglob("*.py"))
    return [text for path in sources for text in texts_of(path.read_text()) if "\n\n" not in text]


def test_every_quoted_message_stands_in_the_source(texts: list[str]) -> None:
    quotes = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert len(quotes) >= 20 and len(set(quotes)) == len(quotes)
    assert [quote for quote in quotes if not is_in(quote, texts)] == []


@pytest.mark.parametrize("quote", ["results of this configuration, and its ... stage is stale", "did you mean this?"])
def test_a_message_that_nobody_prints_is_found(quote: str, texts: list[str]) -> None:
    assert not is_in(quote, texts)
