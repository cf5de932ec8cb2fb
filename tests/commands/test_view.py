"""The command `view`: the address it prints, what it refuses, the links it makes, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import requests
from pipeline_tools import Command, Refused, read, state_of
from views_of_runs import opened

from fgnet_pipeline.core.geometry import NUMBER_BITS
from fgnet_pipeline.views.client_files import client_files

Run = tuple[Path, Path]


@pytest.fixture
def out(finished_run: Path) -> Path:
    """A finished output; no test changes it."""
    return finished_run / "out.zarr"


def fragment_in_a_larger_segment(out: Path) -> tuple[int, int]:
    """A fragment that does not name its segment, and the segment."""
    fragments, segmentation = read(out, "fragments"), read(out, "segmentation")
    other = (fragments != segmentation) & (fragments > 0)
    return int(fragments[other][0]), int(segmentation[other][0])


def test_every_segment_is_found_and_centred_on(out: Path) -> None:
    segmentation = read(out, "segmentation")
    segments = np.unique(segmentation[segmentation > 0])
    assert segments.max() > 1 << NUMBER_BITS
    for segment in segments:
        view = opened(out, segment=str(segment))
        assert segmentation[view.centre] == segment
        assert view.segments == (segment,)


def test_a_segment_whose_table_is_lost_is_found_in_the_segmentation(copied_run: Run) -> None:
    _, out = copied_run
    segmentation = read(out, "segmentation")
    segment = int(segmentation.max())
    for broken in (lambda path: path.write_bytes(b"torn"), lambda path: path.unlink()):
        for path in (state_of(out) / "tables" / "fragments").rglob("*.parquet"):
            broken(path)
        assert segmentation[opened(out, segment=str(segment)).centre] == segment


def test_the_selected_segment_is_text_in_the_state(out: Path, command: Command) -> None:
    segment = int(read(out, "segmentation").max())
    code, text, _ = command("view", out, "--segment", segment, "--link", "--base-url", "https://lab.org/out.zarr")
    layers = json.loads(text)["layers"]
    assert code == 0
    assert [layer["segments"] for layer in layers if layer["name"] == "segmentation"] == [[str(segment)]]


def test_unknown_segments(out: Path, refused: Refused) -> None:
    for segment in ("0", "-5", str(1 << 63), "99999999999999999999", "4611686018427387904", "123456789123"):
        text = refused("view", out, "--segment", segment)
        assert text.startswith(f"error: --segment = {segment}: expected a segment of the stored segmentation; ")
    assert "expected a whole number" in refused("view", out, "--segment", "one")
    fragment, segment_of_it = fragment_in_a_larger_segment(out)
    text = refused("view", out, "--segment", fragment)
    assert f"(this fragment is part of {segment_of_it}); name {segment_of_it}" in text


def test_segment_without_a_segmentation(copied_run: Run, refused: Refused) -> None:
    _, out = copied_run
    shutil.rmtree(out / "segmentation")
    text = refused("view", out, "--segment", "1")
    assert "expected a segmentation to look in (not there yet); finish the run first" in text


def test_voxels_outside_the_volume(out: Path, refused: Refused) -> None:
    for at in ("40,0,0", "0,0,60", "-1,0,0", "1,2", "1,2,3,4", "a,b,c", "1.5,2,3", "", "\u0661,2,3"):
        text = refused("view", out, f"--at={at}")
        assert "expected a voxel z,y,x inside the volume of [40, 50, 60] voxels" in text, at


def test_the_voxel_is_centred_on(out: Path, command: Command) -> None:
    _, text, _ = command("view", out, "--at", "3, 7,59", "--link", "--base-url", "https://lab.org/out.zarr")
    assert json.loads(text)["position"] == [59.5, 7.5, 3.5]


def test_a_port_in_use(out: Path, refused: Refused) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert f"--port = {port}: expected a port that no other program uses" in refused("view", out, "--port", port)


def test_without_the_viewer(out: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    text = refused("view", out)
    assert "pip install 'fgnet-pipeline[view]', or use --link" in text


def test_no_output(tmp_path: Path, out: Path, refused: Refused, copied_run: Run) -> None:
    (tmp_path / "empty").mkdir()
    assert "expected a configuration (TOML), or an output" in refused("view", tmp_path / "empty")
    config, _ = copied_run
    assert "an output with an array to show" in refused("view", config, "--set", f"output.path={tmp_path / 'empty'}")


def test_link_names_what_no_browser_elsewhere_can_read(finished_run: Path, command: Command, refused: Refused) -> None:
    out = finished_run / "out.zarr"
    code, text, said = command("view", out, "--link", "--base-url", "https://lab.org/a b/out.zarr/")
    state = json.loads(text)
    assert code == 0
    assert {layer["name"]: layer["source"]["url"] for layer in state["layers"]} == {
        name: f"zarr3://https://lab.org/a b/out.zarr/{name}/" for name in ("affinities", "fragments", "segmentation")
    }
    assert f"raw is left out: a browser elsewhere cannot read {finished_run / 'raw.zarr'} (see --base-url)" in said
    assert "--base-url" in refused("view", out, "--link")


def test_link_with_several_addresses(finished_run: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    out = finished_run / "out.zarr"
    monkeypatch.chdir(finished_run)
    arguments = ["--base-url", "s3://bucket/out", "--base-url", "raw.zarr=gs://other/raw"]
    code, text, said = command("view", out, "--link", *arguments, "--neuroglancer", "https://ng.lab.org/")
    assert (code, said) == (0, "")
    assert text.startswith("https://ng.lab.org/#!")
    state = json.loads(unquote(text.strip().partition("#!")[2]))
    assert [layer["source"]["url"] for layer in state["layers"]][:2] == [
        "zarr3://gs://other/raw/", "zarr3://s3://bucket/out/affinities/",
    ]  # fmt: skip


@pytest.mark.parametrize("base", ["lab.org/x", "file:///x", "=https://lab.org", "folder=", "https://", ""])
def test_addresses_that_are_none(out: Path, refused: Refused, base: str) -> None:
    assert "--base-url" in refused("view", out, "--link", "--base-url", base)


def test_options_of_links_alone(out: Path, refused: Refused) -> None:
    assert "add --link" in refused("view", out, "--base-url", "https://lab.org")
    assert "add --link" in refused("view", out, "--neuroglancer", "https://lab.org")


def test_the_client_is_whole() -> None:
    files = client_files()
    assert "index.html" in files.names
    assert files.read("../__init__.py") is None


BROWSER = """#!/bin/sh
echo "$1" > "$SEEN/argument"
page=${1#file://}
stat -c '%a' "$(dirname "$page")" > "$SEEN/mode"
cat "$page" > "$SEEN/page.new" && mv "$SEEN/page.new" "$SEEN/page"
"""


def test_a_view_from_begin_to_end(out: Path, tmp_path: Path) -> None:
    """As on a desktop: a browser is opened, which is not told the token by its arguments; Ctrl-C ends the view."""
    browser = tmp_path / "browser"
    browser.write_text(BROWSER)
    browser.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    environment |= {"BROWSER": str(browser), "DISPLAY": ":0", "SEEN": str(tmp_path), "TMPDIR": str(tmp_path)}
    environment.pop("XDG_RUNTIME_DIR", None)
    code = "from fgnet_pipeline.commands.entry import main; main()"
    before = sorted(out.rglob("*"))
    process = subprocess.Popen(
        [sys.executable, "-c", code, "view", str(out), "--at", "1,2,3"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().strip()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]{43})/", url)
        assert found is not None
        assert requests.get(url, timeout=30).status_code == 200
        said: list[str] = []
        while not said or "Ctrl-C" not in said[-1]:
            said.append(process.stderr.readline())
            assert said[-1], "".join(said)
        assert f"ssh -N -L {found[1]}:127.0.0.1:{found[1]} " in said[0]
        assert "segmentation: 18 of 18 blocks done\n" in said
        for _ in range(600):
            if (tmp_path / "page").exists():
                break
            signal.sigtimedwait([], 0.05)
        assert url in (tmp_path / "page").read_text()
        assert found[2] not in (tmp_path / "argument").read_text()
        assert (tmp_path / "mode").read_text() == "700\n"
        process.send_signal(signal.SIGINT)
        rest, ended = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, rest) == (130, "")
    assert ended == "interrupted: run the same command again to go on\n"
    assert not list(tmp_path.glob("fgnet-view-*"))
    assert sorted(out.rglob("*")) == before
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_nothing_is_opened_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    from fgnet_pipeline.views.browser import has_display

    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display() or sys.platform == "darwin"
    monkeypatch.setenv("DISPLAY", "localhost:10.0")
    assert has_display()
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.2 51432 10.0.0.1 22")  # a window would come over the network
    assert not has_display()
