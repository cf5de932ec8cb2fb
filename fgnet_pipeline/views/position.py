"""Where a view is centred: a voxel that the user names, a voxel of a segment, or the middle of the region."""

from __future__ import annotations

import numpy as np

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import DamageError, InputError
from fgnet_pipeline.core.geometry import Box, Grid, Vector, block_of_ids, vector, whole
from fgnet_pipeline.store.arrays import readable
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.stored_files import files_below, table_index
from fgnet_pipeline.store.tables import Tables
from fgnet_pipeline.store.volume import Volume

REMEDY = "take an id from the segmentation"


def segment_id(text: str) -> int:
    """The id of an option `--segment ID`.

    Raises:
        InputError: other text.
    """
    if not (text.isascii() and text.removeprefix("-").isdecimal()):
        raise InputError("--segment", text, "a whole number", REMEDY)
    return int(text)


def middle(output: Output, shape: Vector) -> Vector:
    """The middle of the region that the latest run computed; that of the volume, if no run says so."""
    region = output.saved_region() or whole(shape)
    inside = region.intersect(whole(shape)) or whole(shape)
    return vector(np.floor_divide(np.add(inside.begin, inside.end), 2))


def voxel_of_segment(segment: int, config: Config, output: Output, segmentation: Volume) -> Vector:
    """A voxel of a segment.

    A segment is named by the largest id of its fragments, so this fragment belongs to it, at whatever threshold. The
    table of the block of this fragment has a voxel of it, and the segmentation says whether the segment is there.

    Args:
        segment: its id.
        config: of the run.
        output: of the run.
        segmentation: as stored.

    Raises:
        InputError: the segmentation has no segment of that id.
    """
    expected = "a segment of the stored segmentation"
    if not 0 < segment < 1 << 63:
        raise InputError("--segment", segment, expected, REMEDY)
    own = config.fragments.path is None
    block = vector(block_of_ids(np.array([segment], np.uint64))[0]) if own else None
    with readable(segmentation.path, "--segment"):
        voxel = _voxel_of_fragment(segment, output.tables("fragments", "fragments"), block)
        if voxel is None and block is not None:  # its table may be lost
            voxel = _found_in(segment, segmentation, Grid(config.schedule.block_shape_of("fragments")).box(block))
        if voxel is None or not whole(segmentation.shape).contains(_single(voxel)):
            raise InputError("--segment", segment, expected, REMEDY)
        actual = int(segmentation.read(_single(voxel))[0, 0, 0])
    if actual == 0:
        raise InputError("--segment", segment, f"{expected} (its block has no segments yet)", "wait for the run")
    if actual != segment:
        stated = f"{expected} (this fragment is part of {actual})"
        raise InputError("--segment", segment, stated, f"name {actual}")
    return voxel


def _single(voxel: Vector) -> Box:
    return Box(voxel, vector(np.add(voxel, 1)))


def _voxel_of_fragment(fragment: int, tables: Tables, block: Vector | None) -> Vector | None:
    """A voxel of a fragment from the tables of fragments; None if none that can be read lists it.

    Args:
        fragment: its id.
        tables: of fragments.
        block: in which it lies; None if its id does not tell, so that all tables are searched.
    """
    blocks = [block] if block is not None else _blocks_of(tables)
    for each in blocks:
        if not tables.exists(each):
            continue
        try:
            table = tables.read(each, ["id", "point"])
        except DamageError:
            continue
        rows = np.flatnonzero(table["id"] == fragment)
        if len(rows):
            return vector(table["point"][rows[0]])
    return None


def _blocks_of(tables: Tables) -> list[Vector]:
    found = (table_index(path.relative_to(tables.root).parts) for path in files_below(tables.root))
    return [block for block in found if block is not None]


def _found_in(segment: int, segmentation: Volume, box: Box) -> Vector | None:
    """The middle one, in C order, of the voxels of a segment in a box; None if there are none."""
    inside = box.intersect(whole(segmentation.shape))
    if not inside:
        return None
    voxels = np.argwhere(segmentation.read(inside) == segment)
    return vector(np.add(voxels[len(voxels) // 2], inside.begin)) if len(voxels) else None
