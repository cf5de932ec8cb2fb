"""A real browser shows what the arrays hold, where they hold it, and has nothing to complain of."""

from __future__ import annotations

import http.server
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from browser_tools import Browser, address_of, missing_programs, running_browser, state_at
from pipeline_tools import read
from required import skip_or_fail
from views_of_runs import opened, served
from web_server import web_server
from zarr.codecs import BloscCodec, GzipCodec, TransposeCodec
from zarr_tools import write_array

from fgnet_pipeline.core.viewer_state import Source, State, grey_layer, ids_layer, viewer_state
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.served_array import ComputedArray, ServedArray, serve_volume
from fgnet_pipeline.store.volume import open_volume
from fgnet_pipeline.views.client_files import client_files
from fgnet_pipeline.views.link import base_urls, linked
from fgnet_pipeline.views.server import ViewServer
from fgnet_pipeline.views.site import Site

try:
    import selenium  # noqa: F401
except ImportError as error:
    skip_or_fail("browser", f"the packages of the extra `test` are missing ({error})")
if missing := missing_programs():
    skip_or_fail("browser", f"{', '.join(missing)} not installed")

#: No two axes are alike, and voxel 0 is not at the origin. nm, zyx.
VOXEL_SIZE, OFFSET = np.array([20.0, 10.0, 14.0]), np.array([240.0, -50.0, 7007.0])
PLACED = (f"volume.voxel_size={VOXEL_SIZE.tolist()}", f"volume.offset={OFFSET.tolist()}")
#: Side of the smaller side of a voxel on the screen, in pixels.
PIXELS = 8
#: Height, in pixels, in which the viewer draws buttons over a panel.
BUTTONS = 75
COLOURS = ("#ff0000", "#00ff00", "#0000ff")
Voxels = npt.NDArray[np.integer]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


def positions_of(voxels: Voxels) -> npt.NDArray[np.float64]:
    """The middles of voxels (n, 3), zyx, in the coordinates of the viewer, xyz."""
    return ((OFFSET + (voxels + 0.5) * VOXEL_SIZE) / VOXEL_SIZE)[:, ::-1]


def bare(state: State, centre: npt.NDArray[np.float64], shown: str) -> State:
    """A state with one visible layer in one panel, without what is drawn over it."""
    for layer in state["layers"]:
        layer["visible"] = layer["name"] == shown
    plain = {"showAxisLines": False, "showScaleBar": False, "showDefaultAnnotations": False, "layout": "xy"}
    return {**state, **plain, "position": centre.tolist(), "crossSectionScale": 1 / PIXELS}


def section(shape: tuple[int, ...], z: int) -> Voxels:
    """All voxels (n, 3), zyx, of a section."""
    return np.stack(np.broadcast_arrays(z, *np.indices(shape[1:])), -1).reshape(-1, 3)


def test_segment_colours_are_where_the_array_says(copied_run: tuple[Path, Path], browser: Browser) -> None:
    _, out = copied_run
    stored = zarr.open_array(out / "segmentation", mode="r+")
    ids = np.asarray(stored[:])
    # JavaScript's numbers lose the last eight bits of such ids.
    stored[:] = np.where(ids > 0, ids + (1 << 60), 0).astype(np.uint64)
    segmentation = read(out, "segmentation")
    z = 17
    found, sizes = np.unique(segmentation[z], return_counts=True)
    chosen = found[found > 0][np.argsort(-sizes[found > 0])][: len(COLOURS)]
    voxels = section(segmentation.shape, z)
    middle = np.array([z, 25, 30])  # of 40 x 50 x 60
    with served(opened(out, *PLACED, at=f"{z},25,30")) as server:
        page, state = state_at(server.url)
        centre = positions_of(middle[None])[0]
        assert state["position"] == pytest.approx(centre)
        state = bare(state, centre, "segmentation")
        state["layers"][-1] |= {
            "segmentColors": {str(i): c for i, c in zip(chosen, COLOURS, strict=True)},
            "segments": [str(i) for i in chosen],
            "selectedAlpha": 1,
        }
        browser.open(address_of(page, state))
        picture, seen_ids = browser.picture(), browser.values("segmentation", positions_of(voxels))
    assert seen_ids == segmentation[z].ravel().tolist()
    pixel = VOXEL_SIZE[1:] / VOXEL_SIZE[1:].min() * PIXELS
    at = np.array(picture.shape[:2]) / 2 + (voxels[:, 1:] - middle[1:]) * pixel
    inside = ((at > 2) & (at < np.array(picture.shape[:2]) - 2)).all(axis=1)
    inside &= at[:, 0] > BUTTONS
    assert inside.sum() > 1000
    seen = picture[tuple(at[inside].astype(int).T)].astype(int)
    for i, colour in zip(chosen, np.eye(3, dtype=int) * 255, strict=True):
        is_here = segmentation[z].ravel()[inside] == i
        assert is_here.sum() > 50
        assert np.array_equal(np.abs(seen - colour).max(axis=1) < 40, is_here)
    assert browser.complaints() == []


def test_every_layer_is_read_as_stored_and_what_is_missing_is_background(
    copied_run: tuple[Path, Path], finished_run: Path, browser: Browser, tmp_path: Path
) -> None:
    _, out = copied_run
    raw = tmp_path / "raw"
    shutil.copytree(finished_run / "raw.zarr", raw)
    (raw / "c" / "1" / "1" / "1").unlink()
    for name, shard in (("affinities", "c/0/0/1/1"), ("fragments", "c/0/1/1"), ("segmentation", "c/0/1/1")):
        (out / name / shard).unlink()
    voxels = section((40, 50, 60), 21)[::7]
    with served(opened(out, *PLACED, f"volume.path={raw}", labels=str(out / "fragments"))) as server:
        page, state = state_at(server.url)
        assert [layer["name"] for layer in state["layers"]] == [
            "raw", "affinities", "fragments", "segmentation", "labels",
        ]  # fmt: skip
        state = bare(state, positions_of(np.array([[21, 25, 30]]))[0], "segmentation")
        for layer in state["layers"]:
            layer["visible"] = True
        browser.open(address_of(page, state))
        at = positions_of(voxels)
        for name in ("fragments", "segmentation"):
            expected = read(out, name)[tuple(voxels.T)]
            assert (expected == 0).sum() > 50
            assert browser.values(name, at) == expected.tolist(), name
        assert browser.values("raw", at) == read(tmp_path, "raw")[tuple(voxels.T)].tolist()
        dimensions = browser.driver.execute_script("return viewer.state.toJSON().dimensions")
        assert {axis: dimensions[axis] for axis in dimensions} == {
            "x": [1.4e-08, "m"], "y": [1e-08, "m"], "z": [2e-08, "m"],
        }  # fmt: skip
    assert browser.complaints() == []


SHAPE = (11, 13, 17)
GREY = np.random.default_rng(0).integers(1, 200, SHAPE).astype(np.uint8)
IDS = np.random.default_rng(1).integers(1 << 53, 1 << 62, SHAPE).astype(np.uint64)
CHUNKS = (5, 6, 7)
#: Name -> values, options of zarr, names of the axes if they are not z, y, x, and whether chunks are computed.
ODD: dict[str, tuple[npt.NDArray[Any], dict[str, Any], tuple[str, ...] | None, bool]] = {
    "zlib": (GREY.astype(">u2"), {"zarr_format": 2, "order": "F", "compressors": numcodecs.Zlib(1)}, None, False),
    "blosc2": (GREY, {"zarr_format": 2, "compressors": numcodecs.Blosc("lz4", 5, 1)}, None, False),
    "signed": (IDS.astype(">i8"), {"zarr_format": 2, "compressors": numcodecs.GZip(1),
                "chunk_key_encoding": {"name": "v2", "separator": "/"}}, None, False),
    "delta": (GREY.astype("<i2"), {"zarr_format": 2, "filters": [numcodecs.Delta("<i2")]}, None, True),
    "double": (GREY.astype(np.float64), {}, None, True),
    "xyz": (GREY.transpose(2, 1, 0), {"chunks": CHUNKS[::-1]}, ("x", "y", "z"), False),
    "time": (GREY[None, None], {"chunks": (1, 1, *CHUNKS)}, ("t", "c", "z", "y", "x"), False),
    "begin": (IDS, {"chunks": (4, 4, 4), "shards": {"shape": (8, 8, 8), "index_location": "start"}}, None, False),
    "blosc3": (IDS, {"compressors": [BloscCodec(cname="zstd", shuffle="bitshuffle")]}, None, False),
    "turned": (IDS, {"filters": [TransposeCodec(order=(2, 0, 1))], "compressors": [GzipCodec()]}, None, False),
    "dots": (GREY, {"chunk_key_encoding": {"name": "default", "separator": "."}}, None, False),
    "bool": (GREY > 100, {}, None, False),
}  # fmt: skip


def test_arrays_of_labs_are_read_exactly(browser: Browser, tmp_path: Path) -> None:
    frame = Frame(tuple(VOXEL_SIZE), tuple(OFFSET))
    arrays: dict[str, ServedArray] = {}
    for name, (values, options, axes, is_computed) in ODD.items():
        path = write_array(tmp_path / name, np.ascontiguousarray(values), **{"chunks": CHUNKS, **options})
        arrays[name] = serve_volume(open_volume(path, axes=axes), frame, is_ids=is_id(name))
        assert isinstance(arrays[name], ComputedArray) == is_computed, name

    def state(base: str) -> State:
        layers = []
        for name, array in arrays.items():
            source = Source(f"zarr3://{base}{name}/", array.axes, frame.voxel_size, frame.offset)
            layers.append(ids_layer(name, source) if is_id(name) else grey_layer(name, source, (0, 255)))
        whole = viewer_state(layers, frame.voxel_size, frame.offset, SHAPE, (5, 6, 8), "")
        return {**whole, "layout": "xy", "crossSectionScale": 0.1}

    voxels = section(SHAPE, 5)
    with ViewServer(Site(arrays, state, client_files())) as server:
        server.start()
        browser.open(server.url)
        for name, (values, _, axes, _) in ODD.items():
            zyx = values.transpose(2, 1, 0) if axes == ("x", "y", "z") else values.reshape(SHAPE)
            assert browser.values(name, positions_of(voxels)) == zyx[5].astype(np.int64).ravel().tolist(), name
    assert browser.complaints() == []


def is_id(name: str) -> bool:
    """Whether an array of `ODD` holds ids."""
    return ODD[name][0].dtype.kind == "b" or ODD[name][0].dtype.name in ("int64", "uint64")


class _Lab(http.server.SimpleHTTPRequestHandler):
    """A lab's web server, which lets pages of other origins read."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


def test_link_states_place_and_names_of_arrays_that_state_none(
    finished_run: Path, browser: Browser, tmp_path: Path
) -> None:
    raw = write_array(tmp_path / "raw 1", read(finished_run, "raw.zarr"), chunks=(20, 20, 20))
    view = opened(finished_run / "out.zarr", *PLACED, f"volume.path={raw}")
    voxels = section((40, 50, 60), 17)[::13]
    with web_server(tmp_path, _Lab) as (url, _), served(view) as server:
        bases = base_urls([f"{tmp_path}={url}"], str(finished_run / "out.zarr"))
        state = view.state(lambda layer: linked(layer, bases))
        assert [layer["name"] for layer in state["layers"]] == ["raw"]
        page, _ = state_at(server.url)
        browser.open(address_of(page, bare(state, positions_of(np.array([[17, 25, 30]]))[0], "raw")))
        expected = read(finished_run, "raw.zarr")[tuple(voxels.T)]
        assert browser.values("raw", positions_of(voxels)) == expected.tolist()
    assert browser.complaints() == []
