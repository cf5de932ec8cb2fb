"""The layers of a result that can be shown, where their arrays are, and why other layers are missing.

A result is shown however far it is. So every array is opened by itself, and one that is missing or damaged is a
sentence, not the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fgnet_pipeline.core.config import Config, is_url
from fgnet_pipeline.core.errors import InputError, PipelineError
from fgnet_pipeline.core.geometry import Box, Vector, vector
from fgnet_pipeline.core.viewer_state import Source
from fgnet_pipeline.stages.lab_affinities import LabAffinities
from fgnet_pipeline.stages.registry import array_names
from fgnet_pipeline.store.arrays import open_array
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.input_identity import sample
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.served_array import ComputedArray, ServedArray, serve_stored, serve_volume
from fgnet_pipeline.store.volume import Volume, frame_of, open_volume

#: Why an array that nobody has begun to write is not shown.
ABSENT = "not there yet"
#: Layers in the order in which they lie above each other, and the stage that writes each; its task has the same name.
STAGE_OF = {"affinities": "predict", "fragments": "fragments", "segmentation": "relabel"}
Kind = Literal["grey", "affinities", "ids"]


@dataclass(frozen=True)
class Layer:
    """An array that can be shown.

    Attributes:
        name: of the layer.
        kind: how it is drawn.
        path: folder or URL of the array.
        served: how its chunks are read.
        frame: its place in the world.
        shape: voxels, zyx.
        volume: to read voxels of; None for affinities.
        limits: the values that are black and white, if it is grey.
        channels: of the nearest neighbours along z, y and x, if it holds affinities.
    """

    name: str
    kind: Kind
    path: str
    served: ServedArray
    frame: Frame
    shape: Vector
    volume: Volume | None = None
    limits: tuple[float, float] = (0, 255)
    channels: tuple[int, ...] = (0, 1, 2)

    def source(self, url: str, is_stored: bool = False) -> Source:
        """Where a viewer finds the layer.

        Args:
            url: of the array, in Neuroglancer's notation.
            is_stored: whether the metadata there are those that are stored, not those of `served`.
        """
        names = self.served.stored_names if is_stored else None
        return Source(url, self.served.axes, self.frame.voxel_size, self.frame.offset, names)


@dataclass
class Found:
    """The layers of a result that can be shown, and the reasons why others are missing.

    Attributes:
        layers: from the lowest to the highest.
        missing: name of a layer -> why it is not shown.
    """

    layers: list[Layer] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def layer(self, name: str) -> Layer | None:
        """The layer of that name; None if it cannot be shown."""
        return next((layer for layer in self.layers if layer.name == name), None)


def find_layers(config: Config, labels: str | None = None) -> Found:
    """Open everything that a configuration names and that can be shown. Nothing is written.

    Args:
        config: of a run, however far it is.
        labels: folder or URL of an array of labels; None for none.

    Raises:
        InputError: the output holds no array, nothing states a voxel size, or the labels do not fit.
    """
    output = Output(config.output.path, config.output.state)
    output.check(array_names())
    found, opened = Found(), _Opened(config, output)
    for name in ("raw", *STAGE_OF):
        try:
            reason = opened.open(name)
        except PipelineError as error:
            reason = f"cannot be shown ({error})"
        if reason is not None:
            found.missing[name] = reason
    if not opened.results:
        damage = "".join(f"; {name}: {reason}" for name, reason in found.missing.items() if reason != ABSENT)
        raise InputError("output.path", config.output.path, f"an output with an array to show{damage}",
                         "correct that" if damage else "begin it with fgnet run")  # fmt: skip
    frame, shape = opened.place()
    found.layers += [opened.layer(name, frame) for name in ("raw", *STAGE_OF) if name not in found.missing]
    if labels is not None:
        found.layers.append(_labels(labels, frame, shape))
    return found


class _Opened:
    """The arrays of a result, opened one by one.

    Attributes:
        volumes: name -> raw, fragments or segmentation.
        affinities: the array of our own affinities, or the lab's; None if neither is open.
        results: names of the arrays of the output that are open.
    """

    def __init__(self, config: Config, output: Output) -> None:
        self._config, self._output = config, output
        self.volumes: dict[str, Volume] = {}
        self.affinities: Any = None
        self.results: list[str] = []

    def open(self, name: str) -> str | None:
        """Open an array.

        Returns:
            The reason why there is no such array; None if it is open.

        Raises:
            PipelineError: it is there, but cannot be opened.
        """
        config, given = self._config, self._config.volume
        if name == "raw":
            if given.path is None:
                return "the configuration names none"
            self.volumes[name] = open_volume(
                given.path, voxel_size=given.voxel_size, offset=given.offset, axes=given.axes
            )
        elif name == "affinities" and config.affinities.path is not None:
            self.affinities = LabAffinities(config.affinities.path, config.affinities.channels, check=False)
        elif name == "fragments" and config.fragments.path is not None:
            self.volumes[name] = open_volume(config.fragments.path, "fragments.path")
        else:
            return self._open_result(name)
        return None

    def _open_result(self, name: str) -> str | None:
        output = self._output
        there = output.has_array(name) if is_url(output.path) else (output.root / name).exists()
        if not there and not output.has_chunks(name):
            return ABSENT
        if name == "affinities":
            self.affinities = open_array(self._path(name), "output.path")
        else:
            self.volumes[name] = open_volume(self._path(name), "output.path")
        self.results.append(name)
        return None

    def _path(self, name: str) -> str:
        return f"{self._output.path.rstrip('/')}/{name}"

    def place(self) -> tuple[Frame, Vector]:
        """Voxel size, offset and shape of the grid that all but the labels share: those of the first that states them.

        Output arrays round their voxel size to picometres, so the inputs are asked first.

        Raises:
            InputError: nothing states a voxel size.
        """
        given, frames, shapes = self._config.volume, [], []
        if (raw := self.volumes.get("raw")) is not None:
            frames, shapes = [raw.frame], [raw.shape]
        if isinstance(self.affinities, LabAffinities):
            frames.append(self.affinities.frame)
            shapes.append(self.affinities.shape)
        elif self.affinities is not None:
            frames.append(frame_of(self.affinities, self._path("affinities"), (1, 2, 3), None, None))
            shapes.append(vector(self.affinities.shape[1:]))
        frames += [volume.frame for volume in self.volumes.values()]
        shapes += [volume.shape for volume in self.volumes.values()]
        frame = next((frame for frame in frames if frame is not None), None)
        if given.voxel_size is not None:
            frame = Frame(given.voxel_size, given.offset or (frame.offset if frame else (0.0, 0.0, 0.0)))
        if frame is None:
            raise InputError("volume.voxel_size", None, "nanometres, zyx (no array states them)",
                             "set e.g. volume.voxel_size=[40,4,4]")  # fmt: skip
        return frame, shapes[0]

    def layer(self, name: str, frame: Frame) -> Layer:
        """The layer of an array that is open."""
        if name != "affinities":
            volume, is_ids = self.volumes[name], name != "raw"
            served = serve_volume(volume, frame, is_ids)
            limits = (0.0, 255.0) if is_ids else _limits(volume, self._config)
            return Layer(name, "ids" if is_ids else "grey", volume.path, served, frame, volume.shape, volume, limits)
        if isinstance(self.affinities, LabAffinities):
            return _of_lab(self.affinities, frame)
        return _of_output(self.affinities, self._path(name), frame)


def _of_output(array: Any, path: str, frame: Frame) -> Layer:
    """The layer of our own affinities, a Zarr array (C, z, y, x)."""
    served, shape = serve_stored(array, ("c", "z", "y", "x"), frame, is_ids=False), vector(array.shape[1:])
    if served is None:

        def read(box: Box) -> Any:
            return array[(slice(None), *box.slices())]

        served = ComputedArray(read, array.shape, vector(array.chunks[1:]), array.dtype, frame, is_ids=False)
    return Layer("affinities", "affinities", path, served, frame, shape)


def _of_lab(lab: LabAffinities, frame: Frame) -> Layer:
    """The layer of affinities that a lab brings."""
    spatial = dict(zip(lab.order, ("z", "y", "x"), strict=True))
    axes = tuple(spatial.get(i, "c") for i in range(4))
    served = serve_stored(lab.array, axes, frame, is_ids=False)
    if served is not None:
        return Layer("affinities", "affinities", lab.path, served, frame, lab.shape, channels=lab.nearest)
    chunk = vector([lab.array.chunks[axis] for axis in lab.order])
    computed = ComputedArray(lab.read, (lab.channels, *lab.shape), chunk, np.dtype(np.uint8), frame, is_ids=False)
    return Layer("affinities", "affinities", lab.path, computed, frame, lab.shape)


def _limits(raw: Volume, config: Config) -> tuple[float, float]:
    """The values that are black and white: as configured, else all of uint8, else nearly all of a sample."""
    if config.volume.range is not None:
        return config.volume.range
    if raw.dtype == np.uint8:
        return 0, 255
    try:
        values = sample(raw.shape, raw.read, "volume.path").astype(np.float64)
    except InputError:  # chunks cannot be read: what can be read is shown
        return _all_of(raw.dtype)
    low, high = np.percentile(values, [0.5, 99.5])
    return float(low), max(float(high), float(low) + 1e-6)


def _all_of(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind not in "ui":
        return 0.0, 1.0
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


def _labels(path: str, frame: Frame, shape: Vector) -> Layer:
    """Labels where their metadata place them; without such metadata they must have the shape of the volume.

    Raises:
        InputError: no such array, no integers, or neither a place nor the shape of the volume.
    """
    volume = open_volume(path, "--labels")
    if not np.issubdtype(volume.dtype, np.integer) and volume.dtype != np.bool_:
        raise InputError("--labels", f"{path} of type {volume.dtype}", "integers (ids)", "name an array of labels")
    if volume.frame is None and volume.shape != shape:
        found = f"{path} of shape {list(volume.shape)} without a voxel size"
        raise InputError("--labels", found, f"the volume's shape {list(shape)}, or attributes that place it",
                         "give it voxel_size and offset")  # fmt: skip
    placed = frame if volume.frame is None else volume.frame.seen_from(frame)
    return Layer("labels", "ids", path, serve_volume(volume, placed, is_ids=True), placed, volume.shape, volume)
