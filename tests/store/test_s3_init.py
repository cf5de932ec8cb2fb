"""`fgnet init` of a pyramid in a bucket: the level is chosen, sampled and planned without a copy."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from pipeline_tools import Command, cells, files_of
from required import skip_or_fail
from zarr_tools import level, pyramid, write_array, write_attributes

try:
    import fsspec
    import moto  # noqa: F401
    from s3_tools import client, export
except ImportError as error:
    skip_or_fail("s3", f"the packages of the extra `test` are missing ({error})")


def test_a_pyramid_in_a_bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    export(monkeypatch, server)
    fsspec.filesystem("s3").clear_instance_cache()
    write_attributes(tmp_path / "v.zarr", pyramid(level("s0", (10, 10, 10)), level("s1", (20, 20, 20))))
    write_array(tmp_path / "v.zarr" / "s0", cells((30, 30, 30)))
    write_array(tmp_path / "v.zarr" / "s1", cells((15, 15, 15)))
    for name, data in files_of(tmp_path, "v.zarr").items():
        client(server).put_object(Bucket="lab", Key=f"v.zarr/{name}", Body=data)
    code, out, said = command("init", "s3://lab/v.zarr", "--to", tmp_path / "my.toml", "--json")
    assert code == 0, said
    assert json.loads(out)["volume"]["path"] == "s3://lab/v.zarr/s0"
    assert tomllib.loads((tmp_path / "my.toml").read_text())["volume"]["path"] == "s3://lab/v.zarr/s0"
    code, out, said = command("plan", tmp_path / "my.toml", "--json")
    assert code == 0 and json.loads(out)["inputs"][0]["shape"] == [30, 30, 30], said
    code, _, said = command("init", "s3://lab/nothing.zarr", "--to", tmp_path / "other.toml")
    assert code == 2 and said.startswith("error: VOLUME = 's3://lab/nothing.zarr'")
    assert not (tmp_path / "other.toml").exists()
    fsspec.filesystem("s3").clear_instance_cache()
