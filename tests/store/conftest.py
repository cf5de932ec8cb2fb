"""Fixtures of the tests of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of an S3 server with the bucket ``lab``."""
    from s3_tools import client, s3_server  # needs packages that other tests of the room do not

    with s3_server() as address:
        client(address).create_bucket(Bucket="lab")
        yield address
