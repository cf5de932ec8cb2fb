"""A result in Python: arrays that are read when they are needed, tables, the merge tree and the status.

result = fgnet_pipeline.open("my_output.zarr")
result.segmentation[100].compute()              # one section, as numpy
result.table("edges").to_table().to_pandas()    # the region adjacency graph
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.execution.status import Status, Watch
from fgnet_pipeline.stages.configuration import load_result
from fgnet_pipeline.stages.job import Job, open_job
from fgnet_pipeline.stages.registry import array_of, plan_job, stage_of, tables_of
from fgnet_pipeline.store.arrays import OutputArray, use_threads
from fgnet_pipeline.store.volume import Volume

if TYPE_CHECKING:
    import dask.array as da
    import pyarrow.dataset


class Result:
    """A result, finished or not. Nothing is written, and nothing is read before it is asked for.

    Args:
        place: path of the configuration, or path or URL of the output; or a configuration that is loaded.
        overrides: `section.key=value` texts, as after `--set`; not for a configuration that is loaded.

    Raises:
        InputError: no result, or inputs that cannot be opened.
    """

    def __init__(self, place: str | Path | Config, overrides: list[str] | None = None) -> None:
        config = place if isinstance(place, Config) else load_result(str(place), overrides)
        use_threads(config.schedule.threads)
        self._job = open_job(config, only_reads=True)
        plan_job(self._job)

    def __repr__(self) -> str:
        return f"Result({self._job.output.path!r}, shape {self.shape}, arrays {', '.join(self.arrays)})"

    @property
    def config(self) -> Config:
        """The configuration, with the values that the run used."""
        return self._job.config

    @property
    def shape(self) -> Vector:
        """Of the volume in voxels, zyx."""
        return self._job.bounds.shape

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Nanometres, zyx."""
        return self._job.frame.voxel_size

    @property
    def offset(self) -> tuple[float, float, float]:
        """Position of the corner of voxel 0 in nm, zyx."""
        return self._job.frame.offset

    @cached_property
    def arrays(self) -> dict[str, da.Array]:
        """All arrays that exist by name: `raw`, and those of the stages. (z, y, x) or (C, z, y, x) in voxels.

        Voxels of blocks that are not done are 0; `status` says which stages are finished.
        """
        job, found = self._job, {}
        if job.raw is not None:
            found["raw"] = _lazy(_RawReader(job.raw))
        if job.affinities is not None:
            found["affinities"] = _lazy(_LabReader(job, (len(job.neighbourhood),), "uint8", job.read_affinities))
        if job.fragments is not None:
            found["fragments"] = _lazy(_LabReader(job, (), "uint64", job.read_fragments))
        for name in job.plan.tasks:
            array = array_of(job, name)
            if array is not None and job.output.has_array(array):
                found[array] = _lazy(_OutputReader(job.output_array(array)))
        return found

    def __getattr__(self, name: str) -> da.Array:
        """An array by its name, e.g. `result.segmentation`."""
        if name.startswith("_") or name not in self.arrays:
            raise AttributeError(f"{type(self).__name__} has no array {name!r}; it has {', '.join(self.arrays)}")
        return self.arrays[name]

    @property
    def tables(self) -> list[str]:
        """Names of the tables of this result, in the order of the data flow."""
        job = self._job
        return [output.kind_of(task) for task in job.plan.tasks.values() for output in stage_of(task).tables]

    def table(self, name: str) -> pyarrow.dataset.Dataset:
        """A table as an Arrow dataset, of all blocks that are stored. Rows are read when they are asked for.

        Args:
            name: one of `tables`. docs/reference/output.md has the columns.

        Raises:
            InputError: no such table, or no block of it is stored.
        """
        expected = f"one of {', '.join(self.tables)}, of which a block is stored"
        return self._dataset([name], InputError("table", name, expected, "finish the run, or correct the name"))

    def _dataset(self, kinds: Collection[str], nothing: InputError) -> pyarrow.dataset.Dataset:
        """The tables of some kinds as one dataset; `nothing` is raised if no block of them is stored."""
        import pyarrow.dataset

        files = [str(path) for kind, path in self._table_files() if kind in kinds]
        if not files:
            raise nothing
        return pyarrow.dataset.dataset(files, format="parquet")

    def _table_files(self) -> Iterator[tuple[str, Any]]:
        job = self._job
        for name in job.plan.tasks:
            for tables in tables_of(job, name):
                for block in job.plan.active_blocks(name, job.plan.blocks(name)):
                    if tables.exists(block):
                        yield tables.kind, tables.path(block)

    @property
    def tree(self) -> pyarrow.dataset.Dataset:
        """The merge tree: rows a, b, parent, sum, count, of all levels of the octree.

        Raises:
            InputError: the agglomeration has not begun.
        """
        kinds = [kind for kind in self.tables if kind.startswith("merges-")]
        expected = "an agglomeration that has begun"
        return self._dataset(kinds, InputError("table", "merges", expected, "run `fgnet run` first"))

    def status(self) -> Status:
        """The progress of every stage, as `fgnet status` shows it."""
        return Watch(self.config).look()


class _Reader(ABC):
    """The members of an array that dask reads: shape, dtype, ndim and slices."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @abstractmethod
    def read(self, box: Box) -> npt.NDArray[Any]:
        """The voxels of a box, with all channels."""

    def __getitem__(self, index: tuple[slice | int, ...]) -> npt.NDArray[Any]:
        """Read the box around what `index` (one slice or integer per axis) selects, and select of it."""
        selected = [_selected(part, size) for part, size in zip(index, self.shape, strict=True)]
        space = [(low, high) for low, high, _ in selected[-3:]]
        values = self.read(Box(vector([low for low, _ in space]), vector([high for _, high in space])))
        lead = index[:-3]
        within: tuple[Any, ...] = (*lead, *(part for _, _, part in selected[-3:]))
        return np.asarray(values[within])


def _selected(part: slice | int, size: int) -> tuple[int, int, slice | int]:
    """(first element, element after the last, what to select between both) of an index along one axis."""
    if not isinstance(part, slice):
        return int(part), int(part) + 1, 0
    chosen = range(*part.indices(size))
    if len(chosen) == 0:
        return 0, 0, slice(None)
    low, high = sorted((chosen[0], chosen[-1]))
    return low, high + 1, slice(None, None, part.step)


class _OutputReader(_Reader):
    def __init__(self, array: OutputArray) -> None:
        self.array, self.shape, self.dtype = array, array.array.shape, array.array.dtype
        self.chunks = (*array.channels, *array.shards.block_shape)

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self.array.read(box)


class _RawReader(_Reader):
    def __init__(self, volume: Volume) -> None:
        self.volume, self.shape, self.dtype = volume, volume.shape, np.dtype(volume.dtype)
        stored = volume.array.shards or volume.array.chunks
        self.chunks = tuple(stored[axis] for axis in volume.order)

    def read(self, box: Box) -> npt.NDArray[Any]:
        return self.volume.read(box)


class _LabReader(_Reader):
    """Affinities or fragments that a lab brought, as the run reads them."""

    def __init__(self, job: Job, lead: tuple[int, ...], dtype: str, read: Any) -> None:
        self.shape, self.dtype, self._read = (*lead, *job.bounds.shape), np.dtype(dtype), read
        self.chunks = (*lead, *job.config.schedule.block_shape)

    def read(self, box: Box) -> npt.NDArray[Any]:
        return np.asarray(self._read(box))


def _lazy(reader: _Reader) -> da.Array:
    import dask.array as da

    return da.from_array(reader, chunks=reader.chunks, name=False, meta=np.zeros((0,) * reader.ndim, reader.dtype))


def open_result(place: str | Path, overrides: list[str] | None = None) -> Result:
    """Open a result for reading: `fgnet_pipeline.open`.

    Args:
        place: path of the configuration, or path or URL of the output.
        overrides: `section.key=value` texts, as after `--set`.

    Raises:
        InputError: no result, or inputs that cannot be opened.
    """
    return Result(place, overrides)
