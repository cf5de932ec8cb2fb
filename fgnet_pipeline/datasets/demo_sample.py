"""Finds the demo's sample of real EM: on this machine, at the public source, or a generated phantom.

The sample is a Zarr v3 group with `raw` (uint8) and `labels` (uint64), zyx, 10 nm: sections 0-179 of
`training_sample2` of FlyEM's FIB-25 (adult Drosophila medulla, FIB-SEM; Creative Commons
Attribution-ShareAlike). It is not part of this project. Its files are fetched at one pinned commit and checked by
their SHA-256.

Environment: `FGNET_DATA` is the sample or the folder that holds it. `FGNET_SAMPLE_URL` is a mirror of the
public source; if it is empty, nothing is fetched.
"""

from __future__ import annotations

import gzip
import io
import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import numpy.typing as npt
import pooch
import requests
from PIL import Image

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets import phantom
from fgnet_pipeline.store.group_writer import write_sample

_log = logging.getLogger(__name__)

NAME = "fib25.zarr"
SOURCE = "https://raw.githubusercontent.com/janelia-flyem/neuroproof_examples/ce839e17deaf4c01153827c6d028dfecfbb4b958/"
LICENCE = "Creative Commons Attribution-ShareAlike"
_VOXEL_SIZE = (10.0, 10.0, 10.0)
#: Seconds to wait for a connection and for the next bytes.
_TIMEOUT = (5.0, 30.0)
_PROBE_SECONDS = 12.0
_CONNECTIONS = 6

Origin = Literal["local", "downloaded", "phantom"]


@dataclass(frozen=True)
class Sample:
    """A sample on disk.

    Attributes:
        path: the Zarr group that holds `raw` and `labels`.
        origin: where it comes from.
        sentence: the same in words for the user.
    """

    path: Path
    origin: Origin
    sentence: str


class _SourceDownError(Exception):
    """The public source cannot be read from here; the message says why."""


def find_sample(
    cache: Path, checkout: Path | None, registry: Mapping[str, str] | None = None, phantom_is_fine: bool = True
) -> Sample:
    """The first that exists of: `$FGNET_DATA`, the data beside the checkout, the cache, the public source, a phantom.

    Args:
        cache: folder for what is fetched or generated; made if it does not exist. An interrupted fetch goes on there.
        checkout: root of the project's checkout; None if the project is installed without one.
        registry: path below the source -> `sha256:...`; None is that of the public source.
        phantom_is_fine: if not, there is no phantom.

    Raises:
        InputError: a fetched file is not the one expected, the cache cannot be written, or nothing but a phantom can be
            had and it is not fine.
    """
    local = _local(checkout)
    if local is not None:
        return Sample(local, "local", f"The sample is real EM (FlyEM FIB-25) found at {local}.")
    known = registry if registry is not None else shipped_registry()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return _fetched_or_generated(cache, known, phantom_is_fine)
    except OSError as error:
        raise InputError(
            "cache", str(cache), "a folder that can be written", f"free space or name another one ({error})"
        ) from error


def shipped_registry() -> dict[str, str]:
    """Path below the source -> `sha256:...` of every file of the sample."""
    text = (resources.files("fgnet_pipeline.datasets") / "fib25_registry.txt").read_text()
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {path: digest for path, digest in lines}


def _local(checkout: Path | None) -> Path | None:
    given = os.environ.get("FGNET_DATA")
    candidates = [Path(given), Path(given) / NAME] if given else []
    if checkout is not None:
        candidates.append(checkout.resolve().parent / "shared" / "data" / NAME)
    found = next((path for path in candidates if _is_sample(path)), None)
    if given and found not in candidates[:2]:
        _log.warning("FGNET_DATA = %s holds no %s: looking elsewhere", given, NAME)
    return found


def _is_sample(path: Path) -> bool:
    return all((path / name / "zarr.json").is_file() for name in ("raw", "labels"))


def _fetched_or_generated(cache: Path, registry: Mapping[str, str], phantom_is_fine: bool) -> Sample:
    path = cache / NAME
    sentence = f"The sample is real EM (FlyEM FIB-25, {LICENCE}), fetched from its public source to {path}."
    if _is_sample(path):
        return Sample(path, "downloaded", sentence)
    try:
        files = _fetch(cache / "download", registry)
    except _SourceDownError as reason:
        if not phantom_is_fine:
            expected = f"the sample {NAME}, here or at its public source ({reason})"
            raise InputError("FGNET_DATA", os.environ.get("FGNET_DATA", ""), expected, "set it to a copy") from reason
        return _generated(cache, str(reason))
    raw, labels = _assemble(files)
    write_sample(path, raw, labels, _VOXEL_SIZE, {"source": SOURCE, "licence": LICENCE})
    return Sample(path, "downloaded", sentence)


def _generated(cache: Path, reason: str) -> Sample:
    path = cache / f"phantom{phantom.VERSION}.zarr"
    if not _is_sample(path):
        made = phantom.Phantom()
        raw, labels = phantom.generate(made)
        write_sample(path, raw, labels, made.voxel_size, {"source": "generated by fgnet_pipeline.datasets.phantom"})
    return Sample(
        path,
        "phantom",
        f"The sample is NOT real EM but a generated phantom at {path}, because {reason}; "
        "its scores say nothing about tissue.",
    )


def _fetch(folder: Path, registry: Mapping[str, str]) -> dict[str, Path]:
    """Fetch every file of the registry that `folder` does not hold yet.

    Returns:
        Path below the source -> the file.

    Raises:
        _SourceDownError: no connection, or the source does not have a file.
        InputError: a file is not the expected one, twice.
    """
    base = os.environ.get("FGNET_SAMPLE_URL", SOURCE)
    if not base:
        raise _SourceDownError("FGNET_SAMPLE_URL is empty")
    base = base.rstrip("/") + "/"
    pooch.get_logger().setLevel(logging.WARNING)
    store = pooch.create(folder, base, registry=dict(registry), retry_if_failed=1)
    if any(not (folder / name).exists() for name in registry):
        _probe(base + next(iter(registry)))
    for name in registry:  # pooch's own threads would race to make these
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        waiting = {name: pool.submit(_fetch_one, store, name) for name in registry}
        try:
            return {name: future.result() for name, future in waiting.items()}
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _fetch_one(store: pooch.Pooch, name: str) -> Path:
    downloader = pooch.HTTPDownloader(timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}, chunk_size=1 << 16)
    try:
        return Path(store.fetch(name, downloader=downloader))
    except requests.RequestException as error:
        raise _SourceDownError(_reason(store.get_url(name), error)) from error
    except ValueError as error:
        raise InputError(
            "FGNET_SAMPLE_URL",
            store.get_url(name),
            f"the file with {store.registry[name]}",
            "look what the source sends (a log-in page of the network?), or set FGNET_DATA to a copy",
        ) from error


def _probe(url: str) -> None:
    """Ask the source for the file, and wait at most `_PROBE_SECONDS` for an answer.

    A thread asks, because the look-up of a host name may never end.

    Raises:
        _SourceDownError: the source refuses, or gives no answer in time.
    """
    failures: list[str] = [f"{url} did not answer in {_PROBE_SECONDS:.0f} s"]

    def ask() -> None:
        try:
            with requests.get(url, timeout=_TIMEOUT[0], stream=True) as answer:
                answer.raise_for_status()
            failures.clear()
        except requests.RequestException as error:
            failures[:] = [_reason(url, error)]

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    if failures:
        raise _SourceDownError(failures[0])


def _reason(url: str, error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{url} answered {error.response.status_code}"
    return f"{url} cannot be reached ({type(error).__name__})"


def _assemble(files: Mapping[str, Path]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """Raw and labels (z, y, x) of as many sections as there are pictures."""
    pictures = sorted(path for name, path in files.items() if name.endswith(".png"))
    raw = np.stack([_section(path) for path in pictures])
    truth = next(path for name, path in files.items() if name.endswith(".h5.gz"))
    labels = _bodies(truth)[: len(raw)]
    if labels.shape != raw.shape:
        raise InputError(str(truth), labels.shape, f"labels of the pictures' shape {raw.shape}", "fetch it anew")
    return raw, labels


def _section(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


def _bodies(path: Path) -> npt.NDArray[np.uint64]:
    """The body of every voxel (z, y, x) of the whole cube, numbered 1, 2, 3, ... in the order of their ids; 0 stays 0.

    The HDF5 file holds `stack` (z, y, x) of supervoxels and `transforms`, rows (supervoxel, body).

    Raises:
        InputError: a supervoxel has no row.
    """
    with gzip.open(path) as packed, h5py.File(io.BytesIO(packed.read()), "r") as file:
        stack, transforms = np.asarray(file["stack"]), np.asarray(file["transforms"])
    rows = dict(transforms.tolist())
    supervoxels, index = np.unique(stack, return_inverse=True)
    missing = [s for s in supervoxels.tolist() if s and s not in rows]
    if missing:
        raise InputError(str(path), f"supervoxel {missing[0]}", "a row of `transforms` for each", "fetch it anew")
    bodies = np.array([rows.get(s, 0) for s in supervoxels.tolist()])
    distinct = np.unique(bodies[bodies > 0])
    dense = np.where(bodies > 0, np.searchsorted(distinct, bodies) + 1, 0).astype(np.uint64)
    return dense[index.reshape(stack.shape)]
