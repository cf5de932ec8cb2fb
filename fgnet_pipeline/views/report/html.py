"""Elements of the page: escaped text, tables, lists and the page around them. Everything is in one file."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Marks a page as ours, so that no other file is replaced by a report.
GENERATOR = '<meta name="generator" content="fgnet report">'
#: Neither the page nor the pictures in it load anything.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1b1b1f; font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
header, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 1.2rem 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .5rem; padding-top: .6rem; border-top: 1px solid #d5d7de; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
a { color: #0b57a4; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; margin: .8rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e3e5ea; vertical-align: top; }
thead th { border-bottom: 1px solid #9a9fac; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; }
tbody th { font-weight: 500; white-space: nowrap; }
td.p { white-space: nowrap; }
.warn, .lack { border-left: 4px solid #b45309; background: #fff7ea; padding: .5rem .8rem; margin: .6rem 0; }
.lack { border-color: #6b7280; background: #f4f5f7; }
.warn ul, .lack ul { margin: .2rem 0; padding-left: 1.2rem; }
.how { color: #44464f; }
figure { margin: 0 0 .8rem; }
figcaption { font-size: .85rem; color: #44464f; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(9rem, 100%), 1fr)); gap: .6rem; }
@media (min-width: 50rem) { .pictures { grid-template-columns: repeat(4, 1fr); } }
.pictures img { width: 100%; height: auto; display: block; image-rendering: pixelated; background: #000; }
.charts { display: flex; flex-wrap: wrap; gap: 1.2rem; }
.charts figure { flex: 1 1 20rem; max-width: 34rem; min-width: 0; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 13px system-ui, sans-serif; fill: #33353d; }
footer { color: #44464f; font-size: .85rem; margin-top: 2.5rem; padding-bottom: 2rem; }
"""


class Html(str):
    """Text that is HTML already. All other text is escaped."""


@dataclass
class Section:
    """One section of the page.

    Attributes:
        key: anchor.
        title: heading.
        parts: elements, from top to bottom.
        warnings: sentences that the top of the page repeats.
    """

    key: str
    title: str
    parts: list[Html] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, *parts: Html) -> Section:
        """Append elements."""
        self.parts += parts
        return self

    def html(self) -> Html:
        """The whole section, with its warnings below the heading."""
        body = "\n".join([*([box("warn", self.warnings)] if self.warnings else []), *self.parts])
        return Html(f'<section id="{self.key}" aria-labelledby="{self.key}-title">\n'
                    f'<h2 id="{self.key}-title">{text(self.title)}</h2>\n{body}\n</section>')  # fmt: skip


def text(value: Any) -> Html:
    """A value as HTML text."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def paragraph(value: Any, kind: str = "") -> Html:
    """A paragraph; `kind` is its class."""
    return Html(f"<p{_class(kind)}>{text(value)}</p>")


def how(value: str) -> Html:
    """A paragraph that says how something is measured or read."""
    return paragraph(value, "how")


def heading(value: str) -> Html:
    """A heading inside a section."""
    return Html(f"<h3>{text(value)}</h3>")


def box(kind: str, sentences: Iterable[str]) -> Html:
    """Sentences that stand out: `warn`, something to look at; `lack`, something is not there."""
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return Html(f'<div class="{kind}"><ul>{items}</ul></div>')


def lacking(sentences: Iterable[str]) -> Html:
    """A paragraph that says which part of a result is missing, and why."""
    return box("lack", sentences)


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Html:
    """A table. The first cell of a row names it; cells that hold numbers stand on the right.

    Args:
        caption: above the table.
        columns: names.
        rows: cells, text or numbers that are formatted already; as many per row as there are columns.
    """
    rows = [list(row) for row in rows]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    named = zip(columns, right, strict=True)
    head = "".join(f'<th scope="col"{_class("n" if r else "")}>{text(c)}</th>' for c, r in named)
    body = "\n".join(f"<tr>{_cells(row, right)}</tr>" for row in rows)
    return Html(f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}">\n<table>'
                f"<caption>{text(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
                f"<tbody>\n{body}\n</tbody></table></div>")  # fmt: skip


def _cells(row: Sequence[Any], right: Sequence[bool]) -> str:
    cells = [f'<th scope="row"{_class("n" if right[0] else "")}>{text(row[0])}</th>']
    for cell, is_number in zip(row[1:], right[1:], strict=True):
        kind = "n" if is_number else "p" if len(str(cell)) < 40 else ""
        cells.append(f"<td{_class(kind)}>{text(cell)}</td>")
    return "".join(cells)


def _is_number(cell: Any) -> bool:
    plain = str(cell).replace("\u202f", "").rstrip("%").strip()
    return plain in ("", "-") or plain.replace(".", "", 1).replace("e-", "", 1).lstrip("-").isdecimal()


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def picture(data: bytes, kind: str, alt: str, size: tuple[int, int], caption: str) -> Html:
    """A picture that lies in the page.

    Args:
        data: of the file.
        kind: `"png"` or `"jpeg"`.
        alt: what it shows.
        size: width and height at which it has true proportions.
        caption: below it.
    """
    coded = base64.b64encode(data).decode()
    image = f'<img alt="{text(alt)}" width="{size[0]}" height="{size[1]}" src="data:image/{kind};base64,{coded}">'
    return Html(f"<figure>{image}<figcaption>{text(caption)}</figcaption></figure>")


def group(kind: str, members: Iterable[Html]) -> Html:
    """Elements side by side, as far as the width of the screen allows: `pictures` or `charts`."""
    return Html(f'<div class="{kind}">\n' + "\n".join(members) + "\n</div>")


def page(title: str, summary: Iterable[Html], sections: Sequence[Section], end: str) -> str:
    """The whole document.

    Args:
        title: of the page.
        summary: elements above the sections.
        sections: in order.
        end: sentence of the footer.
    """
    links = "".join(f'<li><a href="#{s.key}">{text(s.title)}</a></li>' for s in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{GENERATOR}\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<title>{text(title)}</title>\n<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        f"<header>\n<h1>{text(title)}</h1>\n" + "\n".join(summary) + f'\n<nav aria-label="Sections"><ul>{links}</ul>'
        "</nav>\n</header>\n<main>\n" + "\n".join(section.html() for section in sections)
        + f"\n</main>\n<footer>\n<p>{text(end)}</p>\n</footer>\n</body>\n</html>\n"
    )  # fmt: skip
