"""Blocks of affinities on the GPU of a network: raw voxels go up, bytes come down, and the host touches nothing else.

The arithmetic is that of `Tiling.predict` with a `TileNetwork` and of `to_uint8`. Reading, copying to the GPU,
computing, copying back and writing are steps of different blocks at the same time: each lane of a worker has one block,
copies have streams of their own, and `compute` only starts the kernels. Every operation here also runs on a CPU, where
the tests compare all bytes with those of the host's arithmetic.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from fgnet.tensors import sent_to
from torch import Tensor

from fgnet_pipeline.core.geometry import Box, Vector
from fgnet_pipeline.kernels.tiling import Tiling
from fgnet_pipeline.stages.tile_network import TileNetwork

if TYPE_CHECKING:
    from fgnet.predictor import NetworkPredictor


@dataclass(frozen=True)
class OnDevice:
    """The voxels of one block, on the device.

    Attributes:
        raw: (z, y, x) on the host.
        origin: the voxel of the volume that is the first one of `raw`.
        voxels: the same voxels on the device, integers as signed ones of the same bits.
        values: float32, the normalised voxels; None if a table gives them.
        tiles: of the block, in the order of the lattice.
        may_be_padded: per tile, whether it may hold padding; then the host looks at it.
        ready: once the voxels are there; None on a CPU.
    """

    raw: npt.NDArray[Any]
    origin: Vector
    voxels: Tensor
    values: Tensor | None
    tiles: list[Box]
    may_be_padded: list[bool]
    ready: torch.cuda.Event | None


@dataclass(frozen=True)
class Computed:
    """Affinities uint8 (C, z, y, x) of one block on the device, which are there once `ready` is (None: they are)."""

    affinities: Tensor
    ready: torch.cuda.Event | None


class DeviceBlocks:
    """Computes blocks on one device.

    Args:
        tiling: of the model.
        predictor: the network.
        host: the same network as a function of raw tiles, for tiles that hold padding.
        volume: extent of the volume.
    """

    def __init__(self, tiling: Tiling, predictor: NetworkPredictor, host: TileNetwork, volume: Box) -> None:
        self.tiling, self.predictor, self.host, self.volume = tiling, predictor, host, volume
        self.device = predictor.device
        self._weights = torch.from_numpy(tiling.weights).to(self.device)
        self._up, self._down = self._stream(), self._stream()
        self._tables: dict[np.dtype[Any], Tensor] = {}

    def _stream(self) -> torch.cuda.Stream | None:
        return torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    @torch.inference_mode()
    def load(self, raw: npt.NDArray[Any], origin: Vector, box: Box) -> OnDevice:
        """Copy the voxels of a block to the device.

        Args:
            raw: (z, y, x), at least what `Tiling.reads` says.
            origin: the voxel of the volume that is the first one of `raw`.
            box: the block.
        """
        raw = np.ascontiguousarray(raw, raw.dtype.newbyteorder("="))
        with torch.cuda.stream(self._up):  # without a stream nothing happens
            voxels = self._copied(_signed(raw))
            values = None if _has_table(raw.dtype) else self._copied(self.host.normalise(raw))
            tiles = list(self.tiling.tiles(box, self.volume))
            sources = (self.tiling.sources(tile, origin, self.volume) for tile in tiles)
            flags = [self._may_be_padded(voxels[self._indices(found)]) for found in sources]
            padded = torch.stack(flags).tolist()  # waits for the copies, on a GPU in this stream alone
            ready = self._used_elsewhere(self._up, voxels, values)
        return OnDevice(raw, origin, voxels, values, tiles, padded, ready)

    @torch.inference_mode()
    def compute(self, block: OnDevice, box: Box) -> Computed:
        """Start the computation of a block; on a GPU it goes on after the call.

        Args:
            block: from `load`.
            box: the same as there.
        """
        if block.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(block.ready)
        total = torch.zeros((self.host.channels, *box.shape), device=self.device)
        weight = torch.zeros(box.shape, device=self.device)
        for tile, may_be_padded in zip(block.tiles, block.may_be_padded, strict=True):
            output = self._by_host(block, tile) if may_be_padded else self._by_device(block, tile)
            here, there = self.tiling.shared(tile, box)
            weights = self._weights[there]
            total[(slice(None), *here)] += output[(slice(None), *there)] * weights
            weight[here] += weights
        affinities = _to_uint8(total.div_(weight))
        return Computed(affinities, self._used_elsewhere(None, affinities))

    @torch.inference_mode()
    def finished(self, computed: Computed) -> npt.NDArray[np.uint8]:
        """Wait for a block and copy its affinities to the host."""
        result: npt.NDArray[np.uint8]
        if computed.ready is None or self._down is None:
            result = computed.affinities.cpu().numpy()
            return result
        with torch.cuda.stream(self._down):
            self._down.wait_event(computed.ready)
            host = torch.empty(computed.affinities.shape, dtype=torch.uint8, pin_memory=True)
            host.copy_(computed.affinities, non_blocking=True)
            done = self._down.record_event()
        done.synchronize()
        result = host.numpy()
        return result

    def _copied(self, values: npt.NDArray[Any]) -> Tensor:
        return sent_to(torch.from_numpy(values), self.device)

    def _used_elsewhere(self, stream: torch.cuda.Stream | None, *tensors: Tensor | None) -> torch.cuda.Event | None:
        """Tell torch that tensors of a stream (None: the one of the kernels) are read in another; None on a CPU."""
        if self._up is None or self._down is None:
            return None
        made_in = torch.cuda.current_stream(self.device) if stream is None else stream
        read_in = self._down if stream is None else torch.cuda.default_stream(self.device)
        for tensor in tensors:
            if tensor is not None:
                tensor.record_stream(read_in)
        return made_in.record_event()

    def _indices(self, found: tuple[Any, ...]) -> tuple[Any, ...]:
        """What `Tiling.sources` found, as it indexes an array on the device."""
        return found if isinstance(found[0], slice) else tuple(self._copied(positions) for positions in found)

    def _may_be_padded(self, voxels: Tensor) -> Tensor:
        """Whether a tile may hold padding, as a bool on the device; `kernels.padding` says exactly."""
        if self.host.runs is None:
            return torch.zeros((), dtype=torch.bool, device=self.device)
        y, x = self.host.runs
        return _may_have_run(voxels.transpose(1, 2), y) | _may_have_run(voxels, x)

    def _by_host(self, block: OnDevice, tile: Box) -> Tensor:
        raw = block.raw[self.tiling.sources(tile, block.origin, self.volume)]
        return torch.from_numpy(self.host(raw[None])[0]).to(self.device)

    def _by_device(self, block: OnDevice, tile: Box) -> Tensor:
        found = self.tiling.sources(tile, block.origin, self.volume)
        sources = self._indices(found)
        if block.values is not None:
            values = block.values[sources]
        else:
            bits = 8 * block.raw.itemsize
            indices = block.voxels[sources].int() & (2**bits - 1)
            values = self._table(block.raw.dtype).index_select(0, indices.flatten()).view(indices.shape)
        return self.predictor.on_device(values.contiguous(), _keys(tile, found[0], block.origin[0]))

    def _table(self, dtype: np.dtype[Any]) -> Tensor:
        """The normalised value of every value of a type of at most 16 bits, in the order of its unsigned bits."""
        if dtype not in self._tables:
            unsigned = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
            self._tables[dtype] = torch.from_numpy(self.host.normalise(unsigned.view(dtype))).to(self.device)
        return self._tables[dtype]


def _keys(tile: Box, sections: Any, first: int) -> list[Hashable]:
    """The sections of a tile by their place: that of the tile in plane, and the section of the volume.

    Args:
        tile: what it yields.
        sections: where its sections lie in an array, the first part of `Tiling.sources`.
        first: the section of the volume that is the first one of the array.
    """
    found = range(sections.start, sections.stop) if isinstance(sections, slice) else sections.ravel().tolist()
    return [(*tile.begin[1:], first + section) for section in found]


def _has_table(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _signed(raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Integers as signed ones of the same bits: torch computes with few unsigned types."""
    return raw.view(f"i{raw.itemsize}") if raw.dtype.kind in "iub" else raw


def _may_have_run(voxels: Tensor, shortest: int) -> Tensor:
    """`kernels.padding` looks for runs by the same lattice of cells: a run holds a whole cell of half its length."""
    cell = (shortest + 1) // 2
    cells = voxels.shape[-1] // cell
    parts = voxels[..., : cells * cell].unflatten(-1, (cells, cell))
    return (parts == parts[..., :1]).all(-1).any()


def _to_uint8(affinities: Tensor) -> Tensor:
    """`kernels.tiling.to_uint8`."""
    scaled = affinities.nan_to_num_(nan=0.0, posinf=1.0, neginf=0.0).mul_(255)
    return scaled.clamp_(0, 255).round_().to(torch.uint8)
