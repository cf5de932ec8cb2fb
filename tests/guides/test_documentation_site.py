"""The documentation site builds without a warning, holds every document, and loads nothing from elsewhere."""

from __future__ import annotations

import html.parser
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pipeline_tools import CHECKOUT

#: Attributes of HTML by which a browser loads something without a click. `href` loads in `link` only.
LOADS = ("src", "srcset", "poster", "data", "action", "formaction", "background", "manifest", "ping")
ELSEWHERE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)


class Page(html.parser.HTMLParser):
    """What a page loads, where its links lead, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.add(values.get("id", ""))
        self.loaded += [values[name] for name in LOADS if name in values]
        if "href" in values:
            (self.links if tag in ("a", "area") else self.loaded).append(values["href"])
        self.loaded += addresses_of_style(values.get("style", ""))


def addresses_of_style(text: str) -> list[str]:
    """What CSS loads: `url(...)`, and `@import` with or without it."""
    return re.findall(r"""url\(\s*['"]?([^'")]+)""", text) + re.findall(r"""@import\s+['"]([^'"]+)""", text)


def addresses_of_script(text: str) -> list[str]:
    """Addresses in texts of JavaScript; comments and the names of XML namespaces load nothing."""
    found = re.findall(
        r"""["'`]((?:https?:|wss?:)?//[^"'`\s]+)["'`]""", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    )
    return [address for address in found if not address.startswith("http://www.w3.org/")]


def loaded_by(file: Path) -> list[str]:
    """Addresses elsewhere that a file of the site loads."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".html":
        addresses = Page(text).loaded
        addresses += [
            a for style in re.findall(r"<style.*?</style>", text, re.DOTALL) for a in addresses_of_style(style)
        ]
        scripts = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
        addresses += [a for script in scripts for a in addresses_of_script(script)]
    else:
        addresses = addresses_of_style(text) if file.suffix == ".css" else addresses_of_script(text)
    return [address for address in addresses if ELSEWHERE.match(address)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by the command of `make docs` into another folder."""
    folder = tmp_path_factory.mktemp("site")
    (line,) = re.findall(r"^\t\$\(BIN\)/sphinx-build (.*) site$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    words = shlex.split(line.replace("build/doctrees", str(folder / "doctrees")))
    command = [sys.executable, "-m", "sphinx", *words, str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_document_is_a_page(site: Path) -> None:
    documents = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("benchmarks/results/*.md")]
    pages = [site / path.relative_to(CHECKOUT).with_suffix(".html") for path in documents]
    assert len(pages) > 60 and [page for page in pages if not page.exists()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".js", ".svg")]
    assert {path.suffix for path in files} >= {".html", ".css", ".js"}
    assert {str(file.relative_to(site)): found for file in files if (found := loaded_by(file))} == {}


def test_links_and_anchors_of_the_site_lead_somewhere(site: Path) -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in (
            link for link in [*page.links, *page.loaded] if not urlsplit(link).scheme and not ELSEWHERE.match(link)
        ):
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.test/a.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//cdn.test/a.css">'),
        ("a.html", '<img srcset="https://cdn.test/a.png 2x">'),
        ("a.html", "<style>@import 'https://cdn.test/a.css';</style>"),
        ("a.html", '<p style="background: url(https://cdn.test/a.png)">'),
        ("a.html", "<script>fetch('https://cdn.test/a')</script>"),
        ("a.css", "@font-face { src: url('https://cdn.test/a.woff2') }"),
        ("a.js", 'import("https://cdn.test/a.js")'),
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert len(loaded_by(tmp_path / name)) == 1


def test_a_link_in_text_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="https://a.test/">a</a> https://b.test/ <img src="_static/a.png">')
    assert loaded_by(tmp_path / "a.html") == []
