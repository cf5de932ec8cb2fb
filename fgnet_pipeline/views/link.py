"""Addresses at which a lab's own Neuroglancer finds the arrays of a result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.viewer_state import Source
from fgnet_pipeline.views.layers import Layer

#: Schemes that Neuroglancer reads by itself.
READ_BY_CLIENT = ("http", "https", "s3", "gs")
Bases = list[tuple[str, str]]


def base_urls(texts: Sequence[str], output: str) -> Bases:
    """The values of the options `--base-url [FOLDER=]URL`.

    Args:
        texts: of the options.
        output: folder or URL of the output, which FOLDER stands for if it is left out.

    Returns:
        (folder, URL) pairs, without slashes at their ends, the longest folder first.

    Raises:
        InputError: other text.
    """
    found = []
    for text in texts:
        folder, equals, url = text.rpartition("=") if not is_url(text.partition("=")[0]) else ("", "", text)
        if urlsplit(url).scheme not in READ_BY_CLIENT or not urlsplit(url).netloc or (equals and not folder):
            expected = f"[FOLDER=]URL, the URL with {', '.join(f'{scheme}://' for scheme in READ_BY_CLIENT)}"
            raise InputError("--base-url", text, expected, "e.g. --base-url https://data.lab.org/fish.zarr")
        place = folder if is_url(folder) else os.path.abspath(folder)
        found.append((place.rstrip("/") if equals else output.rstrip("/"), url.rstrip("/")))
    return sorted(found, key=lambda pair: -len(pair[0]))


def linked(layer: Layer, bases: Bases) -> Source | None:
    """Where a viewer elsewhere finds an array; None if it cannot read the array as it is stored.

    Args:
        layer: that is to be shown.
        bases: from `base_urls`.
    """
    address = _address(layer.path.rstrip("/"), bases)
    if address is None or layer.served.scheme is None:
        return None
    return layer.source(f"{layer.served.scheme}://{address}/", is_stored=True)


def _address(path: str, bases: Bases) -> str | None:
    for folder, url in bases:
        if path == folder or path.startswith(f"{folder}/"):
            return url + quote(path[len(folder) :])
    return _with_endpoint(path) if is_url(path) and urlsplit(path).scheme in READ_BY_CLIENT else None


def _with_endpoint(url: str) -> str:
    """The address of an object in another object store than Amazon's, if the environment names one."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not url.startswith("s3://") or not endpoint:
        return url
    parts = urlsplit(endpoint)
    return f"s3+{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{url.removeprefix('s3://')}"
