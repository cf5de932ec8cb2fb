"""A bucket that answers 403 for objects that do not exist, since its credentials may not list it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import files_of
from required import skip_or_fail
from zarr_tools import DATA, level, pyramid, write_array, write_attributes

from fgnet_pipeline.core.errors import InputError, StoreError
from fgnet_pipeline.store.chunk_names import require_stored
from fgnet_pipeline.store.volume import open_volume

try:
    import fsspec
    import moto  # noqa: F401
    from s3_tools import Proxy, asking, client, export
except ImportError as error:
    skip_or_fail("s3", f"the packages of the extra `test` are missing ({error})")


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that answers 403 wherever the bucket answers 404."""
    export(monkeypatch, server)
    with Proxy(server, lambda *_: "forbid missing") as proxy, asking(proxy.address):
        yield proxy
    fsspec.filesystem("s3").clear_instance_cache()


def upload(server: str, folder: Path, prefix: str) -> None:
    for name, data in files_of(folder.parent, folder.name).items():
        client(server).put_object(Bucket="lab", Key=f"{prefix}/{name}", Body=data)


@pytest.mark.parametrize("version", [2, 3])
def test_a_whole_array_is_read_with_the_metadata_of_its_group(
    version: int, server: str, bucket: Proxy, tmp_path: Path
) -> None:
    group = pyramid(level("0", [40, 8, 4]))
    write_attributes(tmp_path / "image", group if version == 3 else group["ome"], version)
    write_array(tmp_path / "image" / "0", DATA, {}, zarr_format=version)
    upload(server, tmp_path / "image", f"v{version}")
    volume = open_volume(f"s3://lab/v{version}/0")
    assert np.array_equal(volume.read(volume.bounds), DATA)
    assert volume.frame is not None and volume.frame.voxel_size == (40, 8, 4)
    assert volume.stored.share == 1 and "forbid missing" in bucket.faults()


def test_a_chunk_that_may_be_denied_is_never_black(server: str, bucket: Proxy, tmp_path: Path) -> None:
    write_array(tmp_path / "a", DATA, {"voxel_size": [8, 8, 8]})
    upload(server, tmp_path / "a", "holes")
    client(server).delete_object(Bucket="lab", Key="holes/c/1/1/1")
    volume = open_volume("s3://lab/holes")
    with pytest.raises(StoreError, match=r"holes/c/1/1/1 cannot be read.*s3:ListBucket"):
        volume.read(volume.bounds)


def test_no_array_names_the_permission(bucket: Proxy) -> None:
    with pytest.raises(InputError, match=r"no permission.*s3:ListBucket"):
        open_volume("s3://lab/nothing/there")


def test_old_names_of_chunks_are_read_from_a_bucket(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zarr v2 with nested chunks and no word about it; and an array of which nothing is stored."""
    export(monkeypatch, server)
    with asking(server):
        write_array(tmp_path / "a", zarr_format=2, chunk_key_encoding={"name": "v2", "separator": "/"})
        text = (tmp_path / "a" / ".zarray").read_text()
        (tmp_path / "a" / ".zarray").write_text(
            text.replace('"dimension_separator": "/"', '"dimension_separator": "."')
        )
        upload(server, tmp_path / "a", "old")
        volume = open_volume("s3://lab/old")
        assert np.array_equal(volume.read(volume.bounds), DATA) and volume.stored.share == 1
        write_array(tmp_path / "b", DATA * 0)
        upload(server, tmp_path / "b", "empty")
        empty = open_volume("s3://lab/empty")
        with pytest.raises(InputError, match=r"no chunk is stored"):
            require_stored(empty.array, empty.path, empty.field)
