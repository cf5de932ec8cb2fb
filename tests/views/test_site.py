"""What the server of a view answers, on a real connection: chunks as stored, and nothing that was not named."""

from __future__ import annotations

import http.client
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pipeline_tools import files_of
from views_of_runs import ask, opened, served

from fgnet_pipeline.views.server import ViewServer

SHARD = "data/segmentation/c/0/1/1"


@pytest.mark.parametrize("name", ["affinities", "fragments", "segmentation"])
def test_every_chunk_is_given_as_stored(server: ViewServer, finished_run: Path, name: str) -> None:
    stored = files_of(finished_run / "out.zarr", name)
    chunks = [path for path in stored if path.startswith("c/")]
    assert len(chunks) == 18
    for path in chunks:
        status, body, headers = ask(server, f"data/{name}/{path}")
        assert (status, body) == (200, stored[path])
        assert headers["Cache-Control"] == "no-store"  # new blocks show when the page is loaded again


def test_parts_of_a_chunk(server: ViewServer, finished_run: Path) -> None:
    whole = (finished_run / "out.zarr" / "segmentation" / "c" / "0" / "1" / "1").read_bytes()
    size = len(whole)
    status, body, headers = ask(server, SHARD, "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(size))
    for wanted, part in (
        ("bytes=0-0", whole[:1]), ("bytes=10-19", whole[10:20]), ("bytes=100-", whole[100:]),
        ("bytes=-20", whole[-20:]), (f"bytes={size - 5}-{size + 100}", whole[-5:]), (f"bytes=-{size + 9}", whole),
    ):  # fmt: skip
        status, body, headers = ask(server, SHARD, Range=wanted)
        begin = whole.index(part)
        assert (status, body) == (206, part), wanted
        assert headers["Content-Range"] == f"bytes {begin}-{begin + len(part) - 1}/{size}"
    for ignored in ("bytes=0-1,4-5", "bytes=-", "lines=1-2", "bytes=a-b"):
        assert ask(server, SHARD, Range=ignored)[:2] == (200, whole)
    for outside in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=9-4", "bytes=-0"):
        status, _, headers = ask(server, SHARD, Range=outside)
        assert (status, headers["Content-Range"]) == (416, f"bytes */{size}"), outside


def test_a_missing_chunk_is_an_empty_folder_until_it_is_written(copied_run: tuple[Path, Path]) -> None:
    _, out = copied_run
    shard = out / "segmentation" / "c" / "0" / "1" / "1"
    content = shard.read_bytes()
    shard.unlink()
    with served(opened(out)) as server:
        for method in ("GET", "HEAD"):
            status, _, headers = ask(server, SHARD, method)
            assert (status, headers["Location"]) == (302, f"/{server.site.token}/{SHARD}/")
            assert ask(server, headers["Location"], method, absolute=True)[:2] == (200, b"")
        shard.write_bytes(content)
        assert ask(server, SHARD)[:2] == (200, content)
        shard.unlink()
        os.mkfifo(shard)  # opening it would wait
        assert ask(server, SHARD)[0] == 302
        shard.unlink()
        shard.write_bytes(content)
        if os.geteuid() != 0:
            shard.chmod(0)
            status, body, _ = ask(server, SHARD)
            assert status == 502 and b"Permission denied" in body


@pytest.mark.parametrize(
    "path",
    [
        "data/segmentation/zarr.json/", "data/segmentation/", "data/segmentation", "data/", "data", "data/tables",
        "data/segmentation/.zattrs", "data/segmentation/../zarr.json", "data/segmentation/c/../../config.json",
        "data/segmentation/c/0/1/1/..", "data/segmentation/c/0/1/%31", "data/segmentation/c%2f0%2f1%2f1",
        "data/segmentation/%2e%2e/zarr.json", "data/segmentation/c/0/1", "data/segmentation/c/0/1/1/1",
        "data/segmentation/c/0/1/01", "data/segmentation/c/0/1/-1", "data/segmentation/c/0/1/9", "data/segmentation/c",
        "data/segmentation/c/0/1/" + "9" * 5000,
        "data/../data/segmentation/zarr.json", "data//segmentation/zarr.json", "/data/segmentation/zarr.json",
        "data/config.json", "data/progress/lock", "data/segmentation/link", "data/segmentation/secret",
        "v/view", "v/view/../view/", "v/view/..%2f..", "v/view/__init__.py", "v/other/", "events/other", "state/view",
    ],
)  # fmt: skip
def test_what_was_not_named_is_unknown(linked: ViewServer, path: str) -> None:
    status, body, _ = ask(linked, path)
    assert status == 404
    assert b"secret" not in body


@pytest.fixture(scope="module")
def linked(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    """A served view of an output that holds links to other places."""
    folder = tmp_path_factory.mktemp("linked")
    (folder / "elsewhere").write_text("secret")
    out = folder / "out.zarr"
    shutil.copytree(finished_run / "out.zarr", out)
    (out / "segmentation" / "link").symlink_to(folder)
    (out / "segmentation" / "secret").symlink_to(folder / "elsewhere")
    with served(opened(out)) as server:
        yield server


def test_nothing_without_the_token(server: ViewServer) -> None:
    token = server.site.token
    assert len(token) >= 40
    for path in ("/", "/data/segmentation/zarr.json", f"/{token}", f"/{token[:-1]}/", f"/{token}x/",
                 f"/{token.lower()}/", "/%00/", f"/?{token}/", f"/x/{token}/"):  # fmt: skip
        status, body, _ = ask(server, path, absolute=True)
        assert status == 404 and token.encode() not in body, path


def test_tokens_differ(finished_run: Path) -> None:
    view = opened(finished_run / "out.zarr")
    with served(view) as one, served(view) as other:
        assert one.site.token != other.site.token
        assert ask(one, f"/{other.site.token}/", absolute=True)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(server: ViewServer, method: str) -> None:
    assert ask(server, SHARD, method)[0] in (405, 501)


def test_options_names_the_methods(server: ViewServer) -> None:
    status, body, headers = ask(server, SHARD, "OPTIONS")
    assert (status, body, headers["Allow"]) == (204, b"", "GET, HEAD, OPTIONS")
    assert not [name for name in headers if name.startswith("Access-Control")]


def test_a_page_of_another_origin_gets_nothing(server: ViewServer) -> None:
    own = f"127.0.0.1:{server.port}"
    foreign = ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", "localhost.evil:80", "")
    for host in (*foreign, "10.0.0.1", "0.0.0.0", f"{own}, evil.example"):
        assert ask(server, SHARD, Host=host)[0] == 403, host
    for host in (own, "localhost:9999", "127.0.0.1", "LOCALHOST:80", f"[::1]:{server.port}"):  # tunnels change the port
        assert ask(server, SHARD, Host=host)[0] == 200, host
    assert ask(server, SHARD, Host=own, Origin=f"http://{own}")[0] == 200
    for origin in ("http://evil.example", "null", f"https://{own}", "http://127.0.0.1:1"):
        assert ask(server, SHARD, Host=own, Origin=origin)[0] == 403, origin


def test_addresses_are_those_of_the_tunnel(server: ViewServer) -> None:
    status, _, headers = ask(server, "", Host="localhost:4321")
    assert status == 302
    place = urlsplit(headers["Location"])
    assert (place.netloc, place.path) == ("", f"/{server.site.token}/v/view/")
    assert f"zarr3://http://localhost:4321/{server.site.token}/data/raw/" in place.fragment


def test_the_client_needs_nothing_from_elsewhere(server: ViewServer) -> None:
    status, page, headers = ask(server, "v/view/")
    assert status == 200 and b"<script" in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self' 'wasm-unsafe-eval'" in policy
    scripts = [part.split(b'"')[0].decode() for part in page.split(b'src="')[1:]]
    assert scripts and all(ask(server, f"v/view/{name}")[0] == 200 for name in scripts)
    assert ask(server, "/favicon.ico", absolute=True)[:2] == (204, b"")


def test_only_this_machine_can_connect(server: ViewServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_a_request_that_sends_data_ends_the_connection(server: ViewServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/x", body=b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (405, b"read-only\n")
    assert answer.getheader("Connection") == "close"
    connection.close()
