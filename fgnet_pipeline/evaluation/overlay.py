"""Pictures of a result: sections of raw, affinities, fragments, segmentation and labels side by side, as one PNG.

`fgnet_pipeline.kernels.colours` says which colour an id has.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.evaluation.blockwise import ArrayLike
from fgnet_pipeline.evaluation.computed import Computed
from fgnet_pipeline.kernels.colours import Rgb, affinity_colours, grey, overlay
from fgnet_pipeline.kernels.labels import known_labels
from fgnet_pipeline.store.atomic_files import write_atomic

Cut = Literal["z", "y"]

_PANEL_INCHES = 4.2
_DPI = 110
#: Divides the colours of voxels that were not computed.
DARKER = 4


@dataclass(frozen=True)
class Panels:
    """The volumes that are drawn side by side; those that are None are left out.

    Attributes:
        raw: (z, y, x) grey values.
        affinities: (C, z, y, x) uint8, 255 = one object.
        fragments: (z, y, x) ids, 0 = background.
        segmentation: (z, y, x) ids, 0 = background.
        labels: (z, y, x) ids, 0 = no ground truth.
        voxel_size: nm, zyx.
        computed: which voxels of affinities, fragments and segmentation were computed; None if all of them were. The
            others are drawn dark.
    """

    raw: ArrayLike
    affinities: ArrayLike | None = None
    fragments: ArrayLike | None = None
    segmentation: ArrayLike | None = None
    labels: ArrayLike | None = None
    voxel_size: Sequence[float] = (1.0, 1.0, 1.0)
    computed: Computed | None = None

    @property
    def ids(self) -> dict[str, ArrayLike]:
        """Name -> array of ids, of those that are given."""
        named = {"fragments": self.fragments, "segmentation": self.segmentation, "labels": self.labels}
        return {name: array for name, array in named.items() if array is not None}


def save_overlay(
    path: Path | str, panels: Panels, *, z: int | None = None, y: int | None = None, title: str = ""
) -> None:
    """Write one PNG: a row of panels for section z and one for section y, each drawn in true proportions.

    Only the two sections are read. The file is there as a whole or not at all.

    Args:
        path: of the PNG; its folder is made if it does not exist.
        panels: what to draw.
        z: section of the upper row; None is the middle one.
        y: section of the lower row; None is the middle one.
        title: above the panels.

    Raises:
        InputError: shapes differ, or a section is outside the volume.
    """
    _check_shapes(panels)
    shape = panels.raw.shape
    cuts: list[tuple[Cut, int]] = [("z", _section("z", z, shape[0])), ("y", _section("y", y, shape[1]))]
    rows = [_row(panels, cut, at) for cut, at in cuts]
    write_atomic(Path(path), _png(_figure(rows, cuts, panels.voxel_size, title)))


def _row(panels: Panels, cut: Cut, at: int) -> dict[str, Rgb]:
    """Caption -> picture of one section; all pictures have one size."""
    index = at if cut == "z" else (slice(None), at)
    section = np.asarray(panels.raw[index])
    row = {"raw": grey(section)}
    if panels.affinities is not None:
        channels = panels.affinities[:, at] if cut == "z" else panels.affinities[:, :, at]
        caption = "affinities (z, y, x = red, green, blue)"
        row[caption] = _darkened(affinity_colours(np.asarray(channels)), panels, cut, at)
    for name, array in panels.ids.items():
        part = np.asarray(array[index])
        part = known_labels(part, name) if name == "labels" else part
        caption = f"{name}: {len(np.unique(part[part != 0]))} ids in this section"
        picture = overlay(section, part)
        row[caption] = picture if name == "labels" else _darkened(picture, panels, cut, at)
    return row


def _darkened(picture: Rgb, panels: Panels, cut: Cut, at: int) -> Rgb:
    """A picture of one section, dark wherever nothing was computed."""
    if panels.computed is None:
        return picture
    z, y, x = panels.raw.shape
    box = Box((at, 0, 0), (at + 1, y, x)) if cut == "z" else Box((0, at, 0), (z, at + 1, x))
    reasons = panels.computed.reasons(box)
    if reasons is None:
        return picture
    dark = np.squeeze(reasons, 0 if cut == "z" else 1) > 0
    return np.where(dark[..., None], picture // DARKER, picture).astype(np.uint8)


def _figure(rows: list[dict[str, Rgb]], cuts: list[tuple[Cut, int]], voxel_size: Sequence[float], title: str) -> Figure:
    """The panels in rows; the height of a row follows the extent of its section in nm."""
    aspects = [voxel_size[1] / voxel_size[2], voxel_size[0] / voxel_size[2]]
    heights = []
    for row, aspect in zip(rows, aspects, strict=True):
        height, width = next(iter(row.values())).shape[:2]
        heights.append(min(max(_PANEL_INCHES * height * aspect / width, 0.4), 3 * _PANEL_INCHES))
    figure = Figure(figsize=(_PANEL_INCHES * len(rows[0]), sum(heights) + 1.1), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False, gridspec_kw={"height_ratios": heights})
    for line, row, (cut, at), aspect in zip(axes, rows, cuts, aspects, strict=True):
        for axis, (caption, picture) in zip(line, row.items(), strict=True):
            _draw(axis, picture, caption, aspect)
        line[0].set_ylabel(f"section {cut} = {at}")
    if title:
        figure.suptitle(title)
    return figure


def _draw(axis: Axes, picture: Rgb, caption: str, aspect: float) -> None:
    axis.imshow(picture, interpolation="nearest", aspect=aspect)
    axis.set_title(caption, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])


def _png(figure: Figure) -> bytes:
    """The figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _section(name: str, at: int | None, size: int) -> int:
    if at is None:
        return size // 2
    if not 0 <= at < size:
        raise InputError(name, at, f"a section from 0 to {size - 1}", "choose one inside the volume")
    return at


def _check_shapes(panels: Panels) -> None:
    shape = tuple(panels.raw.shape)
    if len(shape) != 3:
        raise InputError("raw", shape, "3 axes (z, y, x)", "name a volume")
    others = panels.ids if panels.affinities is None else {"affinities": panels.affinities, **panels.ids}
    for name, array in others.items():
        if tuple(array.shape[1 if name == "affinities" else 0 :]) != shape:
            expected = f"the shape of raw, {shape}"
            raise InputError(name, tuple(array.shape), expected, "cut the arrays to one region")
