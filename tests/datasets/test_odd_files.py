"""The campaign of benchmarks/odd_files.py in small: files changed at random are read rightly or refused."""

from __future__ import annotations

import pytest
from campaign.cases import FORMATS, KINDS, Verdict
from campaign.mutation import Kind
from campaign.run import campaign
from campaign.tally import Tally

SEED, CASES = 20, 6000


@pytest.fixture(scope="module")
def tally() -> Tally:
    """A number of cases, not a time: so a fast machine does not try what a slow one leaves out."""
    return campaign(SEED, range(CASES))


def told(verdict: Verdict) -> str:
    """One line, with the command that repeats the case."""
    last = (verdict.detail.strip().splitlines() or [""])[-1]
    case = f"python benchmarks/odd_files.py --seed {SEED} --case {verdict.number}"
    return f"{case}: {verdict.form}: {'; '.join(verdict.changes)}: {verdict.outcome}: {last}"


def test_no_case_is_read_wrongly_and_none_crashes(tally: Tally) -> None:
    assert [told(verdict) for verdict in tally.failures] == []


@pytest.mark.parametrize("kind", Kind)
def test_every_format_has_its_share_of_each_kind(tally: Tally, kind: Kind) -> None:
    for form in FORMATS:
        assert tally.count(form.name, kind) == CASES / len(FORMATS) * KINDS.count(kind) / len(KINDS)


def test_every_declared_change_is_tried(tally: Tally) -> None:
    declared = {change.name for form in FORMATS for change in form.mutations}
    assert declared - tally.tried == set()
