"""Folders of one picture per section: PNG (w3.org/TR/png) or TIFF ("TIFF 6.0").

Programs name sections with a prefix and a running number (Fiji, "Image Sequence"; SerialEM; TrakEM2).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from lab_files.specimen import Rendered, Truth


@dataclass
class PictureFolder:
    """The choices of a writer of one folder.

    Attributes:
        truth: what is right to read; the user gives the sizes.
        kind: `png` or `tif`.
        name: of a file, for `str.format` with the number.
        first: number of the first section.
        level: of compression, PNG.
        text: key -> value of text in the PNG.
        options: of `tifffile.imwrite`.
        bystanders: further files in the folder, by name.
    """

    truth: Truth
    kind: str = "png"
    name: str = "section_{}"
    first: int = 0
    level: int = 6
    text: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    bystanders: dict[str, bytes] = field(default_factory=dict)


def render(folder: PictureFolder) -> Rendered:
    """The files of the folder."""
    files = {f"sections/{name}": content for name, content in folder.bystanders.items()}
    for number, section in enumerate(folder.truth.voxels, folder.first):
        name = folder.name.format(number)
        ending = "" if "." in name else f".{folder.kind}"
        files[f"sections/{name}{ending}"] = picture(section, folder)
    options = {"voxel_size": folder.truth.voxel_size, "offset": folder.truth.offset}
    return Rendered({}, files, "sections", "folder", options=options)


def picture(section: Any, folder: PictureFolder) -> bytes:
    """One file."""
    buffer = io.BytesIO()
    if folder.options.get("photometric") == "miniswhite":
        section = ~section
    if folder.kind == "png":
        notes = PngImagePlugin.PngInfo()
        for key, value in folder.text.items():
            notes.add_text(key, value)
        Image.fromarray(np.ascontiguousarray(section)).save(buffer, "PNG", compress_level=folder.level, pnginfo=notes)
    else:
        tifffile.imwrite(buffer, section, **({"photometric": "minisblack"} | folder.options))
    return buffer.getvalue()
