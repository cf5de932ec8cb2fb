"""Object stores and web servers, through Zarr's own fsspec store.

Endpoints and credentials come from the environment and from the files of the clouds' own tools, never from our
configuration (docs/guides/object-stores.md). The libraries (botocore, s3fs, gcsfs, aiohttp-retry) repeat requests that
were throttled or cut off. This module sets their timeouts, and turns the errors that remain into one sentence.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore

from fgnet_pipeline.core.errors import InputError, StoreError

#: Scheme -> the package that serves it, and the extra of ours that installs it.
PACKAGES = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "http": ("aiohttp_retry", "http"),
    "https": ("aiohttp_retry", "http"),
}
#: How many requests a process has under way at once. A distant server is slow to answer, so this is more than the
#: number of threads.
REQUESTS_AT_ONCE = 16
#: How long to wait for a connection, and for the next bytes.
CONNECT_SECONDS, SILENCE_SECONDS = 5, 60
#: How often a request is tried, if neither the environment nor the user's AWS configuration says so.
ATTEMPTS = 6
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
#: Files that Zarr asks for to find out which format an array or group has; most of them do not exist.
_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata", "datasource-properties.json")


class RemoteStore(FsspecStore):
    """Zarr's fsspec store, but only an object that the server says is absent counts as absent.

    Otherwise a bucket that does not exist would read as zeros.

    S3 answers 403 (forbidden) for a key that does not exist, if the credentials have no permission to list the bucket.
    An input's metadata files of other formats than its own do not exist, so for these files 403 counts as absent. For a
    chunk it is an error: nobody can tell a chunk that is absent from one that must not be read.

    Attributes:
        denied: the sentence about the first metadata file that counts as absent because of a 403; None without one.

    Raises:
        StoreError: from every method: the server refuses or does not answer.
    """

    denied: str | None = None

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        with self._explained("read", key):
            try:
                return await super().get(key, prototype, byte_range)
            except _MISSING as error:
                if _code(error) == "NoSuchBucket":
                    raise
                return None
            except Exception as error:
                if not (self.read_only and key.rpartition("/")[2] in _METADATA and _is_forbidden(error)):
                    raise
                self.denied = self.denied or f"{self._url(key)} cannot be read: {_reason(error)}"
                return None

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        with self._explained("written", key):
            await super().set(key, value, byte_range)

    async def delete(self, key: str) -> None:
        """Remove one object with one request; the object need not exist."""
        self._check_writable()
        with self._explained("removed", key):
            try:
                await self.fs._rm_file(f"{self.path}/{key}")
            except _MISSING as error:
                if _code(error) == "NoSuchBucket":
                    raise

    async def delete_dir(self, prefix: str) -> None:
        with self._explained("removed", prefix):
            try:
                await super().delete_dir(prefix)
            except _MISSING as error:
                if _code(error) == "NoSuchBucket":
                    raise

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        with self._explained("listed", prefix):
            async for name in super().list_dir(prefix):
                yield name

    @contextmanager
    def _explained(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"{self._url(key)} cannot be {action}: {_reason(error)}") from error

    def _url(self, key: str) -> str:
        path = f"{self.path}/{key}".rstrip("/")
        protocol = self.fs.protocol if isinstance(self.fs.protocol, str) else self.fs.protocol[0]
        return path if "://" in path else f"{protocol}://{path}"


def _code(error: BaseException | None) -> str:
    """The S3 error code of `error` or of its cause; "" if there is none."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def _is_forbidden(error: Exception) -> bool:
    """Whether the server answered 403. A wrong key is answered with 403, too, but with a code of its own."""
    status = getattr(error, "status", None) or getattr(error, "code", None)
    return _code(error) in ("AccessDenied", "Forbidden", "403") or str(status) == "403"


def _reason(error: Exception) -> str:
    """What happened and what to do, as a sentence without a full stop."""
    lines = str(error).strip().splitlines()
    told = f"{_code(error) or type(error).__name__}{': ' + lines[0] if lines else ''}"
    if _code(error) == "NoSuchBucket":
        return f"there is no such bucket ({told}); check the name, or make the bucket"
    if _is_forbidden(error):
        return (
            f"no permission ({told}), or there is no such object and the credentials may not list the bucket; check "
            "the credentials and what they may do: s3:GetObject and s3:ListBucket (docs/guides/object-stores.md)"
        )
    if isinstance(error, PermissionError):
        return f"no permission ({told}); check the credentials and what they may do (docs/guides/object-stores.md)"
    return f"{told}; check address, credentials and network (docs/guides/object-stores.md), then run again"


def packages_of(config: dict[str, Any]) -> list[str]:
    """The packages that serve the URLs of a resolved configuration."""
    values = [value for section in config.values() if isinstance(section, dict) for value in section.values()]
    schemes = {urlsplit(value).scheme for value in values if isinstance(value, str) and "://" in value}
    return sorted({PACKAGES[scheme][0] for scheme in schemes if scheme in PACKAGES})


def open_store(url: str, field: str, *, read_only: bool) -> RemoteStore:
    """The store at `url`; no request is made yet.

    Args:
        url: of a folder in an object store or on a web server.
        field: the configuration key or option to name in errors.
        read_only: refuse to write.

    Raises:
        InputError: a package is not installed, or the URL holds credentials.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        shown = f"{parts.scheme}://...@{parts.hostname}{parts.path}"
        raise InputError(field, shown, "a URL without credentials", "put them where docs/guides/object-stores.md says")
    package, extra = PACKAGES.get(parts.scheme, ("fsspec", ""))
    if importlib.util.find_spec(package) is None:
        remedy = f"pip install 'fgnet-pipeline[{extra}]'"
        raise InputError(field, url, f"a location that the installed packages can open (no {package})", remedy)
    logging.getLogger("asyncio").addFilter(_is_not_unclosed)
    zarr.config.set({"async.concurrency": max(REQUESTS_AT_ONCE, zarr.config.get("async.concurrency"))})
    options = _OPTIONS.get(parts.scheme, dict)()
    try:
        return RemoteStore.from_url(url.rstrip("/"), options, read_only, allowed_exceptions=())  # type: ignore[return-value]
    except (ImportError, ValueError, OSError) as error:
        expected = "a location that the installed packages can open"
        raise InputError(field, url, expected, f"check the URL ({error})") from error


def _is_not_unclosed(record: logging.LogRecord) -> bool:
    """Drops aiohttp's warnings about unclosed connections: they are kept until the process ends, on purpose."""
    return not record.getMessage().startswith("Unclosed ")


def _s3_options() -> dict[str, Any]:
    import botocore.session

    session = botocore.session.get_session()
    settings: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "read_timeout": SILENCE_SECONDS}
    if not any(session.get_config_variable(name) for name in ("retry_mode", "max_attempts")):
        settings["retries"] = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    # max_concurrency: otherwise s3fs asks for the size of every object before it reads the object.
    return {"config_kwargs": settings, "max_concurrency": 1, "use_listings_cache": False}


def _timeouts() -> Any:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)


def _gs_options() -> dict[str, Any]:
    return {"session_kwargs": {"timeout": _timeouts()}, "use_listings_cache": False}


def _http_options() -> dict[str, Any]:
    return {"get_client": _retrying_client, "client_kwargs": {"timeout": _timeouts()}}


async def _retrying_client(**settings: Any) -> Any:
    """A web client that repeats requests, which that of fsspec does not."""
    import aiohttp
    from aiohttp_retry import ExponentialRetry, RetryClient

    async def is_whole(response: Any) -> bool:
        await response.read()  # the connection may be lost while the body is sent
        return True

    statuses = {408, 429, 500, 502, 503, 504}
    lost: set[type[Exception]] = {aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError}
    retries = ExponentialRetry(ATTEMPTS, statuses=statuses, exceptions=lost, evaluate_response_callback=is_whole)
    return RetryClient(retry_options=retries, **settings)


_OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "s3": _s3_options,
    "gs": _gs_options,
    "http": _http_options,
    "https": _http_options,
}
