"""A job: the inputs, the region of interest, the mask and the output that a configuration names, opened and checked.

The driver and every worker open the same job from the same configuration. Opening writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box, Vector, check_ids_fit, vector, voxels_from_nm
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.core.task import Block
from fgnet_pipeline.stages.input_checks import check_raw, check_stored
from fgnet_pipeline.stages.lab_affinities import LabAffinities
from fgnet_pipeline.stages.recommended import resolve, settings_in, without_stages
from fgnet_pipeline.store.arrays import OutputArray
from fgnet_pipeline.store.input_identity import sample
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.tissue_mask import Mask
from fgnet_pipeline.store.volume import Frame, Volume, frame_of, open_volume

#: Voxels by which an end of the region of interest may miss the voxel grid without being rounded outwards.
ROUNDING = 1e-3


@dataclass
class Job:
    """Everything that a stage needs besides its own block.

    Attributes:
        config: the configuration, with values for all keys of `[fragments]` and `[agglomerate]`.
        raw: the raw volume; None if only affinities are given.
        affinities: the lab's own affinities; None if they are predicted.
        fragments: the lab's own fragments; None if a fragments method makes them.
        frame: voxel size and offset of voxel 0, in nm, zyx.
        bounds: the whole volume in voxels.
        roi: the region of interest in voxels.
        mask: the tissue mask; None if everything is tissue.
        output: everything below `output.path`.
        origins: for values of these tables that the configuration leaves open (`table.key`), where they come from.
        only_reads: whether results are only read. Then values of inputs are not checked again
            (`fgnet_pipeline.stages.known_inputs`).
        new_affinities: whether affinities are to be predicted now. If not, stored affinities are used as they are.
        purpose: what the job is opened for, if it is no run: a JSON document that tells a worker which function opens
            it (`fgnet_pipeline.execution.block_runner.WorkerSpec`).
        plan: set by `fgnet_pipeline.stages.registry.plan_job` or by a worker.
        left: per task, the comparison of records and plan that `fgnet_pipeline.execution.resume.left` keeps.
    """

    config: Config
    raw: Volume | None
    affinities: LabAffinities | None
    fragments: Volume | None
    frame: Frame
    bounds: Box
    roi: Box
    mask: Mask | None
    output: Output
    origins: Mapping[str, str] = field(default_factory=dict)
    only_reads: bool = False
    new_affinities: bool = True
    purpose: Mapping[str, Any] = field(default_factory=dict)
    plan: Plan = field(default_factory=lambda: Plan(Box((0, 0, 0), (0, 0, 0)), []))
    left: dict[str, tuple[Plan, Any, Any]] = field(default_factory=dict, repr=False)

    @property
    def neighbourhood(self) -> tuple[Vector, ...]:
        """The offset (zyx) of each channel of the affinities."""
        if self.affinities is not None:
            return self.affinities.neighbourhood
        return tuple(vector(offset) for offset in self.plan.tasks["predict"].fingerprint["neighbourhood"])

    def read_affinities(self, box: Box) -> npt.NDArray[np.uint8]:
        """Read affinities, predicted or the lab's own.

        Args:
            box: voxels.

        Returns:
            uint8 (C, z, y, x); value / 255 is the affinity.
        """
        if self.affinities is not None:
            return self.affinities.read(box)
        return self._without_inactive("predict", box, self.output_array("affinities").read(box))

    def read_fragments(self, box: Box) -> npt.NDArray[np.uint64]:
        """Read fragments, our own or the lab's.

        Args:
            box: voxels.

        Returns:
            uint64 (z, y, x); 0 is background.
        """
        if self.fragments is not None:
            return self.fragments.read(box).astype(np.uint64)
        return self._without_inactive("fragments", box, self.output_array("fragments").read(box))

    def read_tissue_fragments(self, box: Box) -> npt.NDArray[np.uint64]:
        """Read fragments as `read_fragments` does, but 0 outside the mask: a lab's own fragments may go on there."""
        fragments = self.read_fragments(box)
        if self.fragments is None or self.mask is None:
            return fragments
        return np.where(self.mask.read(box), fragments, np.uint64(0))

    def read_segmentation(self, box: Box) -> npt.NDArray[np.uint64]:
        """Read the segmentation.

        Args:
            box: voxels.

        Returns:
            uint64 (z, y, x); 0 is background.
        """
        return self._without_inactive("relabel", box, self.output_array("segmentation").read(box))

    def _without_inactive(self, task: str, box: Box, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Set the voxels of blocks without work to 0. These blocks may still hold results of an earlier mask."""
        if self.mask is None:
            return data
        grid = self.plan.tasks[task].grid
        blocks = grid.covering(box)
        for position in np.argwhere(~self.plan.active(task, blocks)):
            part = grid.box(vector(position + blocks.begin)).intersect(box)
            data[(..., *part.slices(box.begin))] = 0
        return data

    def output_array(self, name: str) -> OutputArray:
        """An array of the output by its name. It is opened once."""
        held: dict[str, OutputArray] = self.__dict__.setdefault("_arrays", {})
        if name not in held:
            held[name] = self.output.array(name)
        return held[name]

    def write_block(self, name: str, block: Block, data: npt.NDArray[Any]) -> list[Path]:
        """Write the write region of a block to an array of the output.

        Args:
            name: of the array.
            block: the block.
            data: (z, y, x) or (C, z, y, x), of the shape of `block.write`.

        Returns:
            The files to flush to disk.
        """
        array = self.output_array(name)
        array.write_block(block.whole, block.write, data)
        return list(array.shard_files(block.whole.intersect(array.bounds)))


def open_job(config: Config, anew: Collection[str] = (), only_reads: bool = False) -> Job:
    """Open and check everything that `config` names.

    Args:
        config: a validated configuration.
        anew: names of stages whose results are about to be replaced: the output keeps no values for them.
        only_reads: whether results are only read. Then no values of the inputs are sampled, and no chunks looked for:
            the run that made the results did. Workers leave this to the driver.

    Raises:
        InputError: the first input that does not fit. Nothing has been written.
    """
    volume = config.volume
    raw = None
    if volume.path is not None:
        raw = open_volume(volume.path, voxel_size=volume.voxel_size, offset=volume.offset, axes=volume.axes)
        if not only_reads:
            check_raw(raw, config)
    lab = config.affinities
    affinities = LabAffinities(lab.path, lab.channels, not only_reads) if lab.path else None
    fragments = open_volume(config.fragments.path, "fragments.path") if config.fragments.path else None
    shape = raw.shape if raw is not None else affinities.shape if affinities is not None else (0, 0, 0)
    _check_companions(shape, affinities, fragments, not only_reads)
    frame = _frame(config, raw, affinities)
    _check_frames(frame, affinities, fragments)
    bounds = Box((0, 0, 0), shape)
    from fgnet_pipeline.stages.registry import array_names  # which imports this file

    output = Output(config.output.path, config.output.state)
    output.check(array_names())
    if fragments is None:
        check_ids_fit(shape, config.schedule.block_shape_of("fragments"), "schedule.fragments.block_shape")
    mask = Mask(open_volume(volume.mask, "volume.mask"), frame) if volume.mask else None
    if not only_reads:
        check_stored(raw, fragments, mask.volume if mask else None, affinities)
    roi = region_of_interest(volume.roi, frame, bounds)
    begun = settings_in(output.saved_configuration()[1])
    resolved, origins = resolve(config, without_stages(begun, anew))
    return Job(resolved, raw, affinities, fragments, frame, bounds, roi, mask, output, origins, only_reads)


def _check_companions(
    shape: Vector, affinities: LabAffinities | None, fragments: Volume | None, check_values: bool
) -> None:
    expected = f"the volume's shape {list(shape)} (same voxel 0)"
    if affinities is not None and affinities.shape != shape:
        raise InputError("affinities.path", f"shape {list(affinities.shape)}", expected, "name another array")
    if fragments is not None:
        if fragments.shape != shape:
            raise InputError("fragments.path", f"shape {list(fragments.shape)}", expected, "name another array")
        if not np.issubdtype(fragments.dtype, np.integer):
            raise InputError("fragments.path", f"type {fragments.dtype}", "integers (0 = background)", "convert it")
        values = sample(shape, fragments.read, "fragments.path") if check_values else np.zeros(1)
        if values.min() < 0 or int(values.max()) >= 1 << 63:
            raise InputError("fragments.path", f"ids {values.min()} to {values.max()}", "0 <= id < 2^63", "renumber it")


def _check_frames(frame: Frame, affinities: LabAffinities | None, fragments: Volume | None) -> None:
    """Check that affinities and fragments lie in the same place as the volume, if they state a place."""
    for key, given in (("affinities.path", affinities), ("fragments.path", fragments)):
        if given is not None and given.frame is not None and not given.frame.seen_from(frame).is_close(frame):
            raise InputError(
                key,
                f"voxels of {list(given.frame.voxel_size)} nm at {list(given.frame.offset)} nm",
                f"the volume's {list(frame.voxel_size)} nm at {list(frame.offset)} nm",
                "correct the attributes, or set volume.voxel_size and volume.offset",
            )


def _frame(config: Config, raw: Volume | None, affinities: LabAffinities | None) -> Frame:
    volume = config.volume
    frame = raw.frame if raw is not None else None
    if frame is None and affinities is not None:
        frame = frame_of(affinities.array, affinities.path, affinities.order, volume.voxel_size, volume.offset)
    if frame is None:
        raise InputError(
            "volume.voxel_size",
            None,
            "nanometres, zyx (the volume's attributes do not state it)",
            "set e.g. volume.voxel_size=[40,4,4]",
        )
    return frame


def region_of_interest(corners: Sequence[Sequence[float]] | None, frame: Frame, bounds: Box) -> Box:
    """The region of interest in voxels. Ends between two voxels are rounded outwards.

    Args:
        corners: `volume.roi`, `[begin, end]` in nm, zyx; None for the whole volume.
        frame: of the volume.
        bounds: the whole volume in voxels.

    Raises:
        InputError: the region is empty or reaches outside the volume.
    """
    if corners is None:
        return bounds
    begin, end = (voxels_from_nm(corner, frame.offset, frame.voxel_size) for corner in corners)
    box = Box(vector(np.floor(begin + ROUNDING)), vector(np.ceil(end - ROUNDING)))
    if not box or not bounds.contains(box):
        low = np.asarray(frame.offset)
        high = low + np.multiply(bounds.end, frame.voxel_size)
        raise InputError(
            "volume.roi",
            [list(c) for c in corners],
            f"a box inside the volume [{low.tolist()}, {high.tolist()}] nm, begin before end",
            "change volume.roi or leave it out",
        )
    return box
