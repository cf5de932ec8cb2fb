"""The state of a Neuroglancer viewer: its layers, their place in the world, and the address that carries the state.

The rest of the program counts zyx. Neuroglancer draws the first dimension of a state to the right and the second one
downwards, so positions and global dimensions are xyz here, and only here.

The JSON is that of Neuroglancer's viewer state (github.com/google/neuroglancer, `viewer.ts` and the class `ViewerState`
of its Python package). A voxel i covers the coordinates i to i + 1, so our offset, the corner of voxel 0, is a
translation as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fgnet_pipeline.core.geometry import Vector

#: Nanometres along z, y and x.
Size = tuple[float, float, float]
State = dict[str, Any]
SPACE = ("z", "y", "x")
#: Widest extent, in voxels, that is shown at more than one screen pixel per voxel.
PANEL_PIXELS = 500


@dataclass(frozen=True)
class Source:
    """Where a viewer finds an array, and where the array lies in the world.

    Attributes:
        url: in Neuroglancer's notation, e.g. `zarr3://http://127.0.0.1:8080/raw/`.
        axes: the name of every stored axis, in their order: `z`, `y`, `x`, `c` for channels. Any other axis has length
            one and a name of letters and digits.
        voxel_size: nm, zyx.
        offset: nm, zyx, of the corner of voxel 0.
        names: of the stored axes, as Neuroglancer finds them in the metadata; None if they are those of `axes`.
    """

    url: str
    axes: tuple[str, ...]
    voxel_size: Size
    offset: Size
    names: tuple[str, ...] | None = None

    def to_json(self) -> State:
        """The source of a layer. Names and units are stated here, whatever the metadata of the array state."""
        sizes = dict(zip(SPACE, self.voxel_size, strict=True))
        shifts = {axis: o / s for axis, o, s in zip(SPACE, self.offset, self.voxel_size, strict=True)}
        units = [[metres(sizes[axis]), "m"] if axis in sizes else [1, ""] for axis in self.axes]
        stored = dict(zip(self.names or self.axes, units, strict=True))
        # A name that ends in ^ belongs to the layer alone: its values are the channels that a shader reads.
        names = [axis if axis in sizes else f"{axis}^" for axis in self.axes]
        shown = dict(zip(names, units, strict=True))
        rank = len(self.axes)
        matrix = [[float(i == j) for j in range(rank)] + [shifts.get(axis, 0.0)] for i, axis in enumerate(self.axes)]
        transform = {"matrix": matrix, "outputDimensions": shown, "inputDimensions": stored}
        return {"url": self.url, "transform": transform}


def metres(nanometres: float) -> float:
    """A length in metres, as the decimal number that a person would write: 4 nm are 4e-09."""
    return float(f"{nanometres:.15g}e-9")


def grey_layer(name: str, source: Source, limits: tuple[float, float], visible: bool = True) -> State:
    """A layer of grey values.

    Args:
        name: of the layer.
        source: of one channel.
        limits: values that are shown as black and as white.
        visible: whether it is shown at first.
    """
    low, high = (f"{value:.9g}" for value in limits)
    shader = (
        f"#uicontrol invlerp normalized(range=[{low}, {high}])\nvoid main() {{\n  emitGrayscale(normalized());\n}}\n"
    )
    return _image(name, source, shader, visible)


def affinities_layer(name: str, source: Source, channels: Sequence[int] = (0, 1, 2), visible: bool = True) -> State:
    """A layer of affinities: red, green and blue are those along z, y and x, so a boundary is dark.

    Args:
        name: of the layer.
        source: with an axis `c`.
        channels: of the nearest neighbours along z, y and x.
        visible: whether it is shown at first.
    """
    values = ",\n".join(f"    toNormalized(getDataValue({channel}))" for channel in channels)
    return _image(name, source, f"void main() {{\n  emitRGB(vec3(\n{values}));\n}}\n", visible)


def _image(name: str, source: Source, shader: str, visible: bool) -> State:
    layer = {"type": "image", "source": source.to_json(), "shader": shader, "opacity": 1, "blend": "default"}
    return {**layer, "name": name, "visible": visible}


def ids_layer(name: str, source: Source, selected: Sequence[int] = (), visible: bool = True) -> State:
    """A layer of fragments, segments or labels.

    Args:
        name: of the layer.
        source: of one channel.
        selected: ids to show alone; none shows all. They become text, because JavaScript loses integers above 2^53.
        visible: whether it is shown at first.
    """
    layer = {"type": "segmentation", "source": source.to_json(), "segments": [str(i) for i in selected]}
    return {**layer, "name": name, "visible": visible}


def viewer_state(
    layers: Sequence[State], voxel_size: Size, offset: Size, shape: Vector, centre: Vector, title: str
) -> State:
    """The state of a viewer.

    Args:
        layers: from the lowest to the highest.
        voxel_size: nm, zyx, of the grid in which positions are counted.
        offset: nm, zyx, of the corner of voxel 0 of that grid.
        shape: voxels, zyx, of the volume.
        centre: the voxel, zyx, in whose middle the view is centred.
        title: of the browser's window.
    """
    position = [v + 0.5 + o / s for v, o, s in zip(centre, offset, voxel_size, strict=True)]
    return {
        "title": title,
        "dimensions": {axis: [metres(s), "m"] for axis, s in zip("xyz", reversed(voxel_size), strict=True)},
        "position": position[::-1],
        "crossSectionScale": min(1.0, max(shape) / PANEL_PIXELS),
        "projectionScale": 1.5 * max(shape),
        "layers": list(layers),
        "layout": "4panel",
    }


def fragment_of(state: State) -> str:
    """The part of an address, from `#` on, that carries a state."""
    return "#!" + quote(json.dumps(state, separators=(",", ":")), safe=":/,{}[]@$+=&")
