"""Counts of a campaign, and the table of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from campaign.cases import FORMATS, Verdict
from campaign.mutation import Kind

#: Heading of a column -> (kind, outcome); an outcome of None counts all.
COLUMNS: dict[str, tuple[Kind | None, str | None]] = {
    "cases": (None, None),
    "preserving": (Kind.PRESERVING, None),
    "wrong value": (Kind.PRESERVING, "wrong value"),
    "refused wrongly": (Kind.PRESERVING, "refused wrongly"),
    "destroying": (Kind.DESTROYING, None),
    "accepted": (Kind.DESTROYING, "accepted"),
    "undecidable": (Kind.UNDECIDABLE, None),
    "of these refused": (Kind.UNDECIDABLE, "refused"),
    "of these wrong": (Kind.UNDECIDABLE, "wrong value"),
    "faults": (None, "fault"),
}


@dataclass
class Tally:
    """What became of the cases.

    Attributes:
        seed: of the campaign.
        counts: (format, kind, outcome) -> cases.
        failures: verdicts that no case allows, in the order of the cases.
        tried: names of all changes that were made.
    """

    seed: int
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failures: list[Verdict] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)

    def add(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self.counts[verdict.form, verdict.kind, verdict.outcome] += 1
        self.tried.update(verdict.changes)
        if verdict.failed:
            self.failures.append(verdict)

    def count(self, form: str | None = None, kind: Kind | None = None, outcome: str | None = None) -> int:
        """Cases of a format, kind and outcome; None counts all."""
        return sum(
            n for (f, k, o), n in self.counts.items()
            if form in (None, f) and (kind is None or kind.value == k) and outcome in (None, o)
        )  # fmt: skip

    def table(self) -> str:
        """Markdown: one row per format."""
        lines = ["| format | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
        for name in [*(form.name for form in FORMATS), None]:
            numbers = [str(self.count(name, kind, outcome)) for kind, outcome in COLUMNS.values()]
            lines.append(f"| {name or 'all'} | " + " | ".join(numbers) + " |")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = [form.name for form in FORMATS]
        rows = {name: {head: self.count(name, *picked) for head, picked in COLUMNS.items()} for name in names}
        return {"seed": self.seed, "formats": rows, "failures": [verdict.as_dict() for verdict in self.failures]}
