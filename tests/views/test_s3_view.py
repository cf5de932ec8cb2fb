"""A result in an object store is served as it is stored there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_tools import Command, files_of, read, state_of
from required import skip_or_fail
from views_of_runs import ask, opened, served

from fgnet_pipeline.stages.configuration import load_result
from fgnet_pipeline.views.completeness import notes

try:
    import fsspec
    import s3fs  # noqa: F401
    from s3_tools import FORBID_MISSING, Proxy, asking, client, export, s3_server
except ImportError as error:
    skip_or_fail("s3", f"the packages of the extra `test` are missing ({error})")

NAMES = ("affinities", "fragments", "segmentation")


@pytest.fixture(scope="module")
def state(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the state of a finished run whose arrays lie at s3://lab/out."""
    out, folder = finished_run / "out.zarr", tmp_path_factory.mktemp("remote") / "state"
    shutil.copytree(state_of(out), folder)
    saved = json.loads((folder / "config.json").read_text())
    saved["config"]["output"] |= {"path": "s3://lab/out", "state": str(folder)}
    (folder / "config.json").write_text(json.dumps(saved))
    (folder / "zarr.json").unlink()
    with s3_server() as address, pytest.MonkeyPatch.context() as patch:
        export(patch, address)
        patch.setenv("AWS_MAX_ATTEMPTS", "2")
        fsspec.filesystem("s3").clear_instance_cache()
        s3 = client(address)
        s3.create_bucket(Bucket="lab")
        s3.put_object(Bucket="lab", Key="out/zarr.json", Body=(out / "zarr.json").read_bytes())
        for name in NAMES:
            for key, data in files_of(out, name).items():
                s3.put_object(Bucket="lab", Key=f"out/{name}/{key}", Body=data)
        s3.delete_object(Bucket="lab", Key="out/segmentation/c/0/1/1")
        yield folder
    fsspec.filesystem("s3").clear_instance_cache()


def test_objects_are_given_as_stored(state: Path, finished_run: Path) -> None:
    view = opened(state)
    assert [layer.name for layer in view.found.layers] == ["raw", *NAMES]
    with served(view) as server:
        for name in NAMES:
            stored = files_of(finished_run / "out.zarr", name)["c/0/0/0" if name != "affinities" else "c/0/0/0/0"]
            path = f"data/{name}/c/0/0/0" + ("/0" if name == "affinities" else "")
            assert ask(server, path)[:2] == (200, stored)
            status, _, headers = ask(server, path, "HEAD")
            assert (status, headers["Content-Length"]) == (200, str(len(stored)))
            status, body, headers = ask(server, path, Range="bytes=5-24")
            assert (status, body, headers["Content-Range"]) == (206, stored[5:25], "bytes 5-24/*")
            assert ask(server, path, Range="bytes=-9")[:2] == (206, stored[-9:])
        for method in ("GET", "HEAD"):
            status, _, headers = ask(server, "data/segmentation/c/0/1/1", method)
            assert status == 302 and headers["Location"].endswith("/data/segmentation/c/0/1/1/")


def test_segments_and_notes(state: Path, finished_run: Path) -> None:
    segmentation = read(finished_run / "out.zarr", "segmentation")
    segment = int(segmentation.max())
    view = opened(state, segment=str(segment))
    assert segmentation[view.centre] == segment
    assert notes(load_result(str(state)), view.found)["segmentation"] == "18 of 18 blocks done"


def test_a_report_reads_the_objects(state: Path, finished_run: Path, command: Command, tmp_path: Path) -> None:
    code, out, told = command("report", state, "--to", tmp_path / "remote.html")
    assert (code, out) == (0, f"{tmp_path / 'remote.html'}\n")
    assert command("report", finished_run / "out.zarr", "--to", tmp_path / "local.html")[0] == 0
    remote, local = ((tmp_path / name).read_text() for name in ("remote.html", "local.html"))
    for section in ("segments", "percolation", "doubt"):
        one, other = (text[text.index(f'<section id="{section}"') :] for text in (remote, local))
        assert one[: one.index("</section>")] == other[: other.index("</section>")]
    assert remote.count("<img ") == local.count("<img ") and "cannot be read" not in remote + told


def test_links_lead_to_the_objects(state: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://store.lab.org:9000")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://other.lab.org")
    code, text, _ = command("view", state, "--link", "--set", "agglomerate.threshold=0.2")
    assert code == 0
    assert [layer["source"]["url"] for layer in json.loads(text)["layers"]] == [
        f"zarr3://s3+https://store.lab.org:9000/lab/out/{name}/" for name in NAMES
    ]


def test_a_store_that_does_not_say_whether_a_chunk_exists(state: Path) -> None:
    """Without the permission to list, S3 forbids to read what does not exist. That must not look like background."""
    faults: list[str] = []
    with (
        Proxy(os.environ["AWS_ENDPOINT_URL"], lambda *_: faults[0] if faults else None) as proxy,
        asking(proxy.address),
        served(opened(state)) as server,
    ):
        faults.append(FORBID_MISSING)
        for method in ("HEAD", "GET"):
            status, body, _ = ask(server, "data/segmentation/c/0/1/1", method)
            assert status == 502
        assert b"s3://lab/out/segmentation/c/0/1/1 cannot be read: no permission" in body
        assert ask(server, "data/segmentation/c/0/0/0")[0] == 200
