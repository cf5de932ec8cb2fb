"""Published volumes: the shapes of their files, their voxel size, and which sections are for training and for tests.

The splits are those that FGNet's authors use (github.com/kwinderic/BrainEM). They count labelled sections, the first
labelled section being 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.suggestions import unknown_choice
from fgnet_pipeline.datasets.source import Size

Shapes = tuple[Vector, ...]


@dataclass(frozen=True)
class Preset:
    """One published volume.

    Attributes:
        raw: shapes in voxels, zyx, that its files of raw may have.
        labels: shapes in voxels, zyx, that its files of labels may have.
        voxel_size: nm, zyx.
        splits: name -> [first, last) labelled section.
        source: where these figures come from.
    """

    raw: Shapes
    labels: Shapes
    voxel_size: Size
    splits: Mapping[str, tuple[int, int]]
    source: str


_CREMI = Preset(
    raw=((125, 1250, 1250), (200, 3072, 3072)),
    labels=((125, 1250, 1250),),
    voxel_size=(40.0, 4.0, 4.0),
    splits={"train": (0, 100), "test": (100, 125)},
    source="cremi.org, cropped or padded volumes; 40x4x4 nm is the attribute `resolution` of its files",
)
_SNEMI = Preset(
    raw=((100, 1024, 1024),),
    labels=((100, 1024, 1024),),
    voxel_size=(30.0, 6.0, 6.0),
    splits={"train": (0, 80), "validate": (80, 100)},
    source="SNEMI3D challenge, train-input.tif and train-labels.tif (the volume AC4), stated as 6x6x30 nm",
)
PRESETS: dict[str, Preset] = {
    "cremi_a": _CREMI,
    "cremi_b": _CREMI,
    "cremi_c": _CREMI,
    "snemi3d": _SNEMI,
    "ac4": Preset(
        raw=_SNEMI.raw,
        labels=_SNEMI.labels,
        voxel_size=(29.0, 6.0, 6.0),
        splits=_SNEMI.splits,
        source="Kasthuri et al. 2015, doi:10.1016/j.cell.2015.06.054: sections of 29 nm, 6 nm in plane",
    ),
    "ac3": Preset(
        raw=((256, 1024, 1024), (100, 1024, 1024)),
        labels=((256, 1024, 1024), (100, 1024, 1024)),
        voxel_size=(29.0, 6.0, 6.0),
        splits={"test": (0, 100)},
        source="Kasthuri et al. 2015, doi:10.1016/j.cell.2015.06.054: sections of 29 nm, 6 nm in plane",
    ),
    "wafer4": Preset(
        raw=((125, 1250, 1250),),
        labels=((125, 1250, 1250),),
        voxel_size=(35.0, 8.0, 8.0),
        splits={"train": (0, 100), "test": (100, 125)},
        source="FGNet, arXiv 2511.13063: 125 labelled sections of 8x8x35 nm",
    ),
}


def preset_of(name: str) -> Preset:
    """The preset with this name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise unknown_choice("--preset", name, PRESETS, "leave it out for a volume of your own")
    return PRESETS[name]


def check_shape(name: str, field: str, shape: Vector, published: Shapes) -> None:
    """Check that a file can be the published one.

    Args:
        name: of the preset.
        field: the option to name in errors.
        shape: of the file's array in voxels, zyx.
        published: the shapes that it may have.

    Raises:
        InputError: it has another shape.
    """
    if shape not in published:
        expected = f"{' or '.join(str(list(s)) for s in published)} voxels, as {name} has"
        raise InputError(field, list(shape), expected, "check the file, or leave out --preset")
