"""Chunks of a precomputed volume that CloudVolume compressed file by file, with an ending such as `.gz`.

On a local disk there is no HTTP header that says how a file is compressed. So CloudVolume appends the kind to the name
of the file (github.com/seung-lab/cloud-volume/issues/432), and readers that look for the bare name find nothing.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow


def _by_arrow(kind: str) -> Callable[[bytes], bytes]:
    def decode(data: bytes) -> bytes:
        with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), kind) as stream:
            return bytes(stream.read())

    return decode


#: Ending of a file -> what undoes its compression. An empty ending means that the file is not compressed as a whole.
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.decompress,
    ".br": _by_arrow("brotli"),
    ".zstd": _by_arrow("zstd"),
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".lzma": lzma.decompress,
}


class CompressedChunks:
    """Hands the chunks of a folder to TensorStore under their bare names, in memory.

    Args:
        folder: of the chunks.
        kvstore: of TensorStore, in memory, in which the volume expects its chunks.
        key: of the folder in that store, ending with `/`.
    """

    def __init__(self, folder: Path, kvstore: Any, key: str) -> None:
        self._folder, self._kvstore, self._key = folder, kvstore, key

    def load(self, names: list[str]) -> None:
        """Put chunks into the store; a chunk that is not stored is left out.

        Raises:
            OSError, EOFError, ValueError, lzma.LZMAError: a file cannot be read or is damaged.
        """
        for name in names:
            for suffix, decode in DECODERS.items():
                file = self._folder / f"{name}{suffix}"
                if file.is_file():
                    try:
                        self._kvstore[self._key + name] = decode(file.read_bytes())
                    except Exception as error:
                        raise ValueError(f"{file.name}: {error}") from error
                    break

    def forget(self, names: list[str]) -> None:
        """Remove chunks from the store."""
        for name in names:
            self._kvstore.write(self._key + name, None).result()
