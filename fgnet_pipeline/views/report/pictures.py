"""Section of pictures: three planes through places in tissue, each as raw, affinities, fragments and segmentation."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.kernels.colours import Rgb, affinity_colours, grey, overlay
from fgnet_pipeline.views.layers import STAGE_OF
from fgnet_pipeline.views.report import numbers
from fgnet_pipeline.views.report.html import Html, Section, group, heading, how, lacking, picture
from fgnet_pipeline.views.report.result import Result

#: Number of places, and voxels of a side of a picture at most.
PLACES, SIDE = 3, 192
#: Name of a plane -> the axis perpendicular to it.
PLANES = {"xy": 0, "xz": 1, "yz": 2}
NAMES = ("raw", "affinities", "fragments", "segmentation")


def places_of(result: Result) -> list[Vector]:
    """Middles of blocks that hold something, spread evenly over them in C order.

    The last array that exists decides what holds something.
    """
    for name in ("relabel", "fragments", "predict"):
        state = result.tasks.get(name)
        if state is None:
            continue
        found = np.argwhere((state.keys != 0) & state.nonzero) + np.asarray(state.blocks.begin)
        if len(found):
            count = min(PLACES, len(found))
            chosen = found[[(2 * i + 1) * len(found) // (2 * count) for i in range(count)]]
            boxes = [state.grid.box(vector(block)).intersect(result.roi) for block in chosen]
            return [vector(np.add(box.begin, box.end) // 2) for box in boxes]
    return []


def pictures_section(result: Result) -> Section:
    """All places, plane by plane."""
    section, places = Section("pictures", "Pictures: three planes at several places"), places_of(result)
    if not places:
        return section.add(lacking(["no block of affinities, fragments or segmentation is done and holds something"]))
    absent = [name for name in NAMES if not _is_there(result, name)]
    if absent:
        section.add(lacking([f"not there: {', '.join(absent)}"]))
    section.add(
        how("Affinities along z, y and x are red, green and blue: white is the inside of an object. An id has one "
            "colour everywhere; lines are borders between ids. In blocks that are not done there are no ids."),
    )  # fmt: skip
    for place in places:
        section.add(heading(f"Voxel {numbers.voxel(place)} (z, y, x)"))
        section.add(group("pictures", [shown for plane in PLANES for shown in _plane(result, place, plane)]))
    return section


def _is_there(result: Result, name: str) -> bool:
    if name == "raw":
        return result.raw is not None
    task = result.tasks.get(STAGE_OF[name])
    return (task is not None and task.done > 0) or (name != "segmentation" and result.job is not None
                                                    and getattr(result.job, name) is not None)  # fmt: skip


def _plane(result: Result, place: Vector, plane: str) -> Iterator[Html]:
    """The pictures of one plane."""
    axis = PLANES[plane]
    begin = [place[a] if a == axis else place[a] - SIDE // 2 for a in range(3)]
    end = [place[a] + 1 if a == axis else place[a] + SIDE // 2 for a in range(3)]
    box = Box(vector(begin), vector(end)).intersect(result.roi)
    section = _cut(result.read("raw", box), axis)
    for name in NAMES:
        if not _is_there(result, name):
            continue
        data = section if name == "raw" else _cut(result.read(name, box), axis)
        if data is not None:
            yield _drawn(result, name, plane, box, _colours(name, data, section))


def _cut(data: npt.NDArray[Any] | None, axis: int) -> npt.NDArray[Any] | None:
    """The section of a box that is one voxel thick: (., .) or (C, ., .)."""
    return None if data is None else np.squeeze(data, data.ndim - 3 + axis)


def _colours(name: str, data: npt.NDArray[Any], raw: npt.NDArray[Any] | None) -> Rgb:
    if name == "raw":
        return grey(data)
    if name == "affinities":
        return affinity_colours(data)
    base = np.zeros(data.shape, np.uint8) if raw is None else raw
    return overlay(base, data, 0.45 if name == "fragments" else 0.3)


def _drawn(result: Result, name: str, plane: str, box: Box, colours: Rgb) -> Html:
    """A picture with its alternative text. Rows are the first axis of the plane that is left."""
    axis = PLANES[plane]
    rest = [a for a in range(3) if a != axis]
    size = np.asarray(result.frame.voxel_size if result.frame is not None else (1.0, 1.0, 1.0))
    height, width = (box.shape[a] * size[a] / size[rest].min() for a in rest)
    at = f"{'zyx'[axis]} = {box.begin[axis]}"
    across = ", ".join(f"{'zyx'[a]} {box.begin[a]} to {box.end[a] - 1}" for a in reversed(rest))
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, format="JPEG", quality=85)
    alt = f"{name} in the plane {plane} at {at}, voxels {across}"
    return picture(stream.getvalue(), "jpeg", alt, (round(width), round(height)), f"{name}, {plane}, {at}")
