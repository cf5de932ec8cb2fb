"""What is wrong with an object store: one sentence and exit code 2 before anything was written."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import Command, cells, files_of, standard_config, write_volume
from required import skip_or_fail
from web_server import web_server

from fgnet_pipeline.core.errors import InputError, StoreError
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.volume import open_volume

try:
    import boto3
    import fsspec
    import moto  # noqa: F401
    import s3fs  # noqa: F401
    from s3_tools import Proxy, client, enforce_permissions, export
except ImportError as error:
    skip_or_fail("s3", f"the packages of the extra `test` are missing ({error})")


@pytest.fixture
def config(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Local input, output to s3://lab/out.zarr; tests change one thing."""
    export(monkeypatch, server)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    fsspec.filesystem("s3").clear_instance_cache()
    raw = write_volume(tmp_path / "raw.zarr", cells((24, 24, 24)))
    yield standard_config(tmp_path, raw)
    fsspec.filesystem("s3").clear_instance_cache()


def refused(config: Path, command: Command, *overrides: str) -> str:
    """The sentence with which a run ends that writes to a bucket; its folder stays empty."""
    state = config.parent / "state"
    given = ["output.path=s3://lab/out.zarr", f"output.state={state}", *overrides]
    arguments = [part for override in given for part in ("--set", override)]
    code, _, text = command("run", config, *arguments)
    assert code == 2, text
    assert text.startswith("error: ") and "Traceback" not in text and len(text.strip().splitlines()) == 1
    assert not state.exists() or list(state.iterdir()) == []
    return text


def test_no_such_bucket(config: Path, command: Command) -> None:
    assert "there is no such bucket" in refused(config, command, "output.path=s3://nowhere/out.zarr")
    assert "there is no such bucket" in refused(config, command, "volume.path=s3://nowhere/raw.zarr")


def test_nothing_at_the_input(config: Path, command: Command) -> None:
    assert "volume.path = 's3://lab/none.zarr'" in refused(config, command, "volume.path=s3://lab/none.zarr")


def test_wrong_key_and_no_permission(
    config: Path, server: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    iam = boto3.client("iam", endpoint_url=server, region_name="us-east-1")
    iam.create_user(UserName="guest")
    key = iam.create_access_key(UserName="guest")["AccessKey"]
    enforce_permissions(server, True)
    try:
        text = refused(config, command)
        assert "output.path" in text and "no permission (InvalidAccessKeyId" in text
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        fsspec.filesystem("s3").clear_instance_cache()
        assert "no permission (AccessDenied" in refused(config, command)
    finally:
        enforce_permissions(server, False)


def test_nobody_at_the_endpoint(config: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert "EndpointConnectionError" in refused(config, command)


def test_output_of_another_state_or_program(config: Path, server: str, command: Command) -> None:
    mark = {"zarr_format": 3, "node_type": "group", "attributes": {"fgnet_format": 1, "fgnet_state": "another"}}
    client(server).put_object(Bucket="lab", Key="other.zarr/zarr.json", Body=json.dumps(mark).encode())
    assert "output.state" in refused(config, command, "output.path=s3://lab/other.zarr")
    client(server).put_object(Bucket="lab", Key="thesis/chapter1.tex", Body=b"precious")
    assert "chapter1.tex" in refused(config, command, "output.path=s3://lab/thesis")


def test_missing_package_names_the_command(config: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, url, extra in (("s3fs", "s3://lab/a", "s3"), ("gcsfs", "gs://lab/a", "gs"),
                                ("aiohttp_retry", "https://127.0.0.1/a", "http")):  # fmt: skip
        monkeypatch.setitem(sys.modules, package, None)
        assert f"pip install 'fgnet-pipeline[{extra}]'" in refused(config, command, f"volume.path={url}")


def test_a_bucket_that_is_gone_does_not_read_as_zeros(config: Path, server: str) -> None:
    s3 = client(server)
    s3.create_bucket(Bucket="short")
    for name, data in files_of(config.parent, "raw.zarr").items():
        s3.put_object(Bucket="short", Key=f"raw/{name}", Body=data)
    volume = open_volume("s3://short/raw")
    assert volume.read(volume.bounds).any()
    for name in files_of(config.parent, "raw.zarr"):
        s3.delete_object(Bucket="short", Key=f"raw/{name}")
    assert not volume.read(volume.bounds).any()
    s3.delete_bucket(Bucket="short")
    with pytest.raises(StoreError, match="no such bucket"):
        volume.read(volume.bounds)


def test_http_is_read_through_faults(config: Path) -> None:
    """A local web server that throttles, drops and cuts answers."""
    faults = iter(["slow down", None, "drop", None, "cut answer"] + [None] * 1000)
    with (
        web_server(config.parent) as (url, _),
        Proxy(url, lambda *_: next(faults)) as proxy,
    ):
        volume = open_volume(f"{proxy.address}/raw.zarr")
        local = open_volume(str(config.parent / "raw.zarr"))
        assert np.array_equal(volume.read(volume.bounds), local.read(local.bounds))
        assert volume.frame == local.frame
        assert proxy.faults() == {"slow down", "drop", "cut answer"}


def test_an_array_that_cannot_be_read_now_is_not_taken_as_lost(
    config: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(server, lambda *_: "slow down") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
        output = Output("s3://lab/out.zarr", str(config.parent / "state"))
        with pytest.raises(InputError, match="SlowDown"):
            output.has_array("affinities")
