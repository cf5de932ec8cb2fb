"""Scores of a segmentation against labels, block by block, so that neither array has to fit in memory.

Both arrays lie in one voxel grid (zyx), each at its own offset in voxels, and are scored where they overlap.
The memory needed is one block of each a worker, and the sparse contingency table.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.evaluation.protocols import FGNET, EvaluationProtocol
from fgnet_pipeline.kernels import contingency as kernel
from fgnet_pipeline.kernels.contingency import Contingency

Box = tuple[tuple[int, int], ...]
"""(begin, end) in voxels for z, y and x."""

_FEW_ROWS = 1 << 16
_LARGEST_BLOCK = 1 << 25


class ArrayLike(Protocol):
    """What is read of an array: numpy and Zarr arrays fit."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True)
class Scores:
    """The scores of one comparison; lower is better.

    Attributes:
        voi_split: H(segment | label) in bits: what splitting objects costs.
        voi_merge: H(label | segment) in bits: what joining objects costs.
        voi_sum: voi_split + voi_merge.
        adapted_rand_error: in [0, 1].
        cremi_score: sqrt(voi_sum * adapted_rand_error), the ranking score of the CREMI challenge.
        voxels: voxels scored (label not 0, and not within an ignored border).
        protocol: by which rules, see `fgnet_pipeline.evaluation.protocols`.
    """

    voi_split: float
    voi_merge: float
    voi_sum: float
    adapted_rand_error: float
    cremi_score: float
    voxels: int
    protocol: str = FGNET.name

    def to_dict(self) -> dict[str, float | int | str]:
        """Plain values for JSON; the floats round-trip."""
        return asdict(self)


def scores_of(table: Contingency, protocol: EvaluationProtocol = FGNET) -> Scores:
    """The five scores of a contingency table. A table without voxels scores 0 everywhere."""
    split, merged = kernel.conditional_entropies(table)
    rand = protocol.rand_error(table)
    total = split + merged
    return Scores(split, merged, total, rand, math.sqrt(total * rand), table.voxels, protocol.name)


@dataclass(frozen=True)
class Comparison:
    """Two (z, y, x) integer arrays in one voxel grid, what of them is compared, and how.

    Attributes:
        segmentation: ids, 0 = background; fragments do as well.
        labels: ids of the ground truth; voxels with 0 are ignored.
        segmentation_offset: voxel of the common grid at which the segmentation begins.
        labels_offset: the same for the labels.
        segmentation_voxel_size: nm an axis; compared with that of the labels where both are given.
        labels_voxel_size: nm an axis; needed by a protocol that ignores a border.
        region: (begin, end) an axis in voxels of the labels array; None is all of it.
        block: shape in voxels read at a time; None chooses one from the chunks of the segmentation.
        workers: threads.
        protocol: what is ignored, and what the background counts.
    """

    segmentation: ArrayLike
    labels: ArrayLike
    segmentation_offset: Sequence[int] = (0, 0, 0)
    labels_offset: Sequence[int] = (0, 0, 0)
    segmentation_voxel_size: Sequence[float] | None = None
    labels_voxel_size: Sequence[float] | None = None
    region: Box | None = None
    block: Sequence[int] | None = None
    workers: int = 1
    protocol: EvaluationProtocol = FGNET

    def scores(self) -> Scores:
        """Score the segmentation where it overlaps the labels.

        Raises:
            InputError: the arrays cannot be compared (see `contingency`), or no voxel has a label.
        """
        table = self.contingency()
        if not len(table):
            raise InputError(
                "labels",
                "0 in every voxel compared",
                "at least one voxel with a label",
                "choose a region that holds labels or a protocol without an ignored border",
            )
        return scores_of(table, self.protocol)

    def contingency(self) -> Contingency:
        """The contingency table over the overlap; it does not depend on `block` and `workers`.

        Raises:
            InputError: dimensions, dtype, voxel sizes, region, block or workers do not fit, or nothing overlaps.
        """
        self._check()
        total = _Total()
        for table in _in_order(self._table, self._blocks(), self.workers):
            total.add(table)
        return total.table()

    def _check(self) -> None:
        _check_array("segmentation", self.segmentation)
        _check_array("labels", self.labels)
        _check_voxel_sizes(self.segmentation_voxel_size, self.labels_voxel_size)
        _check_at_least_one("workers", [self.workers])
        if self.protocol.border_nm is not None and self.labels_voxel_size is None:
            remedy = "give the array a voxel_size, or take the protocol fgnet"
            raise InputError("labels_voxel_size", None, "nm an axis, to measure the ignored border", remedy)

    def _blocks(self) -> Iterator[Box]:
        overlap = self._overlap(_checked_region(self.region, self.labels.shape))
        shape = tuple(self.block) if self.block is not None else _default_block(self.segmentation)
        _check_at_least_one("block", shape, dims=3)
        return _blocks(overlap, shape, self.segmentation_offset)

    def _overlap(self, region: Box) -> Box:
        """Where both have voxels, within a region of the labels array; in voxels of the common grid."""
        wanted = _moved(region, self.labels_offset)
        box = _intersection(wanted, _box(self.segmentation_offset, self.segmentation.shape))
        if any(end <= begin for begin, end in box):
            raise InputError(
                "segmentation",
                f"voxels {_box(self.segmentation_offset, self.segmentation.shape)}",
                f"an overlap with the labels at voxels {wanted}",
                "check offset and voxel size of both arrays",
            )
        return box

    def _table(self, box: Box) -> Contingency:
        segments = np.asarray(self.segmentation[_slices(_back(box, self.segmentation_offset))])
        return kernel.contingency(segments, self._labels_within(box))

    def _labels_within(self, box: Box) -> npt.NDArray[np.integer]:
        """Labels of a box, 0 where the protocol ignores them."""
        context = self._context()
        grown = tuple((b - c, e + c) for (b, e), c in zip(box, context, strict=True))
        read = _intersection(grown, _box(self.labels_offset, self.labels.shape))
        labels = np.asarray(self.labels[_slices(_back(read, self.labels_offset))])
        inside = _slices(_back(box, [begin for begin, _ in read]))
        ignored = self.protocol.ignored(labels, self.labels_voxel_size)
        return labels[inside] if ignored is None else np.where(ignored[inside], labels.dtype.type(0), labels[inside])

    def _context(self) -> tuple[int, int, int]:
        """Voxels an axis that must be read around a block to know its ignored border."""
        if self.protocol.border_nm is None or self.labels_voxel_size is None:
            return (0, 0, 0)
        y, x = (int(self.protocol.border_nm // size) + 1 for size in self.labels_voxel_size[1:])
        return (0, y, x)


@dataclass
class _Total:
    """A growing table; tables wait until they are as long as it, so that rows are sorted a few times only."""

    total: Contingency = field(default_factory=kernel.empty)
    waiting: list[Contingency] = field(default_factory=list)

    def add(self, table: Contingency) -> None:
        self.waiting.append(table)
        if sum(map(len, self.waiting)) > max(len(self.total), _FEW_ROWS):
            self.table()

    def table(self) -> Contingency:
        self.total = kernel.merge([self.total, *self.waiting])
        self.waiting.clear()
        return self.total


def _in_order(count: Callable[[Box], Contingency], blocks: Iterator[Box], workers: int) -> Iterator[Contingency]:
    """The blocks' tables; at most two blocks a worker are under way."""
    if workers == 1:
        yield from map(count, blocks)
        return
    with ThreadPoolExecutor(workers) as pool:
        under_way: list[Future[Contingency]] = []
        for box in blocks:
            under_way.append(pool.submit(count, box))
            if len(under_way) >= 2 * workers:
                yield under_way.pop(0).result()
        yield from (future.result() for future in under_way)


def _blocks(overlap: Box, shape: Sequence[int], anchor: Sequence[int]) -> Iterator[Box]:
    """The blocks of a lattice that begins at the anchor, cut at the overlap."""
    axes = []
    for (begin, end), size, origin in zip(overlap, shape, anchor, strict=True):
        first = origin + (begin - origin) // size * size
        axes.append([(max(at, begin), min(at + size, end)) for at in range(first, end, size)])
    return itertools.product(*axes)


def _default_block(array: ArrayLike) -> tuple[int, ...]:
    """About 128 voxels an axis, in whole shards or chunks where the array has them."""
    stored = getattr(array, "shards", None) or getattr(array, "chunks", None)
    if not isinstance(stored, tuple) or len(stored) != 3:
        return (128, 128, 128)
    block = tuple(max(1, round(128 / size)) * size for size in stored)
    return block if math.prod(block) <= _LARGEST_BLOCK else (128, 128, 128)


def _box(offset: Sequence[int], shape: Sequence[int]) -> Box:
    return tuple((int(o), int(o) + int(n)) for o, n in zip(offset, shape, strict=True))


def _moved(box: Box, by: Sequence[int]) -> Box:
    return tuple((b + d, e + d) for (b, e), d in zip(box, by, strict=True))


def _back(box: Box, origin: Sequence[int]) -> Box:
    return _moved(box, [-o for o in origin])


def _intersection(one: Box, other: Box) -> Box:
    return tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(begin, end) for begin, end in box)


def _check_array(name: str, array: ArrayLike) -> None:
    if len(array.shape) != 3:
        raise InputError(name, f"{len(array.shape)} dimensions", "3 (z, y, x)", "name an array of ids")
    if np.dtype(array.dtype).kind not in "ui":
        raise InputError(name, f"dtype {array.dtype}", "an integer dtype", "name an array of ids")


def _check_voxel_sizes(segmentation: Sequence[float] | None, labels: Sequence[float] | None) -> None:
    if segmentation is None or labels is None:
        return
    if len(segmentation) != len(labels) or not np.allclose(segmentation, labels, rtol=1e-6, atol=0):
        raise InputError(
            "labels",
            f"voxel size {tuple(labels)} nm",
            f"{tuple(segmentation)} nm, that of the segmentation",
            "compare arrays of one resolution",
        )


def _check_at_least_one(name: str, values: Sequence[int], dims: int = 1) -> None:
    if len(values) != dims or any(int(v) != v or v < 1 for v in values):
        got = values[0] if dims == 1 and len(values) == 1 else tuple(values)
        expected = "whole numbers of at least 1 for z, y and x" if dims == 3 else "a whole number of at least 1"
        raise InputError(name, got, expected, "change it")


def _checked_region(region: Box | None, shape: tuple[int, ...]) -> Box:
    """The region, or the whole labels array."""
    whole = _box((0, 0, 0), shape)
    if region is None:
        return whole
    if len(region) != 3 or any(not 0 <= b < e <= n for (b, e), n in zip(region, shape, strict=True)):
        raise InputError("region", region, f"begin < end within {whole}", "give voxels of the labels, z, y and x")
    return region
