"""The commands of the guides run, in their order, each guide in a directory of its own, on a small phantom.

A fence of shell or Python in these guides is run, or it is marked: its info string ends in `not-run`, and a line that
readers see gives the reason above it. A fence with a file name, as in `toml my.toml`, is written to that file.
Commands run in this process and without worker processes. Nothing else of them is changed but words that stand for the
reader's own, such as `OUTPUT`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from pipeline_tools import ATTRIBUTES, CHECKOUT, write_volume

from fgnet_pipeline.commands import cli
from fgnet_pipeline.datasets.phantom import VERSION, Phantom, generate
from fgnet_pipeline.store.group_writer import write_sample

GUIDES = (
    "first-result", "isotropic-volume", "serial-sections", "own-affinities", "gpu-cluster", "look-and-hand-on",
    "report",
)  # fmt: skip
FENCE = re.compile(r"(?P<before>[^\n]*)\n```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", flags=re.DOTALL | re.MULTILINE)
REASON = re.compile(r"\*No test runs these commands: \w.+\.\*")
MARK = "*No test runs these commands: no GPU.*"
#: One block of `nano-fib25`.
SHAPE = (40, 72, 72)
VOXEL = "30,40,50"


@dataclass(frozen=True)
class Fence:
    """A fence of a guide.

    Attributes:
        language: first word of the info string.
        words: its other words.
        reason: whether the line above gives a reason for not running it.
        body: what it holds.
    """

    language: str
    words: tuple[str, ...]
    reason: bool
    body: str


def fences_of(text: str) -> list[Fence]:
    found = []
    for fence in FENCE.finditer(text):
        language, *words = fence["info"].split() or [""]
        found.append(Fence(language, tuple(words), bool(REASON.fullmatch(fence["before"])), fence["body"]))
    return found


def guide(name: str) -> str:
    return (CHECKOUT / "docs" / "guides" / f"{name}.md").read_text()


def fault_of(fence: Fence) -> str:
    """Why a fence is neither run, nor marked as not run, nor a file, nor a text; empty if it is one of these."""
    runs = fence.language in ("sh", "python")
    if not runs:
        return "" if fence.language in ("toml", "text") else f"a fence of {fence.language or 'no language'}"
    if fence.words not in ((), ("not-run",)):
        return f"unknown mark {fence.words}"
    if fence.reason != (fence.words == ("not-run",)):
        return "a mark without a reason, or a reason without a mark"
    return ""


@pytest.mark.parametrize("name", GUIDES)
def test_every_fence_is_run_or_marked(name: str) -> None:
    text = guide(name)
    assert [fault for fence in fences_of(text) if (fault := fault_of(fence))] == []
    assert len(fences_of(text)) * 2 == len(re.findall("^ *```", text, flags=re.MULTILINE)), "a fence is not seen"
    assert re.findall(r"\n\n {4}\S[^\n]*", text) == [], "an indented block is neither run nor marked"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("\n```sh\nfgnet\n```\n", ""),
        (f"{MARK}\n```sh not-run\nfgnet\n```\n", ""),
        ("\n```sh not-run\nfgnet\n```\n", "a mark without a reason, or a reason without a mark"),
        (f"{MARK}\n```sh\nfgnet\n```\n", "a mark without a reason, or a reason without a mark"),
        ("\n```sh skip\nfgnet\n```\n", "unknown mark ('skip',)"),
        ("\n```\nfgnet\n```\n", "a fence of no language"),
    ],
)
def test_a_fence_that_is_neither_is_found(text: str, fault: str) -> None:
    assert fault_of(*fences_of(text)) == fault


def test_the_first_lines_of_the_readme_are_those_of_the_guides() -> None:
    """So they are run, or marked in a guide."""
    first = fences_of((CHECKOUT / "README.md").read_text())[0].body
    known = [words for name in GUIDES for fence in fences_of(guide(name)) for words in commands_of(fence.body)]
    lines = [words for words in commands_of(first) if words[0] == "fgnet"]
    assert len(first.splitlines()) == 10 and len(lines) == 7
    assert [words for words in lines if words not in known] == []


# Running


def commands_of(body: str) -> Iterator[list[str]]:
    """The commands of a fence of shell, as words."""
    for line in body.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def run_guide(name: str, stands_for: dict[str, str], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Run a guide in the working directory; what each command printed, by its line with words replaced."""
    said: dict[str, str] = {}
    for fence in fences_of(guide(name)):
        body = fence.body
        for word, meaning in stands_for.items():
            body = re.sub(rf"(?<![\w.]){re.escape(word)}(?!\w)", meaning, body)
        if fence.words == ("not-run",) or fence.language == "text":
            continue
        if fence.language == "toml":
            if fence.words:
                Path(fence.words[0]).write_text(body)
        elif fence.language == "python":
            exec(compile(body, f"{name}.md", "exec"), {})
        else:
            for words in commands_of(body):
                said[" ".join(words)] = run_words(words, capsys)
    return said


def run_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run one `fgnet` command in this process; what it printed to standard output."""
    assert words[0] == "fgnet", f"{words[0]} is not run: mark the fence"
    arguments = words[1:]
    if "--workers" in arguments:
        place = arguments.index("--workers")
        del arguments[place : place + 2]
    if arguments[0] in ("run", "demo", "export"):
        arguments += ["--workers", "0"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.guarded(lambda: cli.app(arguments))
    captured = capsys.readouterr()
    assert ended.value.code == 0, f"{' '.join(words)}\n{captured.out}\n{captured.err}"
    return captured.out


@pytest.fixture(scope="module")
def phantom() -> tuple[Any, Any]:
    """Grey values and labels with the voxels of the shipped model."""
    return generate(Phantom(SHAPE))


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo takes the phantom in its folder."""
    monkeypatch.delenv("FGNET_DATA", raising=False)
    monkeypatch.setenv("FGNET_SAMPLE_URL", "")


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory, phantom: tuple[Any, Any]) -> Path:
    """Where the guide to the first result runs; the guides about results use what it leaves."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "configs").symlink_to(CHECKOUT / "configs")
    write_sample(folder / "demo" / f"phantom{VERSION}.zarr", *phantom, (10.0, 10.0, 10.0), {})
    return folder


def test_first_result(
    demo_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], phantom: tuple[Any, Any]
) -> None:
    monkeypatch.chdir(demo_folder)
    run_guide("first-result", {}, capsys)
    assert zarr.open_array("demo/segmentation.zarr/segmentation", mode="r").shape == SHAPE
    for file in ("demo/overlay.png", "demo/segmentation.zarr/fgnet/state/report.html", "demo/scores.json"):
        assert Path(file).stat().st_size > 0 and file in guide("first-result")


@pytest.fixture
def result(demo_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What the words of guides about a result stand for: the result of `test_first_result`, made if it is not there."""
    monkeypatch.chdir(demo_folder)
    if not Path("demo/segmentation.zarr").exists():
        run_guide("first-result", {}, capsys)
    segments = zarr.open_array("demo/segmentation.zarr/segmentation", mode="r")[:]
    ids, sizes = np.unique(segments[segments > 0], return_counts=True)
    largest, second = (str(n) for n in ids[np.argsort(-sizes)[:2]])
    return {
        "OUTPUT": "demo/segmentation.zarr",
        "123456": largest,
        "987654": second,
        "160,100,120": VOXEL,
        "1600,1000,1200nm": "305,405,505nm",
        "labels.zarr/labels": f"demo/phantom{VERSION}.zarr/labels",
        "FORMAT": "ome-zarr",
        "PATH": "handed.ome.zarr",
    }


def test_look_and_hand_on(result: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    said = run_guide("look-and-hand-on", result, capsys)
    segments = zarr.open_array("demo/segmentation.zarr/segmentation", mode="r")
    assert result["123456"] in said["fgnet segments demo/segmentation.zarr"]
    by_voxel = said[f"fgnet inspect demo/segmentation.zarr --at {VOXEL}"]
    assert by_voxel == said["fgnet inspect demo/segmentation.zarr --at 305,405,505nm"]
    assert str(segments[30, 40, 50]) in by_voxel
    assert Path("handed.ome.zarr").is_dir() and Path("segments.csv").is_file()


def test_report(result: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    run_guide("report", result, capsys)
    assert "Percolation" in Path("report.html").read_text()


def test_isotropic_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], phantom: tuple[Any, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("stack.tif", phantom[0])
    tifffile.imwrite("labels.tif", phantom[1].astype(np.uint16))
    said = run_guide("isotropic-volume", {}, capsys)
    assert np.array_equal(zarr.open_array("my.zarr/raw", mode="r")[:], phantom[0])
    assert "voi_split" in said["fgnet evaluate my_segmentation.zarr/segmentation my.zarr/labels"]
    used = json.loads(Path("my_segmentation.zarr/fgnet/state/config.json").read_text())
    assert used["config"]["agglomerate"]["threshold"] == 0.3


def test_serial_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    raw, _ = generate(Phantom((8, 72, 72), (40.0, 4.0, 4.0)))
    raw[3] = 0
    Path("sections").mkdir()
    for z, section in enumerate(raw):
        Image.fromarray(section).save(f"sections/s{z:03}.png")
    run_guide("serial-sections", {}, capsys)
    segments = zarr.open_array("mine_segmentation.zarr/segmentation", mode="r")[:]
    assert (segments[3] == 0).all() and segments[2].any()
    assert not set(np.unique(segments[:3])) & set(np.unique(segments[4:])) - {0}, "a lost section divides neurons"


def test_own_affinities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Four cuboids of affinity 1 with a wall of two voxels, and fragments that halve them."""
    monkeypatch.chdir(tmp_path)
    labels = np.zeros((24, 40, 40), np.uint64)
    for number, (y, x) in enumerate(((0, 0), (0, 21), (21, 0), (21, 21)), 1):
        labels[:, y : y + 19, x : x + 19] = number
    affinities = np.zeros((3, *labels.shape), np.uint8)
    for axis in range(3):
        after = np.roll(labels, -1, axis)
        after[(slice(None),) * axis + (-1,)] = 0
        affinities[axis] = np.where((labels > 0) & (labels == after), 255, 0)
    write_volume(Path("theirs.zarr/affinities"), affinities, {})
    halves = np.where(labels > 0, 2 * labels + (np.arange(24) >= 12)[:, None, None], 0).astype(np.uint64)
    write_volume(Path("their_fragments.zarr/fragments"), halves, {**ATTRIBUTES})
    run_guide("own-affinities", {}, capsys)
    for output in ("segmentation.zarr", "from_fragments.zarr"):
        found = zarr.open_array(f"{output}/segmentation", mode="r")[:]
        pairs = {(a, b) for a, b in zip(labels.ravel().tolist(), found.ravel().tolist(), strict=True) if a}
        assert len(pairs) == 4 and len({b for _, b in pairs}) == 4, output


def test_gpu_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], phantom: tuple[Any, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_volume(Path("raw.zarr/raw"), phantom[0])
    said = run_guide("gpu-cluster", {}, capsys)
    assert "predict" in said["fgnet plan gpu.toml"] and not Path("segmentation.zarr").exists()
