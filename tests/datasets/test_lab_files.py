"""Inputs as laboratories and their programs write them: each is read rightly, or refused with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from campaign.reading import difference, read
from lab_files.row import Row
from lab_files.table import TABLE


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_an_input_is_read_rightly_or_refused(row: Row, tmp_path: Path) -> None:
    truth = row.truth
    found = read(row.files(truth), tmp_path)
    assert not found.trace, found.trace
    if row.refused:
        assert found.bad_input, found.understood
        assert re.search(row.refused, found.sentence), found.sentence
    else:
        assert not found.refused, found.sentence
        assert difference(found, truth) == ""


def test_every_input_names_the_rule_that_fixes_its_meaning() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE) >= 49
    assert all(len(row.rule) > 5 for row in TABLE)
