"""Says by which command a volume is imported, with the options that this volume needs."""

from __future__ import annotations

import shlex

import numpy as np

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.open_source import open_source
from fgnet_pipeline.datasets.source import Request, Size, Source
from fgnet_pipeline.datasets.understood import sampled_values
from fgnet_pipeline.kernels.grey import BLACK, WHITE

#: What stands for a voxel size that nobody has stated.
UNKNOWN_SIZE = "Z,Y,X"


def import_remedy(path: str, output: str, voxel_size: Size | None = None) -> str:
    """What to do with a volume that has to be converted: the command, with the options that this volume needs.

    A sample of the voxels is read, for the range of grey values.

    Args:
        path: file, folder or URL of the volume.
        output: the group to make.
        voxel_size: nm, zyx, that the user has stated; None if not.

    Returns:
        A clause. The command in it has `Z,Y,X` in place of a voxel size that nothing states. If the reader refuses the
        volume as it is, the clause says why.
    """
    words, notes = ["fgnet", "import", output, "--raw", path], list[str]()
    size = "" if voxel_size is None else ",".join(f"{v:.10g}" for v in voxel_size)
    try:
        source = open_source(Request(path, "--raw"))
        stated = _stated_size(source, notes) if voxel_size is None else None
        if voxel_size is None and stated is None:
            size = UNKNOWN_SIZE
        words += _range(source)
    except InputError as error:
        return f"the command that converts volumes, {shlex.join(words)}, refuses it: {error}"
    words += ["--voxel-size", size] if size else []
    if size == UNKNOWN_SIZE:
        notes.append(f"replace {UNKNOWN_SIZE} by the voxel size in nm, which the volume does not state")
    told = "".join(f"; {note}" for note in notes)
    return f"convert it: {shlex.join(words)}{told}; then: fgnet init {shlex.quote(f'{output}/raw')}"


def _stated_size(source: Source, notes: list[str]) -> Size | None:
    try:
        return source.voxel_size
    except InputError as error:
        notes.append(str(error))
        return None


def _range(source: Source) -> list[str]:
    """The option `--range`, with percentiles of a sample; nothing for uint8."""
    if source.dtype == "uint8":
        return []
    values = sampled_values(source, "--raw")
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return []
    low, high = np.percentile(finite, (BLACK, WHITE), method="nearest")
    if finite.min() < 0 and values.dtype.kind == "i":
        low = finite.min()  # a range that cuts off negative values would ask how to read them
    if low >= high:
        low, high = finite.min(), max(finite.max(), finite.min() + 1)
    return ["--range", f"{low:.10g},{high:.10g}"]
