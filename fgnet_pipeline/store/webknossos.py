"""What a WEBKNOSSOS data set states of an array that is one of its magnifications.

`datasource-properties.json` beside the layers has the voxel size of the finest magnification (x, y, z), per
magnification its factors (x, y, z), and `axisOrder`. Without `axisOrder` the last axes of the array are x, y, z. Arrays
begin at the corner of the data set. Source: "datasource-properties.json Specification" of
github.com/scalableminds/webknossos-libs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fgnet_pipeline.store.group_files import plain_path
from fgnet_pipeline.store.statement import Asked, Numbers, Order, Place, shown

FILE = "datasource-properties.json"


@dataclass(frozen=True)
class Magnification:
    """An array of a WEBKNOSSOS data set.

    Attributes:
        asked: the array.
        properties: the content of the file.
        layer: the entry of `dataLayers`.
        mag: the entry of `mags`.
        source: what the metadata are called.
    """

    asked: Asked
    properties: dict[str, Any]
    layer: dict[str, Any]
    mag: dict[str, Any]
    source: str = FILE

    def axes(self) -> tuple[str, ...] | None:
        order = self.mag.get("axisOrder")
        if order is None:
            return ("",) * (self.asked.ndim - 3) + ("x", "y", "z")
        if not isinstance(order, dict) or not all(_is_axis(index, self.asked.ndim) for index in order.values()):
            expected = f"positions from 0 to {self.asked.ndim - 1} of x, y and z"
            raise self.asked.refusal("axes", f"{self.source}, axisOrder = {shown(order)}", expected)
        names = [""] * self.asked.ndim
        for name, index in order.items():
            names[index] = str(name).lower()
        return tuple(names)

    def voxel_size(self, order: Order) -> Numbers | None:
        scale = self.properties.get("scale")
        if scale is None:
            return None
        factor, unit = (scale.get("factor"), scale.get("unit")) if isinstance(scale, dict) else (scale, None)
        finest = self._three("scale", factor) * self.asked.unit("voxel_size", f"{self.source}, scale", unit)
        return (finest * self._three("mag", _factors(self.mag.get("mag"))))[::-1]

    def place(self, order: Order) -> Place | None:
        return None

    def _three(self, name: str, value: Any) -> Numbers:
        numbers = self.asked.numbers("voxel_size", f"{self.source}, {name}", value)
        if len(numbers) != 3:
            raise self.asked.refusal("voxel_size", f"{self.source}, {name} = {shown(value)}", "3 numbers, x, y and z")
        return numbers


def _is_axis(index: object, ndim: int) -> bool:
    return isinstance(index, int) and not isinstance(index, bool) and 0 <= index < ndim


def _factors(mag: Any) -> Any:
    """The factors x, y, z of a magnification, which older files write as "2-2-1", or as one number for all axes."""
    if isinstance(mag, str) and all(part.isdecimal() for part in mag.split("-")):
        mag = [int(part) for part in mag.split("-")]
        mag = mag * 3 if len(mag) == 1 else mag
    return [mag] * 3 if isinstance(mag, int) else mag


def magnification_of(asked: Asked, properties: Any, name: str) -> Magnification | None:
    """The magnification that an array is, from the file of the folder that holds the data set.

    Args:
        asked: the array.
        properties: the content of the file.
        name: path of the array below the folder.

    Returns:
        None if the file does not name the array.
    """
    layers = properties.get("dataLayers") if isinstance(properties, dict) else None
    for layer in layers if isinstance(layers, list) else []:
        mags = layer.get("mags") if isinstance(layer, dict) else None
        for mag in mags if isinstance(mags, list) else []:
            if isinstance(mag, dict) and _path(layer, mag) == name:
                return Magnification(asked, properties, layer, mag)
    return None


def _path(layer: dict[str, Any], mag: dict[str, Any]) -> str | None:
    """The folder of a magnification below that of the data set: as stated, else LAYER/MAG."""
    if mag.get("path") is not None:
        return plain_path(mag["path"])
    factors = _factors(mag.get("mag"))
    if not isinstance(factors, list) or len(factors) != 3:
        return None
    short = str(factors[0]) if len(set(map(str, factors))) == 1 else "-".join(map(str, factors))
    return plain_path(f"{layer.get('name')}/{short}")
