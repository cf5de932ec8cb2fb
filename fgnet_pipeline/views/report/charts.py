"""Charts as SVG inside the page: text stays text, so that a screen reader and a search find it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fgnet_pipeline.views.report.html import Html, text

#: Size of a chart in units of its own; it is drawn as wide as the page allows.
_WIDTH, _HEIGHT = 440, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 44
_COLOURS = ("#0b57a4", "#b3261e", "#7a5901", "#1f1f24")
_DASHES = ("", "7 3", "2 3", "10 3 2 3")


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: for the legend.
        x: positions, rising.
        y: values, as many.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Axes:
    """Titles and ranges of the axes of a line chart.

    Attributes:
        title: below the chart.
        x: what x is.
        y: what y is.
        marks: x -> name of a vertical line.
        as_share: whether values of y are shares, drawn from 0 to 1.
        points: whether every value is marked.
    """

    title: str
    x: str
    y: str
    marks: dict[float, str]
    as_share: bool = True
    points: bool = False


def lines(axes: Axes, drawn: Sequence[Line]) -> Html:
    """A chart of lines."""
    low, high = min(line.x[0] for line in drawn), max(line.x[-1] for line in drawn)
    top = 1.0 if axes.as_share else 1.05 * max(max(line.y) for line in drawn) or 1.0
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + wide * (x - low) / ((high - low) or 1), _TOP + tall * (1 - y / top)

    parts = [_frame(axes, low, high, top)]
    for x, name in axes.marks.items():
        at, _ = place(x, 0)
        side, shift = ("end", -4) if at > _WIDTH / 2 else ("start", 4)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{_TOP + tall}" stroke="#5f6368" '
                     f'stroke-dasharray="3 3"/><text x="{at + shift:.1f}" y="{_TOP + 12}" text-anchor="{side}">'
                     f"{text(name)}</text>")  # fmt: skip
    for i, line in enumerate(drawn):
        places = [place(x, y) for x, y in zip(line.x, line.y, strict=True)]
        path, colour = " ".join(f"{x:.1f},{y:.1f}" for x, y in places), _COLOURS[i % len(_COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
                     f'stroke-dasharray="{_DASHES[i % len(_DASHES)]}"/>')  # fmt: skip
        if axes.points:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    legend = [line.name for line in drawn] if len(drawn) > 1 else []
    return _figure(axes.title, parts, _HEIGHT + 20 * len(legend), legend)


def _frame(axes: Axes, low: float, high: float, top: float) -> str:
    """Ticks, grid lines and names of the axes."""
    wide, tall, parts = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM, []
    for i in range(5):
        y, value = _TOP + tall * (1 - i / 4), top * i / 4
        label = f"{100 * value:.0f}%" if axes.as_share else f"{value:.3g}"
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e1e3e8"/>'
                     f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')  # fmt: skip
        x, value = _LEFT + wide * i / 4, low + (high - low) * i / 4
        anchor = "end" if i == 4 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{_TOP + tall + 17}" text-anchor="{anchor}">{value:.3g}</text>')
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{text(axes.x)}</text>')
    return "".join(parts)


def bars(title: str, names: Sequence[str], values: Sequence[float], labels: Sequence[str]) -> Html:
    """A chart of horizontal bars.

    Args:
        title: below the chart.
        names: left of each bar.
        values: at least 0.
        labels: right of each bar.
    """
    left, row, most = 86, 24, max([*values, 0]) or 1
    parts = []
    for i, (name, value, label) in enumerate(zip(names, values, labels, strict=True)):
        y, length = 6 + row * i, (_WIDTH - left - 80) * value / most
        parts.append(f'<text x="{left - 6}" y="{y + 14}" text-anchor="end">{text(name)}</text>'
                     f'<rect x="{left}" y="{y + 2}" width="{length:.1f}" height="16" fill="{_COLOURS[0]}"/>'
                     f'<text x="{left + length + 6:.1f}" y="{y + 14}">{text(label)}</text>')  # fmt: skip
    return _figure(title, parts, 12 + row * len(names), [])


def _figure(title: str, parts: Sequence[str], height: float, legend: Sequence[str]) -> Html:
    for i, name in enumerate(legend):
        y = _HEIGHT + 20 * i + 6
        parts = [*parts, f'<line x1="{_LEFT}" x2="{_LEFT + 34}" y1="{y}" y2="{y}" stroke="{_COLOURS[i]}" '
                 f'stroke-width="2" stroke-dasharray="{_DASHES[i]}"/><text x="{_LEFT + 42}" y="{y + 4}">'
                 f"{text(name)}</text>"]  # fmt: skip
    return Html(f'<figure><svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{text(title)}">'
                + "".join(parts) + f"</svg><figcaption>{text(title)}</figcaption></figure>")  # fmt: skip
