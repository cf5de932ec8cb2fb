"""Durations as people read them."""

from __future__ import annotations

import pytest

from fgnet_pipeline.core.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.04, "0.0 s"), (4.24, "4.2 s"), (9.94, "9.9 s"), (9.96, "10 s"), (45.4, "45 s"), (59.4, "59 s"),
        (59.6, "1 min"), (90, "1 min 30 s"), (599.4, "9 min 59 s"), (599.6, "10 min"), (725, "12 min"),
        (3569, "59 min"), (3571, "1 h"), (12000, "3 h 20 min"), (86369, "23 h 59 min"), (86371, "1 day"),
        (90000, "1 day 1 h"), (446400, "5 days 4 h"), (172799, "2 days"), (31536000, "365 days"),
    ],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
