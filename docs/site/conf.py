"""Settings of Sphinx for the documentation site, which `make docs` builds into `site/`.

The pages are the Markdown files of the repository as they are, so they read the same here and on GitHub. The
navigation is made from the tables of `docs/README.md` and `benchmarks/results/README.md`: a page that neither of them
lists is an error, as every other warning is.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from sphinx.application import Sphinx

CHECKOUT = Path(__file__).resolve().parents[2]

project = "FGNet pipeline"
html_title = project
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "benchmarks/results/*.md"]
# Folders that may hold thousands of files: Sphinx need not look into them.
exclude_patterns = [".*", "build", "demo", "dist", "runs", "site", "tests", "fgnet_pipeline", "model"]

# The anchors that GitHub gives to headings.
myst_heading_anchors = 4
highlight_language = "text"

html_theme = "furo"
# The theme shows no link to the source, and no file is loaded from elsewhere: the site opens without a network.
html_copy_source = False
html_show_sourcelink = False
templates_path = ["templates"]
html_additional_pages = {"index": "index.html"}


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the hidden lists of pages that Sphinx makes its sidebar from.

    Args:
        app: of Sphinx; it is told that the page changes if the list does.
        docname: page that is read.
        source: its text, changed in place.
    """
    if docname == root_doc:
        app.env.note_dependency(str(CHECKOUT / "docs" / "README.md"))
        source[0] += toctree(["docs/README", "docs/architecture", "CONTRIBUTING", "CHANGELOG"])
        for heading, text in sections_of("docs/README.md"):
            source[0] += toctree([page for page in pages_of(text, "docs") if page != root_doc], heading)
    elif docname == "benchmarks/results/README":
        pages = pages_of("".join(text for _, text in sections_of(f"{docname}.md")), "benchmarks/results")
        source[0] += toctree(pages, folder="benchmarks/results")


def sections_of(file: str) -> list[tuple[str, str]]:
    """The sections of a file, each as the heading up to its colon and the tables below it."""
    text = (CHECKOUT / file).read_text(encoding="utf-8")
    found = []
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        rows = "\n".join(line for line in body.splitlines() if line.startswith("|"))
        if rows:
            found.append((heading.partition(":")[0], rows))
    return found


def pages_of(text: str, folder: str) -> list[str]:
    """The pages that the rows of a table link to in their first column."""
    links = re.findall(r"^\| \[[^\]]*\]\(([^)#]+)\.md\)", text, flags=re.MULTILINE)
    return [posixpath.normpath(posixpath.join(folder, link)) for link in links]


def toctree(pages: list[str], caption: str = "", folder: str = ".") -> str:
    """A hidden list of pages below a caption, in MyST's Markdown."""
    entries = "\n".join(posixpath.relpath(page, folder) for page in pages)
    options = ":hidden:\n" + (f":caption: {caption}\n" if caption else "")
    return f"\n\n```{{toctree}}\n{options}\n{entries}\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
