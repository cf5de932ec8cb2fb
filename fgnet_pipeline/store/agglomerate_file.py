"""The agglomerate file of WEBKNOSSOS: which segments of a layer form an agglomerate, and by which edges.

Datasets of the HDF5 file, by the "AgglomerateAttachment Specification", version 4, of
github.com/scalableminds/webknossos-libs. The specification describes a Zarr group; the data store of WEBKNOSSOS reads
the same datasets from an HDF5 file `LAYER/agglomerates/NAME.hdf5`. Segments are numbered 1 to n and agglomerates 1 to
m; 0 is background and an empty agglomerate. What WEBKNOSSOS calls segments are our fragments, and its agglomerates are
our segments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION, ARTIFACT_CLASS = 4, "AgglomerateViewArtifact"
#: Bytes of a chunk, as the specification recommends.
CHUNK = 1 << 18
#: Offsets that are made at once.
PIECE = 1 << 16
Numbers = npt.NDArray[np.uint64]


class AgglomerateFile:
    """A new agglomerate file, written dataset by dataset from begin to end.

    Args:
        path: of the file; nothing may be there.
        document: attribute `fgnet_export`.
    """

    def __init__(self, path: Path, document: Mapping[str, Any]) -> None:
        import h5py  # only here: every command that looks for export formats imports this module

        # The oldest format that holds these datasets, since readers bring old libraries.
        self._file = h5py.File(path, "x", libver="earliest")
        self._file.attrs["artifact_schema_version"] = np.int64(SCHEMA_VERSION)
        self._file.attrs["artifact_class"] = ARTIFACT_CLASS
        self._file.attrs["fgnet_export"] = json.dumps(document, sort_keys=True)

    def write(self, name: str, dtype: str, shape: tuple[int, ...], pieces: Iterator[npt.NDArray[Any]]) -> None:
        """Write one dataset.

        Args:
            name: of the dataset.
            dtype: of it.
            shape: of it.
            pieces: arrays (k, ...) that follow each other along the first axis.

        Raises:
            ValueError: the pieces do not fill the dataset.
        """
        options: dict[str, Any] = {}
        if shape[0]:  # a dataset without rows has no chunks
            row = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
            options = {"chunks": (min(shape[0], CHUNK // row), *shape[1:]), "compression": "gzip", "shuffle": True}
        dataset = self._file.create_dataset(name, shape, dtype, track_times=False, **options)
        done = 0
        for piece in pieces:
            if len(piece):
                dataset[done : done + len(piece)] = piece
            done += len(piece)
        if done != shape[0]:
            raise ValueError(f"{name} has {done} rows instead of {shape[0]}")

    def __enter__(self) -> AgglomerateFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Offsets:
    """Where the rows of each agglomerate begin, while rows that are sorted by agglomerate pass by.

    Args:
        agglomerates: how many there are.
    """

    def __init__(self, agglomerates: int) -> None:
        self.agglomerates, self._next, self._rows = agglomerates, 0, 0

    def push(self, of_rows: Numbers) -> Iterator[Numbers]:
        """The offsets of all agglomerates up to that of the last row, from where the last call ended.

        Args:
            of_rows: the agglomerate of each row, uint64 (n,), sorted.
        """
        yield from self._until(int(of_rows[-1]) + 1 if len(of_rows) else self._next, of_rows)
        self._rows += len(of_rows)

    def finish(self) -> Iterator[Numbers]:
        """The offsets that are left, and the number of rows."""
        yield from self._until(self.agglomerates + 2, np.zeros(0, np.uint64))

    def _until(self, end: int, of_rows: Numbers) -> Iterator[Numbers]:
        while self._next < end:
            names = np.arange(self._next, min(end, self._next + PIECE), dtype=np.uint64)
            yield (self._rows + np.searchsorted(of_rows, names)).astype(np.uint64)
            self._next += len(names)
