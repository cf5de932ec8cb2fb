"""What stands on a terminal when a command has ended: the last sentence, and bars and tables that tell the truth."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from pipeline_tools import cells, standard_config, write_volume
from terminal import Screen, interrupt, on_terminal

from fgnet_pipeline.commands.entry import INTERRUPT_SENTENCE, INTERRUPTED
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

#: Tasks of a run on 2 x 2 x 2 blocks with one block per leaf of the octree.
TASKS = ["predict", "fragments", "edges", "agglomerate-0", "agglomerate-1", "lut-1", "lut-0", "relabel"]
BAR = re.compile(r"([a-z]+(?:-\d)?) +[━╸╺ ]+ +(\d+)/(\d+)(.*)")


def bars_of(lines: list[str]) -> list[tuple[str, int, int, str]]:
    """Per bar on the screen: task, blocks done, all blocks, and what is said of them."""
    found = [BAR.fullmatch(line) for line in lines]
    return [(bar[1], int(bar[2]), int(bar[3]), bar[4].strip()) for bar in found if bar]


def test_a_run_ends_with_its_sentence_below_full_bars(tmp_path: Path) -> None:
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", cells((30, 30, 30))), workers=1)
    code, screen, _ = on_terminal("run", config)
    assert code == 0
    assert re.fullmatch(
        rf"finished in [\d.]+ (s|min( \d+ s)?): {re.escape(str(tmp_path))}/out.zarr", screen.printed[-1]
    )
    count = [8, 8, 8, 8, 1, 1, 8, 8]
    bars = [(name, n, n, "") for name, n in zip(TASKS, count, strict=True)]
    assert bars_of(screen.printed) == bars
    assert bars_of(screen.printed[-9:-1]) == bars  # no line between them, and none is left of earlier ones
    assert all(len(line) <= 80 for line in screen.lines)

    code, screen, text = on_terminal("status", config)
    assert code == 0 and "\x1b" not in text
    rows = [line.split() for line in screen.lines]
    assert rows[0][:5] == ["stage", "blocks", "done", "failed", "left"] and rows[0][-1] == "hosts"
    assert [row[0] for row in rows[1:7]] == ["predict", "fragments", "edges", "agglomerate", "lut", "relabel"]
    assert all(row[5:7] == ["0", "s"] for row in rows[1:7])
    assert screen.printed[-1].endswith("has ended")


def test_a_failed_run_ends_with_its_sentence(tmp_path: Path) -> None:
    raw = write_volume(tmp_path / "raw.zarr", cells((30, 30, 30)))
    config = standard_config(tmp_path, raw, workers=1, retries=0)
    run(load_config(config, ["schedule.workers=0"]), ("predict",))
    for shard in (tmp_path / "out.zarr" / "affinities" / "c").rglob("*"):
        if shard.is_file():
            shard.write_bytes(b"torn")
    code, screen, _ = on_terminal("run", config, columns=70)
    assert code == 1
    failed, not_begun = "8 failed", ["8 not begun", "8 not begun", "1 not begun", "1 not begun", "8 not begun"]
    notes = [note for *_, note in bars_of(screen.printed)]
    assert notes == [failed, *not_begun, "8 not begun"]
    assert screen.printed[-2] == (
        "not begun, since blocks that they read are not done: "
        "edges 8, agglomerate-0 8, agglomerate-1 1, lut-1 1, lut-0 8, relabel 8"
    )
    assert screen.printed[-1] == (
        "8 blocks failed, 34 blocks that read them were not begun; all others are stored: remove the cause, and run "
        "the same command again"
    )


def test_an_interrupted_run_ends_with_its_sentence(tmp_path: Path) -> None:
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", cells((100, 100, 100))), workers=1)
    sent: list[int] = []

    def stop(process: subprocess.Popen[bytes], text: str) -> None:
        if not sent and "running" in text:
            sent.append(process.pid)
            interrupt(process)

    code, screen, _ = on_terminal("run", config, meanwhile=stop)
    assert sent and code in (INTERRUPTED, -2)
    assert screen.printed[-1] == INTERRUPT_SENTENCE
    bars = bars_of(screen.printed)
    assert [name for name, *_ in bars] == [
        "predict", "fragments", "edges", *(f"agglomerate-{level}" for level in range(4)),
        *(f"lut-{level}" for level in reversed(range(4))), "relabel",
    ]  # fmt: skip
    assert {note for *_, note in bars} == {""}  # nothing failed, and nothing runs any more
    assert bars[-1][1:3] == (0, 125)


def test_the_screen_of_these_tests() -> None:
    screen = Screen(5).feed("one\r\nabcdefg\r\n\x1b[1A\x1b[2Kxy\r\n")
    assert screen.lines[:3] == ["one", "abcde", "xy"] and screen.printed == ["one", "abcde", "xy"]
    assert Screen(5).feed("abcdefg\r\n").printed == ["abcdefg"]
    with pytest.raises(ValueError, match="does not know"):
        screen.feed("\x1b[3S")


def test_progress_in_this_process(tmp_path: Path) -> None:
    """Without workers nobody else reports: every report holds all tasks in their order, and none goes back."""
    from fgnet_pipeline.execution.work import Counts

    seen: list[dict[str, Counts]] = []

    class Watcher:
        ended = False

        def update(self, counts: dict[str, Counts]) -> None:
            seen.append(counts)

        def finish(self) -> None:
            self.ended = True

    watcher = Watcher()
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", cells((30, 30, 30))))
    run(load_config(config), observer=watcher)
    assert watcher.ended and len(seen) > 2
    assert all(list(counts) == TASKS for counts in seen)
    done = [sum(count.done for count in counts.values()) for counts in seen]
    assert done == sorted(done) and done[0] < done[-1] == sum(count.total for count in seen[-1].values()) == 50
    assert any(count.running for counts in seen for count in counts.values())
