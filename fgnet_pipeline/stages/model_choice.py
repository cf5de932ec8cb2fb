"""What models state: the geometry of the configured one, its normalisation, and which shipped one fits a volume.

Headers of files are read, so torch is not needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector, vector
from fgnet_pipeline.kernels.grey import to_grey
from fgnet_pipeline.kernels.padding import without_padding
from fgnet_pipeline.store.volume import Frame

if TYPE_CHECKING:
    import fgnet

#: The fraction, per axis, by which a voxel size may differ from the model's.
VOXEL_SIZE_TOLERANCE = 0.2
Size = tuple[float, float, float]


@dataclass(frozen=True)
class ModelFacts:
    """What the header of a model states.

    Attributes:
        name: for `model.checkpoint`.
        voxel_size: nm, zyx, of the volumes that it was trained on.
        any_voxel_size: whether it takes every voxel size.
        stride: voxels between two tiles, zyx.
        recommended: table of the configuration -> key -> value.
        normalisation: its kind, `robust` or `range`.
    """

    name: str
    voxel_size: Size
    any_voxel_size: bool
    stride: Vector
    recommended: dict[str, dict[str, Any]]
    normalisation: str = "robust"

    def fits(self, voxel_size: Sequence[float]) -> bool:
        """Whether the model was trained for a voxel size (nm, zyx), within the tolerance per axis."""
        return self.any_voxel_size or is_near(self.voxel_size, voxel_size)


def is_near(trained: Sequence[float], voxel_size: Sequence[float]) -> bool:
    """Whether a voxel size is that of a model, within `VOXEL_SIZE_TOLERANCE` per axis.

    Args:
        trained: voxel size of the model, nm, zyx.
        voxel_size: of the volume, nm, zyx.
    """
    return bool((np.abs(np.divide(voxel_size, trained) - 1) <= VOXEL_SIZE_TOLERANCE + 1e-9).all())


@contextlib.contextmanager
def as_input_errors() -> Iterator[None]:
    """Turn errors of the model package into `InputError`, which names the same field and remedy."""
    import fgnet

    try:
        yield
    except fgnet.ModelError as error:
        raise InputError(error.field, error.value, error.expected, error.remedy) from error


def geometry_of(config: Config) -> fgnet.Geometry:
    """The geometry of the configured model. The model package is imported here: other stages do without it."""
    import fgnet

    return fgnet.read_geometry(config.model.checkpoint, config.model.mode)


def is_smaller_in_exact(config: Config) -> bool:
    """Whether the tiles of mode `exact` have fewer voxels than those of the configured mode."""
    import fgnet

    return prod(fgnet.read_geometry(config.model.checkpoint, "exact").tile) < prod(geometry_of(config).tile)


def has_weights(config: Config) -> bool:
    """Whether the configured model is a network with weights, which needs torch."""
    from fgnet.weights import TOYS

    return config.model.checkpoint not in TOYS


def describe_model(config: Config, frame: Frame) -> fgnet.Geometry:
    """The geometry of the configured model, checked against the voxel size. Torch is not needed.

    Raises:
        InputError: the checkpoint is missing or is not one of ours, or the model was not trained for this voxel size.
    """
    with as_input_errors():
        geometry = geometry_of(config)
    fits = is_near(geometry.voxel_size, frame.voxel_size)
    if not (fits or config.model.any_voxel_size or geometry.any_voxel_size):
        raise InputError(
            "volume.voxel_size",
            list(frame.voxel_size),
            f"{list(geometry.voxel_size)} nm within 20 % per axis, for which {config.model.checkpoint} was trained",
            "use another model or level of the volume, or set model.any_voxel_size=true",
        )
    return geometry


def shipped_models() -> list[ModelFacts]:
    """All models with weights that come with this package, in the order of their names."""
    from fgnet.weights import TOYS, names

    return [model_facts(name) for name in names() if name not in TOYS]


def model_facts(checkpoint: str) -> ModelFacts:
    """What the header of a model states.

    Args:
        checkpoint: a path or a name.

    Raises:
        InputError: there is no such model, or the file is not one of ours.
    """
    import fgnet

    try:
        geometry, recommended = fgnet.read_geometry(checkpoint), fgnet.read_recommended(checkpoint)
    except fgnet.ModelError as error:
        raise InputError(error.field, error.value, error.expected, error.remedy) from error
    z, y, x = geometry.voxel_size
    any_size, kind = geometry.any_voxel_size, geometry.normalisation
    return ModelFacts(checkpoint, (z, y, x), any_size, vector(geometry.stride), recommended, kind)


def measured_normalisation(
    values: npt.NDArray[Any], limits: tuple[float, float] | None, kind: str = "robust"
) -> tuple[float, float]:
    """The normalisation of a volume, from a sample of its voxels.

    Args:
        values: raw (n,), row after row of the sampled cubes.
        limits: raw values shown as black and white; None takes uint8 as it is.
        kind: of the normalisation, as the model states it.

    Returns:
        (shift, scale) of grey values.
    """
    from fgnet.normalise import constants

    shift, scale = constants(to_grey(without_padding(values), limits), kind)
    return float(shift), float(scale)
