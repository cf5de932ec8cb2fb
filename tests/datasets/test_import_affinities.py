"""`fgnet import --affinities`: other orders, conventions and layouts become ours, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from pipeline_tools import Command, write_volume
from source_files import ts

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.affinities import convert_affinities, open_affinities, parse_neighbourhood, plan_affinities
from fgnet_pipeline.datasets.source import Request

RNG = np.random.default_rng(3)
SHAPE = (9, 11, 13)
NEAREST = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
OURS = RNG.integers(0, 256, (3, *SHAPE)).astype(np.uint8)
OURS[0, 0], OURS[1, :, 0], OURS[2, :, :, 0] = 0, 0, 0  # no neighbour below


def forward(ours: NDArray[Any]) -> NDArray[Any]:
    """The same affinities as other programs name them: at the voxel below the pair's other one."""
    moved = np.zeros_like(ours)
    moved[0, :-1], moved[1, :, :-1], moved[2, :, :, :-1] = ours[0, 1:], ours[1, :, 1:], ours[2, :, :, 1:]
    return moved


def written(path: Path, data: NDArray[Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        made = file.create_dataset("volumes/affs", data=data, chunks=tuple(min(8, n) for n in data.shape))
        made.attrs.update({"resolution": [40, 4, 4], "offset": [80, 8, 4], **attributes})
    return path


def imported(folder: Path, path: Path | str, neighbourhood: Any = None, **request: Any) -> tuple[NDArray[Any], Any]:
    """(affinities, attributes of their array)."""
    steps = None if neighbourhood is None else parse_neighbourhood(neighbourhood, "--neighbourhood")
    source = open_affinities(Request(str(path), "--affinities", **request), None, steps)
    convert_affinities(plan_affinities(source, steps), folder / "o.zarr")
    array = zarr.open_array(folder / "o.zarr" / "affinities", mode="r")
    return np.asarray(array[:]), dict(array.attrs)


@pytest.mark.parametrize("key", ["neighbourhood", "offsets"])
def test_affinities_of_hdf5_become_ours_with_their_place(tmp_path: Path, key: str) -> None:
    found, attributes = imported(tmp_path, written(tmp_path / "a.h5", OURS, **{key: NEAREST}))
    assert np.array_equal(found, OURS) and found.dtype == np.uint8
    assert attributes["neighbourhood"] == NEAREST
    assert attributes["voxel_size"] == [40, 4, 4] and attributes["offset"] == [80, 8, 4]
    assert attributes["axis_names"] == ["c^", "z", "y", "x"] and attributes["units"] == ["nm"] * 3


def test_the_other_convention_and_another_order_are_moved_and_put_in_order(tmp_path: Path) -> None:
    data = forward(OURS)[[2, 0, 1]]
    found, attributes = imported(tmp_path, written(tmp_path / "a.h5", data, offsets=[[0, 0, 1], [1, 0, 0], [0, 1, 0]]))
    assert attributes["neighbourhood"] == NEAREST and np.array_equal(found, OURS)


def test_long_range_channels_follow_as_they_are(tmp_path: Path) -> None:
    long_range = RNG.integers(0, 256, (2, *SHAPE)).astype(np.uint8)
    steps = [[0, 0, -9], *NEAREST, [3, 0, 0]]
    data = np.concatenate([long_range[:1], OURS, long_range[1:]])
    found, attributes = imported(tmp_path, written(tmp_path / "a.h5", data), steps)
    assert attributes["neighbourhood"] == [*NEAREST, [0, 0, -9], [3, 0, 0]]
    assert np.array_equal(found, np.concatenate([OURS, long_range]))


def test_floats_stay_floats_and_channels_last_are_recognised(tmp_path: Path) -> None:
    data = np.moveaxis(OURS / np.float32(255), 0, -1).astype(np.float32)
    found, _ = imported(tmp_path, written(tmp_path / "a.h5", data), NEAREST)
    assert found.dtype == np.float32 and np.array_equal(np.rint(found * 255), OURS)


def test_moved_channels_do_not_depend_on_blocks(tmp_path: Path) -> None:
    shape = (70, 20, 270)  # more than one block along z and x
    ours = RNG.integers(0, 256, (3, *shape)).astype(np.uint8)
    ours[0, 0], ours[1, :, 0], ours[2, :, :, 0] = 0, 0, 0
    steps = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert np.array_equal(imported(tmp_path, written(tmp_path / "a.h5", forward(ours), offsets=steps))[0], ours)


def test_affinities_of_zarr_n5_and_precomputed(tmp_path: Path) -> None:
    attributes = {"voxel_size": [40, 4, 4], "offset": [0, 0, 0], "units": ["nm"] * 3, "offsets": NEAREST}
    made = write_volume(tmp_path / "a.zarr", OURS, {**attributes, "axis_names": ["c^", "z", "y", "x"]})
    stores: dict[str, Any] = {"n5": {"driver": "n5", "metadata": {
        "dimensions": OURS.T.shape, "blockSize": [8, 8, 8, 3], "dataType": "uint8", "compression": {"type": "gzip"},
    }}}  # fmt: skip
    stores["precomputed"] = {
        "driver": "neuroglancer_precomputed",
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 3},
        "scale_metadata": {"size": OURS.T.shape[:3], "resolution": [4, 4, 40], "chunk_size": [8, 8, 8],
                           "encoding": "raw", "key": "k"},
    }  # fmt: skip
    paths = {"zarr": made}
    for name, spec in stores.items():
        folder = tmp_path / f"a.{name}"
        ts.open({**spec, "kvstore": folder.as_uri() + "/"}, create=True).result()[...] = OURS.T
        paths[name] = str(folder)
    (tmp_path / "a.n5" / "attributes.json").write_text(json.dumps({
        **json.loads((tmp_path / "a.n5" / "attributes.json").read_text()), "resolution": [4, 4, 40, 1],
        "axes": ["x", "y", "z", "c"], "units": ["nm", "nm", "nm", ""],
    }))  # fmt: skip
    for name, path in paths.items():
        (tmp_path / name).mkdir()
        found, attributes = imported(tmp_path / name, path, NEAREST)
        assert np.array_equal(found, OURS) and attributes["voxel_size"] == [40, 4, 4], name


def test_the_command_says_what_it_understood(tmp_path: Path, command: Command) -> None:
    file = written(tmp_path / "a.h5", OURS)
    arguments = ("import", tmp_path / "o.zarr", "--affinities", file)
    code, _, said = command(*arguments)
    assert code == 2 and "--neighbourhood" in said and "[[-1,0,0],[0,-1,0],[0,0,-1]]" in said
    code, out, said = command(*arguments, "--offsets", "[[-1,0,0],[0,-1,0],[0,0,-1]]", "--json")
    document = json.loads(out)
    assert code == 0 and document["neighbourhood"] == NEAREST and document["shape"] == [3, *SHAPE]
    assert document["understood"]["affinities"]["values"] == [0, int(OURS.max())]
    for options in (("--raw", file), ()):
        given = ("--affinities", file) if options else ()
        code, _, said = command("import", tmp_path / "p.zarr", *given, *options)
        assert code == 2 and said.count("\n") == 1, said


FLOATS = OURS / np.float32(255)
REFUSED: dict[str, tuple[NDArray[Any], Any, str]] = {
    "no neighbourhood": (OURS, None, "neighbourhood"),
    "too few offsets": (OURS, NEAREST[:2], "channels"),
    "no nearest neighbour along x": (OURS, [*NEAREST[:2], [0, 0, -3]], r"\[0, 0, -1\]"),
    "only 0 and 1": ((OURS > 99).astype(np.uint8), NEAREST, "only 0 and 1"),
    "half of it NaN": (np.where(np.arange(13) < 6, np.float32("nan"), FLOATS), NEAREST, "NaN"),
    "0 to 255 as floats": (OURS.astype(np.float32), NEAREST, "divide them"),
    "logits": (FLOATS * 8 - 4, NEAREST, "floats from 0 to 1"),
    "16 bits": (OURS.astype(np.uint16), NEAREST, "uint16"),
    "three axes": (OURS[0], NEAREST, "four axes"),
    "a step of 0": (OURS, [*NEAREST[:2], [0, 0, 0]], "whole numbers"),
    "a step twice": (OURS, [*NEAREST[:2], NEAREST[0]], "whole numbers"),
    "text": (OURS, "[[1,2],[3]]", "whole numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_are_no_affinities_is_refused(tmp_path: Path, case: str) -> None:
    data, steps, said = REFUSED[case]
    file = written(tmp_path / "a.h5", data)
    with pytest.raises(InputError, match=said):
        imported(tmp_path, file, steps)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5"]
