"""A view of a result: its layers, where it is centred, and the state of the viewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Vector
from fgnet_pipeline.core.named_voxel import named_voxel
from fgnet_pipeline.core.viewer_state import Source, State, affinities_layer, grey_layer, ids_layer, viewer_state
from fgnet_pipeline.store.arrays import use_threads
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.volume import Volume
from fgnet_pipeline.views.layers import Found, Layer, find_layers
from fgnet_pipeline.views.position import middle, segment_id, voxel_of_segment

#: A layer is shown at first if it is raw or the first of these that exists.
RESULTS = ("segmentation", "fragments", "affinities")
#: From a layer to where Neuroglancer finds it; None leaves the layer out.
SourceOf = Callable[[Layer], Source | None]


@dataclass(frozen=True)
class View:
    """The layers of a result, and the place and ids at which a viewer begins.

    Attributes:
        found: layers, and why others are missing.
        centre: voxel, zyx.
        segments: ids that are selected.
        title: of the browser's window.
    """

    found: Found
    centre: Vector
    segments: tuple[int, ...]
    title: str

    def state(self, source_of: SourceOf) -> State:
        """The state of a viewer that finds the layers where `source_of` says."""
        found = [(layer, source) for layer in self.found.layers if (source := source_of(layer)) is not None]
        names = [layer.name for layer, _ in found]
        first = next((name for name in RESULTS if name in names), "")
        layers = [self._layer(layer, source, layer.name in ("raw", first)) for layer, source in found]
        grid = self.found.layers[0]
        return viewer_state(layers, grid.frame.voxel_size, grid.frame.offset, grid.shape, self.centre, self.title)

    def _layer(self, layer: Layer, source: Source, visible: bool) -> State:
        if layer.kind == "grey":
            return grey_layer(layer.name, source, layer.limits, visible)
        if layer.kind == "affinities":
            return affinities_layer(layer.name, source, layer.channels, visible)
        return ids_layer(layer.name, source, self.segments if layer.name == "segmentation" else (), visible)


def open_view(config: Config, labels: str | None = None, at: str | None = None, segment: str | None = None) -> View:
    """Open what can be shown of a result. Nothing is written.

    Args:
        config: of a run, however far it is.
        labels: folder or URL of an array of labels.
        at: the voxel `z,y,x` to centre on.
        segment: id of the segment to select, and to centre on unless `at` says otherwise.

    Raises:
        InputError: an option that does not fit, or an output that holds no array.
    """
    use_threads(config.schedule.threads)
    found = find_layers(config, labels)
    output, shape = Output(config.output.path, config.output.state), found.layers[0].shape
    centre = middle(output, shape)
    selected: tuple[int, ...] = ()
    if segment is not None:
        selected = (segment_id(segment),)
        centre = voxel_of_segment(selected[0], config, output, _segmentation(found, segment))
    if at is not None:
        centre = named_voxel(at, shape)
    return View(found, centre, selected, PurePosixPath(config.output.path).name)


def _segmentation(found: Found, segment: str) -> Volume:
    layer = found.layer("segmentation")
    if layer is None or layer.volume is None:
        expected = f"a segmentation to look in ({found.missing.get('segmentation', 'none')})"
        raise InputError("--segment", segment, expected, "finish the run first, or leave --segment out")
    return layer.volume
