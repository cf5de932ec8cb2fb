"""A local S3 server, and a proxy before it that refuses, delays and cuts off chosen requests."""

from __future__ import annotations

import http.client
import itertools
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import fsspec
import pytest

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""
ACCESS_DENIED = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"""
SECRET = "not to be seen anywhere"
#: What may be done to a request: answered with 503, cut off before it is handed on, cut off after it was carried out,
#: cut off in the middle of the answer, answered with 403 if there is no such object (a bucket that may not be listed).
FAULTS = ("slow down", "drop", "lose answer", "cut answer", "forbid missing")
#: (number of the request, method, path) -> one of FAULTS, or None.
Plan = Callable[[int, str, str], str | None]


def export(patch: pytest.MonkeyPatch, address: str) -> None:
    """Set what a user would export; no configuration of whoever runs the tests is read."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        patch.delenv(name)
    values = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in values.items():
        patch.setenv(name, value)


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server in a process of its own; it ends with this one."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def asking(address: str) -> Iterator[None]:
    """`address` is the store for this process, where s3fs otherwise keeps the one that it had, and its children."""
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        yield
    fsspec.filesystem("s3").clear_instance_cache()


def client(address: str, **keys: str) -> Any:
    """A client of the server itself, past any proxy."""
    keys = keys or {"aws_access_key_id": "test", "aws_secret_access_key": SECRET}
    return boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)


def enforce_permissions(address: str, yes: bool) -> None:
    """Whether the server asks who may do what from now on."""
    count = b"0" if yes else b"inf"
    urllib.request.urlopen(
        urllib.request.Request(f"{address}/moto-api/reset-auth", count, {"Content-Type": "text/plain"})
    ).close()


def objects(address: str, bucket: str, prefix: str) -> dict[str, bytes]:
    """Every object below `prefix`, by what follows it."""
    s3 = client(address)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {key.removeprefix(prefix): s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


class Proxy:
    """Passes requests on to `target` but for those that `plan` names; `done` lists (method, path, fault)."""

    def __init__(self, target: str, plan: Plan) -> None:
        self.plan, self.done = plan, []  # type: ignore[var-annotated]
        self.numbers = itertools.count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, target.removeprefix("http://")))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def faults(self) -> set[str]:
        return {fault for _, _, fault in self.done if fault}

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Passes one client's requests on; subclasses say for which proxy, and to which host."""

    protocol_version = "HTTP/1.1"
    proxy: Proxy
    host: str

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.plan(next(self.proxy.numbers), self.command, self.path)
        self.proxy.done.append((self.command, self.path, fault))
        if fault == "slow down":
            self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
        elif fault == "drop":
            self._hang_up()
        else:
            self._forward(body, fault)

    def _forward(self, body: bytes, fault: str | None) -> None:
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        response = connection.getresponse()
        data, headers = response.read(), dict(response.getheaders())
        connection.close()
        if fault == "lose answer":
            self._hang_up()
        elif fault == "forbid missing" and (response.status == 404 or "list-type" in self.path):
            self._answer(403, {"Content-Type": "application/xml"}, ACCESS_DENIED)
        else:
            self._answer(response.status, headers, data, cut=fault == "cut answer")

    def _answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        body = b"" if self.command == "HEAD" else data
        with suppress(OSError):
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Silence."""


def _handler(proxy: Proxy, host: str) -> type[BaseHTTPRequestHandler]:
    verbs = {f"do_{verb}": _Handler.pass_on for verb in ("GET", "PUT", "POST", "HEAD", "DELETE")}
    return type("Handler", (_Handler,), {**verbs, "proxy": proxy, "host": host})
