"""The voxel size that a TIFF file states.

- ImageJ: `unit` and `spacing` in the description, and pixels per unit in the tags XResolution and YResolution. The unit
  `pixel` means that nothing is known. ImageJ leaves out a spacing of 1 (ij.io.FileSaver, ij.io.FileOpener,
  github.com/imagej/ImageJ), so without one the spacing is not known either.
- OME: `PhysicalSizeX`, `Y` and `Z`, in micrometres unless `PhysicalSizeXUnit` says otherwise (OME schema 2016-06).
- Tags alone: pixels per inch or centimetre (TIFF 6.0, section 8). Scanners, cameras and picture libraries write 72 or
  96 per inch into every file, so a pixel of 10 um or more is no voxel size. Sections have no thickness there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.units import length_unit
from fgnet_pipeline.datasets.source import Size
from fgnet_pipeline.datasets.stated_numbers import numbers, positive, unit_factors

_PRINTED = 10_000.0  # nm
_TAG_UNITS = {2: "inch", 3: "cm"}
_REMEDY = "give --voxel-size in nm"


@dataclass(frozen=True)
class TiffSize:
    """A voxel size of which parts may be unknown.

    Attributes:
        z: nm; None if it is not stated.
        y: nm; None if it is not stated.
        x: nm; None if it is not stated.
    """

    z: float | None = None
    y: float | None = None
    x: float | None = None

    @property
    def whole(self) -> Size | None:
        """Nanometres, zyx; None if a part is missing."""
        if self.z is None or self.y is None or self.x is None:
            return None
        return (self.z, self.y, self.x)

    @property
    def note(self) -> str | None:
        """What is stated, if it is only a part."""
        parts = [f"{axis} {value:g} nm" for axis, value in (("z", self.z), ("y", self.y), ("x", self.x)) if value]
        return f"the file states {', '.join(parts)} of the voxel size, and no more" if 0 < len(parts) < 3 else None


def stated_size(file: Any, image: int, field: str, path: str) -> TiffSize:
    """The voxel size of an image of a file.

    Args:
        file: `tifffile.TiffFile`.
        image: number of the image, for OME metadata.
        field: the option to name in errors.
        path: of the file.

    Raises:
        InputError: a unit is unknown, or a number is none.
    """
    page = file.pages.first
    if file.is_ome and file.ome_metadata:
        return _of_ome(file.ome_metadata, image, field, path)
    metadata = dict(file.imagej_metadata or {})
    if not metadata and file.shaped_metadata:
        metadata = dict(file.shaped_metadata[0])
    if metadata.get("unit") is not None:
        return _of_imagej(page, metadata, field, path)
    return _of_tags(page, field, path)


def _of_imagej(page: Any, metadata: Mapping[str, Any], field: str, path: str) -> TiffSize:
    unit = str(metadata["unit"])
    if unit in ("inch", "cm") and metadata.get("spacing") is None:
        return _of_tags(page, field, path)
    y_unit, z_unit = metadata.get("yunit", unit), metadata.get("zunit", unit)
    y, x = (_pixel(page, tag, field, path) for tag in (283, 282))
    spacing = metadata.get("spacing")
    z = None
    if spacing is not None:
        what = f"{path}, ImageJ's spacing"
        z = positive(numbers(spacing, (1,), field, what), field, what)[0]
    return TiffSize(*(_in_nm(v, u, field, path) for v, u in ((z, z_unit), (y, y_unit), (x, unit))))


def _in_nm(value: float | None, unit: str, field: str, path: str) -> float | None:
    if value is None:
        return None
    factors = unit_factors(unit, 1, field, path, default=None)
    return None if factors is None else value * factors[0]


def _pixel(page: Any, tag: int, field: str, path: str) -> float | None:
    """The size of a pixel in the unit of the file, from the tag for x (282) or y (283)."""
    stated = page.tags.get(tag)
    if stated is None:
        return None
    value = stated.value
    try:
        per_unit = value[0] / value[1] if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        return None
    if not math.isfinite(per_unit) or per_unit < 0:
        raise InputError(field, f"{path}, tag {tag} = {value}", "pixels per unit above 0", _REMEDY)
    return 1 / per_unit if per_unit else None


def _of_tags(page: Any, field: str, path: str) -> TiffSize:
    unit = page.tags.get(296)
    name = _TAG_UNITS.get(int(unit.value)) if unit is not None else None
    if name is None:
        return TiffSize()
    factor = length_unit(name, field, path, _REMEDY)
    y, x = (_pixel(page, tag, field, path) for tag in (283, 282))
    sizes = [None if v is None or v * factor >= _PRINTED else v * factor for v in (y, x)]
    return TiffSize(None, *sizes)


def _of_ome(xml: str, image: int, field: str, path: str) -> TiffSize:
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise InputError(field, path, "OME metadata that are XML", f"{_REMEDY} ({error})") from error
    pixels = [element for element in root.iter() if re.sub(r"\{.*\}", "", element.tag) == "Pixels"]
    if not image < len(pixels):
        return TiffSize()
    return TiffSize(*(_physical(pixels[image].attrib, axis, field, path) for axis in "ZYX"))


def _physical(attributes: Mapping[str, str], axis: str, field: str, path: str) -> float | None:
    key = f"PhysicalSize{axis}"
    if key not in attributes:
        return None
    what = f"{path}, {key}"
    value = positive(numbers(attributes[key], (1,), field, what), field, what)[0]
    return _in_nm(value, attributes.get(f"{key}Unit", "µm"), field, what)
