"""The keys of a proposed configuration, and in plain words why each has its value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_pipeline.core.config import AgglomerateConfig, Config, FragmentsConfig
from fgnet_pipeline.core.counted import counted
from fgnet_pipeline.core.geometry import Box, Vector, vector, whole
from fgnet_pipeline.kernels.grey import BLACK, WHITE
from fgnet_pipeline.planning.block_choice import BlockChoice
from fgnet_pipeline.planning.machine import Machine
from fgnet_pipeline.planning.proposal_text import Line
from fgnet_pipeline.planning.readable import readable
from fgnet_pipeline.planning.volume_facts import VolumeFacts
from fgnet_pipeline.stages.model_choice import VOXEL_SIZE_TOLERANCE, ModelFacts, measured_normalisation
from fgnet_pipeline.store.frame import Frame

#: Voxels from which on a trial in a small region is advised.
LARGE = 10**9
#: Blocks per axis of the region of a trial.
TRIAL_BLOCKS = 2
#: Length of a voxel along z, divided by its width, from which on the fragments are made section by section.
ANISOTROPIC = 1.5
#: Share of stored chunks below which the file says that chunks are missing.
WELL_STORED = 0.9


@dataclass(frozen=True)
class Situation:
    """Everything that the values depend on.

    Attributes:
        volume: as it was seen.
        frame: its voxel size and offset.
        machine: that will run.
        blocks: how the run is divided.
        model: of the configuration; None with the user's own affinities.
        file: that will hold the configuration.
        given: the keys that the user has set.
    """

    volume: VolumeFacts
    frame: Frame
    machine: Machine
    blocks: BlockChoice
    model: ModelFacts | None
    file: Path
    given: Config

    @property
    def is_anisotropic(self) -> bool:
        """Whether a voxel is much longer along z than wide."""
        z, y, x = self.frame.voxel_size
        return z > ANISOTROPIC * max(y, x)


def head_of(it: Situation) -> list[str]:
    """The sentences at the begin of the file."""
    name = it.file.name
    said = [
        f"Configuration for {it.volume.path}, written by `fgnet init`. A key behind a number sign is not read, and its "
        "default holds. docs/reference/configuration.md explains every key.",
        f"Next: fgnet plan {name} --trial; fgnet run {name}; fgnet report {name}",
    ]
    return said + ([f"WARNING: {misfit(it.model, it.frame)}"] if not _is_fit(it) and it.model else [])


def misfit(model: ModelFacts, frame: Frame) -> str:
    """What a user can do if no shipped model was trained on voxels of this size."""
    return (
        f"no shipped model was trained on voxels of {_nm(frame.voxel_size)} nm. The nearest is {model.name} "
        f"({_nm(model.voxel_size)} nm), and its result will be poor. Train a model on your own labels "
        "(docs/guides/training.md), start from affinities of another program (docs/guides/own-affinities.md), or name "
        "a copy of the volume whose voxels fit."
    )


def _is_fit(it: Situation) -> bool:
    return it.model is None or it.model.fits(it.frame.voxel_size)


def lines_of(it: Situation) -> Iterator[Line]:
    """All lines of the file, in order."""
    yield from _of_volume(it)
    yield Line("output", "path", str(_free_output(it)), "A new folder for everything that is computed.")
    if it.model is not None:
        yield from _of_model(it, it.model)
    yield from _of_fragments(it)
    yield from _of_schedule(it)


def _of_volume(it: Situation) -> Iterator[Line]:
    seen = it.volume
    yield Line("volume", "path", seen.path, _seen(it))
    size = f"Voxel size in nm, zyx, as the array states it ({seen.voxel_size_from}). Set it only if that is wrong."
    yield Line("volume", "voxel_size", list(it.frame.voxel_size), size, is_set=False)
    if seen.dtype != "uint8":
        low, high = seen.grey
        yield Line("volume", "range", [low, high], f"Raw values shown as black and white, needed for {seen.dtype}: "
                   f"{BLACK:g} % of the sampled tissue lie below, {100 - WHITE:g} % above. A volume of "
                   f"this lab with the same contrast should have the same range.")  # fmt: skip
    yield Line("volume", "roi", _roi(it), _why_roi(it), is_set=False)
    yield Line("volume", "mask", "tissue.zarr/mask", _why_mask(it), is_set=False)


def _seen(it: Situation) -> str:
    seen = it.volume
    chosen = f" It is {seen.chosen}." if seen.chosen else ""
    stored = "" if seen.stored.share >= WELL_STORED else f" Only a part of it is stored: {seen.stored}."
    return (
        f"{_by(seen.shape)} voxels (z, y, x) of {_nm(it.frame.voxel_size)} nm, {seen.dtype} with values "
        f"{seen.values[0]} to {seen.values[1]} in a sample, in chunks of {_by(seen.chunk)}.{chosen}{stored}"
    )


def _roi(it: Situation) -> list[list[float]]:
    """`[begin, end]` in nm of the blocks around the middle."""
    block, bounds = np.asarray(it.blocks.block), whole(it.volume.shape)
    begin = (np.asarray(it.volume.middle) // block - (TRIAL_BLOCKS - 1) // 2) * block
    box = Box(vector(begin), vector(begin + TRIAL_BLOCKS * block)).intersect(bounds)
    size, offset = np.asarray(it.frame.voxel_size), np.asarray(it.frame.offset)
    return [[float(v) for v in np.round(offset + np.multiply(corner, size), 6)] for corner in (box.begin, box.end)]


def _why_roi(it: Situation) -> str:
    if it.volume.voxels >= LARGE:
        place = "around chunks that are stored" if it.volume.at_chunks else "in the middle"
        return (
            f"Try this region {place} before the whole volume of {it.volume.voxels / 1e9:.3g} Gvoxel: remove the "
            "number sign, run, and look at the result (fgnet report, fgnet view). Put the number sign back for the "
            "whole volume: blocks that are done are kept. [begin, end] in nm, zyx."
        )
    return "Compute only a part, [begin, end] in nm, zyx. Left out: the whole volume."


def _why_mask(it: Situation) -> str:
    text = "A Zarr array in which values other than 0 are tissue; blocks without tissue are not computed."
    blank = it.volume.blank
    if not blank.sections:
        return text
    runs = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in blank.runs[:5])
    more = ", ..." if len(blank.runs) > 5 else ""
    return (
        f"{len(blank.sections)} of the {blank.looked_at} sections that were looked at have one value ({runs}{more}). "
        f"The network sees mirrored tissue in their place, and segments that cross them may be cut. {text}"
    )


def _of_model(it: Situation, model: ModelFacts) -> Iterator[Line]:
    size, tolerance = _nm(it.frame.voxel_size), f"{100 * VOXEL_SIZE_TOLERANCE:g} %"
    if _is_fit(it):
        yield Line("model", "checkpoint", model.name, f"It was trained on voxels of {_nm(model.voxel_size)} nm, and "
                   f"{size} nm are within {tolerance} of them. docs/reference/model-card-nano.md says what it can and "
                   "cannot do.")  # fmt: skip
    else:
        yield Line("model", "checkpoint", model.name, f"Note: {misfit(model, it.frame)}")
        yield Line("model", "any_voxel_size", True, f"Without this line a model refuses voxels that differ by more "
                   f"than {tolerance} from its own. Remove it when checkpoint names a model that fits.")  # fmt: skip
    if it.volume.at_chunks:
        found = measured_normalisation(it.volume.sampled, it.given.volume.range or _limits(it), model.normalisation)
        yield Line("model", "normalisation", [round(v, 4) for v in found], "Mean and deviation of the grey values, "
                   "measured at chunks that are stored. The positions at which a run measures them hit no "
                   "tissue.")  # fmt: skip
    yield Line("model", "mode", "exact", 'Write "fast" for bfloat16 on processors and GPUs that have it '
               "(docs/decisions/modes.md).", is_set=False)  # fmt: skip
    yield Line("model", "device", "auto", _why_device(it.machine), is_set=False)


def _limits(it: Situation) -> tuple[float, float] | None:
    low, high = it.volume.grey
    return None if it.volume.dtype == "uint8" else (low, high)


def _why_device(machine: Machine) -> str:
    if not machine.gpus:
        return 'A GPU is used if there is one. This machine has none that nvidia-smi names; "cpu" or "cuda" decides.'
    if not machine.torch_sees_gpus:
        return (f"This machine has {_gpus(machine)}, but the installed PyTorch is a build for processors: install one "
                "for CUDA.")  # fmt: skip
    return f'A GPU is used if there is one: this machine has {_gpus(machine)}. "cpu" computes on the processor.'


def _gpus(machine: Machine) -> str:
    return f"{len(machine.gpus)} x {machine.gpus[0]}"


def _of_fragments(it: Situation) -> Iterator[Line]:
    if it.is_anisotropic:
        yield Line("fragments", "method", "sections", "Voxels are longer than wide, so fragments are made in each "
                   "section and joined along z by the agglomeration.")  # fmt: skip
    else:
        yield Line("fragments", "method", "volume", "Voxels are about as long as wide, so fragments are made in 3D.")
    # Values that a model recommends hold for its own method, which is the default.
    advised = {} if it.is_anisotropic or it.model is None else it.model.recommended
    distance = _default(FragmentsConfig, "min_seed_distance")
    threshold = _default(AgglomerateConfig, "threshold")
    by = "the value that the model recommends" if advised else "the default"
    yield Line("fragments", "min_seed_distance", advised.get("fragments", {}).get("min_seed_distance", distance),
               f"Voxels around a seed without a second one; larger values make larger fragments. Left out: {by}.",
               is_set=False)  # fmt: skip
    yield Line("agglomerate", "threshold", advised.get("agglomerate", {}).get("threshold", threshold),
               f"Two clusters merge if their mean affinity is at least this. Left out: {by}. With labels, `fgnet "
               "sweep` finds the best one; another value redoes only the last two stages.", is_set=False)  # fmt: skip
    yield Line("agglomerate", "leaf_blocks", _default(AgglomerateConfig, "leaf_blocks"),
               "Blocks per axis that are agglomerated at once. It changes memory and speed, never the result.",
               is_set=False)  # fmt: skip


def _default(table: type[Any], key: str) -> Any:
    return table.model_fields[key].default


def _of_schedule(it: Situation) -> Iterator[Line]:
    machine, blocks = it.machine, it.blocks
    has = f"This machine has {counted(machine.cores, 'core')} and {readable(machine.memory)} of memory."
    limit = "The memory allows no more workers." if blocks.by_memory else "One worker per core."
    if not blocks.by_memory and blocks.workers < machine.cores:
        limit = f"The volume has only {counted(blocks.blocks, 'block')}."
    yield Line("schedule", "workers", blocks.workers, f"{has} {limit}")
    yield Line("schedule", "block_shape", list(blocks.block), _why_block(it))
    yield Line("schedule", "threads", 1, "Per worker. Another number may change the last bit of predictions.", False)
    yield Line("schedule", "backend", "array", "For many nodes: job arrays of a cluster (docs/guides).", False)
    if it.model is not None and 0 < machine.usable_gpus < blocks.workers:
        yield Line("schedule.predict", "workers", machine.usable_gpus, f"One worker per GPU ({_gpus(machine)}); the "
                   "other stages compute on the processor.")  # fmt: skip


def _why_block(it: Situation) -> str:
    blocks, chunk = it.blocks, it.volume.chunk
    step = f"the step of the model's windows ({_by(blocks.step)})" if it.model else f"chunks ({_by(blocks.step)})"
    why = f"Voxels, zyx. Whole multiples of {step}" + (", so that no window is computed twice." if it.model else ".")
    aligned = (
        f" They are whole chunks of the volume ({_by(chunk)})." if blocks.is_aligned and it.model else
        f" Chunks of the volume ({_by(chunk)}) do not divide them; chunks at their faces are read twice, which costs "
        "little." if it.model else ""
    )  # fmt: skip
    return (f"{why}{aligned} A worker needs about {readable(blocks.memory)}; the volume has "
            f"{counted(blocks.blocks, 'block')}.")  # fmt: skip


def _free_output(it: Situation) -> Path:
    """A folder beside the file that does not exist yet."""
    stem = f"{it.file.stem}_segmentation"
    for number in range(1, 10**6):
        folder = it.file.parent / f"{stem}{'' if number == 1 else f'_{number}'}.zarr"
        if not folder.exists():
            return folder
    raise AssertionError("a million outputs lie beside the configuration")


def _by(shape: Vector) -> str:
    return " x ".join(map(str, shape))


def _nm(size: tuple[float, ...]) -> str:
    return " x ".join(f"{v:.6g}" for v in size)
