"""Pictures of a result: sections of raw, affinities, fragments, segmentation and labels side by side, as one PNG.

An id has the same colour in every picture and on every machine, since the colour is computed from the id alone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.core.hashing import mix
from fgnet_pipeline.evaluation.blockwise import ArrayLike
from fgnet_pipeline.evaluation.computed import Computed
from fgnet_pipeline.kernels.labels import known_labels
from fgnet_pipeline.store.atomic_files import write_atomic

Rgb = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.integer]
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


def colours(ids: Ids) -> Rgb:
    """A bright colour for every id, black for 0.

    Args:
        ids: integers of any shape.

    Returns:
        (..., 3) uint8 RGB: hue, saturation and value come from a hash of the id
        (`fgnet_pipeline.core.hashing.mix`).
    """
    distinct, index = np.unique(ids, return_inverse=True)
    h = mix(distinct)
    hue = (h & np.uint64(0xFFFF)).astype(np.float64) / 0x10000
    saturation = 0.55 + 0.45 * ((h >> np.uint64(16)) & np.uint64(0xFF)).astype(np.float64) / 255
    value = 0.7 + 0.3 * ((h >> np.uint64(24)) & np.uint64(0xFF)).astype(np.float64) / 255
    table = _rgb(hue, saturation, value)
    table[distinct == 0] = 0
    return table[index.reshape(np.shape(ids))]


def _rgb(hue: npt.NDArray[np.float64], saturation: npt.NDArray[np.float64], value: npt.NDArray[np.float64]) -> Rgb:
    """HSV in [0, 1] to (n, 3) uint8 (the usual formula, f(k) for k = 5, 3, 1 with k + 6 h modulo 6)."""
    k = (np.array([5.0, 3.0, 1.0]) + 6 * hue[:, None]) % 6
    channel = value[:, None] * (1 - saturation[:, None] * np.clip(np.minimum(k, 4 - k), 0, 1))
    return np.rint(255 * channel).astype(np.uint8)


def boundaries(ids: Ids) -> npt.NDArray[np.bool_]:
    """Lines of one pixel between ids: where the id of a pixel differs from that of the next pixel along y or x.

    Args:
        ids: (y, x) section.

    Returns:
        bool (y, x).
    """
    lines = np.zeros(ids.shape, bool)
    lines[:-1] |= ids[:-1] != ids[1:]
    lines[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    return lines


def grey(raw: npt.NDArray[Any]) -> Rgb:
    """Grey values (y, x), stretched from the 0.5th to the 99.5th percentile, as (y, x, 3) uint8."""
    low, high = np.percentile(raw, [0.5, 99.5])
    stretched = np.clip((raw.astype(np.float64) - low) / max(high - low, 1e-9), 0, 1)
    return np.repeat(np.rint(255 * stretched).astype(np.uint8)[..., None], 3, axis=-1)


def overlay(raw: npt.NDArray[Any], ids: Ids, opacity: float = 0.45) -> Rgb:
    """Ids in colour over grey values, with thin lines between them; background stays grey.

    Args:
        raw: (y, x) grey values.
        ids: (y, x) fragments, segments or labels.
        opacity: of the colour, in [0, 1]; lines have the full colour of the id.

    Returns:
        (y, x, 3) uint8.
    """
    base, colour = grey(raw).astype(np.float64), colours(ids).astype(np.float64)
    weight = np.where(ids == 0, 0.0, np.where(boundaries(ids), 1.0, opacity))[..., None]
    return np.rint(base * (1 - weight) + colour * weight).astype(np.uint8)


def affinity_colours(affinities: npt.NDArray[np.uint8]) -> Rgb:
    """Affinities (C, y, x) uint8 as RGB (y, x, 3) uint8: z in red, y in green, x in blue; white means one object.

    Channels after the third are left out; if there are fewer than three, the last is repeated.
    """
    channels = [affinities[min(c, len(affinities) - 1)] for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


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
