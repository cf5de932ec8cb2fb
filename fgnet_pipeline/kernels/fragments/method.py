"""What a fragments method is, how methods are found, and the one entry that calls a method by its name.

To add a method, write one file in this folder that defines `METHOD`, or name such an object in the entry-point group
`fgnet_pipeline.fragments_methods` of another distribution.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import NEAREST, Vector
from fgnet_pipeline.core.registry import discover

Labels = NDArray[np.uint32]
Option = bool | int | float | str

PACKAGE, ATTRIBUTE, GROUP = "fgnet_pipeline.kernels.fragments", "METHOD", "fgnet_pipeline.fragments_methods"


@dataclass(frozen=True, eq=False)
class Settings:
    """What every method is given beside the affinities.

    Attributes:
        boundary_threshold: in [0, 1]; a voxel is inside a fragment if 1 - affinity is below the threshold.
        min_seed_distance: radius in voxels of the box in which a seed is the maximum; at least 1.
        mask: bool (z, y, x); false voxels are background. None if there is no mask.
        neighbourhood: zyx offset of each channel; channel c at voxel v is the affinity of v and v + offset c.
    """

    boundary_threshold: float = 0.5
    min_seed_distance: int = 3
    mask: NDArray[np.bool_] | None = None
    neighbourhood: tuple[Vector, ...] = NEAREST

    @property
    def height_limit(self) -> int:
        """The boundary threshold as a uint8 height: a voxel is inside if its height is below the limit."""
        return round(255 * self.boundary_threshold)


@dataclass(frozen=True, eq=False)
class FragmentsMethod:
    """One way to cut affinities into fragments.

    Attributes:
        name: value of `fragments.method`.
        segment: called as `segment(affinities, settings, **options)`. affinities: uint8 (C, z, y, x), 255 = same
            object, never empty, not to be changed. settings: see `Settings`. options: every key of `options`. It
            returns uint32 (z, y, x): 0 outside the mask, otherwise 1..n. The result depends on the arguments alone.
        context: voxels zyx that a block needs around it, unless the configuration says otherwise.
        channels: how many leading channels `segment` is given; None: all of them.
        options: the method's own keys under `[fragments]`, each with its default value.
        warms_up: whether the process that workers are forked from runs the method once. False for a method whose
            first call costs more than a run of another method should pay.
    """

    name: str
    segment: Callable[..., Labels]
    context: Vector
    channels: int | None = 3
    options: Mapping[str, Option] = field(default_factory=dict)
    warms_up: bool = True

    def resolve(self, given: Mapping[str, Option]) -> dict[str, Option]:
        """Fill in the defaults of the method's own keys.

        Args:
            given: values by key.

        Returns:
            A value for every key of `options`, in that order.

        Raises:
            InputError: A key is unknown, or a value has another type than its default.
        """
        for key, value in given.items():
            if key not in self.options:
                known = ", ".join(self.options) or "none"
                expected = f"a key of the method {self.name!r} (of its own it has {known})"
                raise InputError(f"fragments.{key}", value, expected, "leave it out, or check the spelling")
            default = self.options[key]
            if type(value) is not type(default) and not (type(default) is float and type(value) is int):
                raise InputError(f"fragments.{key}", value, f"a value like {default!r}", "change the value")
        return {key: type(default)(given.get(key, default)) for key, default in self.options.items()}

    def warm_up(self) -> None:
        """Segment a volume of a few voxels, so that everything is imported and compiled."""
        channels = self.channels or len(NEAREST)
        affinities = np.full((channels, 4, 8, 8), 255, np.uint8)
        affinities[:, :, :, 3:5] = 0
        offsets = [np.multiply(NEAREST[c % 3], c // 3 + 1).tolist() for c in range(channels)]
        self.segment(affinities, Settings(neighbourhood=tuple(map(tuple, offsets))), **self.resolve({}))


@cache
def methods() -> dict[str, FragmentsMethod]:
    """All fragments methods by name.

    Raises:
        InputError: Two methods have one name, or an entry point does not lead to a method.
    """
    return discover(PACKAGE, ATTRIBUTE, GROUP, FragmentsMethod)


def segment_fragments(
    affinities: NDArray[np.uint8],
    method: str = "sections",
    *,
    boundary_threshold: float = 0.5,
    min_seed_distance: int = 3,
    mask: NDArray[np.bool_] | None = None,
    neighbourhood: tuple[Vector, ...] = NEAREST,
    **options: Option,
) -> Labels:
    """Cut a volume into fragments.

    Args:
        affinities: uint8 (C >= 3, z, y, x), 255 = same object; channels 0..2 are the affinities of a voxel and the
            voxel before it in z, y and x. Floats are refused: the caller scales them, and decides what NaN means.
        method: name of one of `methods`.
        boundary_threshold: see `Settings`.
        min_seed_distance: see `Settings`.
        mask: see `Settings`.
        neighbourhood: zyx offset of each channel that the method reads; further offsets are passed over.
        options: the method's own keys.

    Returns:
        uint32 (z, y, x): 0 outside the mask, otherwise 1..n. Not every method promises that a label is connected.

    Raises:
        ValueError: The dtype or the shape of the affinities is another, there is no such method, or a channel that the
            method reads has no offset.
        InputError: An option is unknown or of another type.
    """
    if affinities.dtype != np.uint8 or affinities.ndim != 4 or len(affinities) < 3:
        raise ValueError(f"affinities must be uint8 (C >= 3, z, y, x), not {affinities.dtype} {affinities.shape}")
    chosen = methods().get(method)
    if chosen is None:
        raise ValueError(f"method must be one of {', '.join(sorted(methods()))}, not {method!r}")
    channels = len(affinities) if chosen.channels is None else chosen.channels
    if len(affinities) < channels or len(neighbourhood) < channels:
        found = f"{len(affinities)} channels and {len(neighbourhood)} offsets"
        raise ValueError(f"method {method!r} reads {channels} channels and an offset of each, not {found}")
    own: dict[str, Any] = chosen.resolve(options)
    if affinities[0].size == 0:
        return np.zeros(affinities.shape[1:], np.uint32)
    settings = Settings(boundary_threshold, min_seed_distance, mask, neighbourhood[:channels])
    return chosen.segment(affinities[:channels], settings, **own)
