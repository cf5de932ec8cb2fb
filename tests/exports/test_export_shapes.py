"""Meshes and skeletons of objects of known shape: voxels are not cubes, there is an offset, ids are above 2^53."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from pipeline_tools import Command, files_of, read, write_config, write_volume
from segment_readers import canonical, is_closed, mesh_of, opened
from shapes import SHAPES, tubes
from zmesh import Mesher

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

VOXEL, OFFSET = (48.0, 40.0, 32.5), (-96.0, 20.5, 1000.0)
SHAPE = (60, 70, 90)
#: `TOUCHING` lies against the whole length of `BRANCHING`, a T; `SMALL` has 60 voxels, `DUST` one.
BRANCHING, TOUCHING, SMALL, DUST = (1 << 63) - 1, (1 << 53) + 1, 12, (1 << 62) + 3
BLOCKS = {"cubes": [24, 24, 24], "flat": [16, 20, 32]}
FORMATS = ("meshes", "skeletons")


def _labels() -> npt.NDArray[np.uint64]:
    labels = np.zeros(SHAPE, np.uint64)
    labels[tubes(SHAPE, ((41, 20, 5), (41, 20, 85))) == 1] = TOUCHING
    labels[SHAPES["T"].labels == 1] = BRANCHING
    labels[50:53, 50:54, 60:65] = SMALL
    labels[5, 60, 5] = DUST
    return labels


def _run(folder: Path, fragments: npt.NDArray[np.uint64], block: list[int]) -> Path:
    """The output of a run whose segmentation is `fragments`: no affinity joins two of them."""
    attributes = {"voxel_size": [480, 400, 325], "offset": [-960, 205, 10000], "axis_names": ["z", "y", "x"],
                  "units": ["angstrom"] * 3}  # fmt: skip
    of_channels = {"axis_names": ["c^", "z", "y", "x"], "neighbourhood": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]}
    affinities = np.zeros((3, *fragments.shape), np.uint8)
    config = write_config(
        folder / "config.toml",
        affinities={"path": write_volume(folder / "affinities.zarr", affinities, attributes | of_channels)},
        fragments={"path": write_volume(folder / "fragments.zarr", fragments, attributes)},
        output={"path": str(folder / "out.zarr")},
        schedule={"workers": 0, "block_shape": block},
        agglomerate={"threshold": 0.5},
    )
    run(load_config(config))
    assert (read(folder / "out.zarr", "segmentation") == fragments).all()
    return folder / "out.zarr"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, run_command: Callable[..., None]) -> Path:
    """Folder of folders `BLOCKS`-`FORMATS`, and of the output `cubes/out.zarr`."""
    folder = tmp_path_factory.mktemp("shapes")
    for name, block in BLOCKS.items():
        (folder / name).mkdir()
        output = _run(folder / name, _labels(), block)
        for kind in FORMATS:
            run_command("export", output, kind, "--to", folder / f"{name}-{kind}", "--workers", 0)
    return folder


def test_every_block_shape_gives_the_triangles_of_the_whole_array(exported: Path) -> None:
    mesher = Mesher((1, 1, 1))
    _, numbers = np.unique(_labels(), return_inverse=True)
    # zmesh counts from the centre of the first voxel, which the padding adds.
    mesher.mesh(np.pad(numbers.reshape(SHAPE).astype(np.uint32), 1).T)
    for number, segment in enumerate(sorted((BRANCHING, TOUCHING, SMALL, DUST)), 1):
        whole = mesher.get(number, normals=False, reduction_factor=0)
        corners = (whole.vertices[whole.faces].astype(np.float64) - 0.5) * VOXEL[::-1] + OFFSET[::-1]
        wanted = canonical(corners, VOXEL, OFFSET)
        for name in BLOCKS:
            vertices, triangles = mesh_of(exported / f"{name}-meshes", segment)
            assert is_closed(triangles)
            np.testing.assert_array_equal(canonical(vertices[triangles], VOXEL, OFFSET), wanted)


def test_every_block_shape_gives_the_same_skeletons(exported: Path) -> None:
    first, *others = (files_of(exported, f"{name}-skeletons") for name in BLOCKS)
    ids = {str(segment) for segment in (BRANCHING, TOUCHING, SMALL, DUST)}
    assert first.keys() == {"info", "segment_properties/info", *ids, *(f"swc/{id_}.swc" for id_ in ids)}
    assert all(other == first for other in others)


def test_cloud_volume_reads_lines_at_their_place(exported: Path) -> None:
    volume, labels = opened(exported, skeletons="flat-skeletons"), _labels()
    lengths = {BRANCHING: 80 * VOXEL[2] + 45 * VOXEL[1], TOUCHING: 80 * VOXEL[2]}
    for segment, ends in ((BRANCHING, 3), (TOUCHING, 2), (SMALL, None), (DUST, 0)):
        line = volume.skeleton.get(segment)
        voxels = (line.vertices[:, ::-1] - OFFSET) / VOXEL - 0.5
        np.testing.assert_allclose(voxels, np.rint(voxels), atol=0.01)
        assert (labels[tuple(np.rint(voxels).astype(int).T)] == segment).all()
        assert len(line.edges) == len(line.vertices) - 1
        assert segment == DUST or len(line.components()) == 1
        if ends is not None:
            assert (np.bincount(line.edges.reshape(-1).astype(int)) == 1).sum() == ends
        if segment in lengths:
            assert line.cable_length() == pytest.approx(lengths[segment], rel=0.1)
    thickest = volume.skeleton.get(TOUCHING).radius.max()
    assert 4 * VOXEL[1] < thickest < 6 * VOXEL[0]


@pytest.mark.parametrize("kind", FORMATS)
def test_properties_name_the_ids_as_texts(kind: str, exported: Path) -> None:
    listed = json.loads((exported / f"cubes-{kind}" / "segment_properties" / "info").read_text())["inline"]
    ids, counts = np.unique(_labels(), return_counts=True)
    wanted = {str(id_): int(count) for id_, count in zip(ids, counts, strict=True) if id_}
    assert dict(zip(listed["ids"], listed["properties"][0]["values"], strict=True)) == wanted


@pytest.mark.parametrize("kind", FORMATS)
def test_compact_ids_name_the_same_files(kind: str, exported: Path, tmp_path: Path, command: Command) -> None:
    to = tmp_path / "compact"
    arguments = ("export", exported / "cubes" / "out.zarr", kind, "--to", to, "--compact-ids", "--workers", 0)
    assert command(*arguments)[0] == 0
    table = pq.read_table(tmp_path / "compact.ids.parquet").to_pydict()
    ids = dict(zip(table["id"], table["compact"], strict=True))
    assert ids == {segment: rank for rank, segment in enumerate(sorted((BRANCHING, TOUCHING, SMALL, DUST)), 1)}
    for segment, compact in ids.items():
        if kind == "meshes":
            for one, other in zip(mesh_of(to, compact), mesh_of(exported / "cubes-meshes", segment), strict=True):
                np.testing.assert_array_equal(one, other)
        else:
            assert (to / str(compact)).read_bytes() == (exported / "cubes-skeletons" / str(segment)).read_bytes()
    listed = json.loads((to / "segment_properties" / "info").read_text())["inline"]
    assert sorted(listed["ids"]) == ["1", "2", "3", "4"]


def _written(folder: Path, kind: str) -> set[int]:
    """The segments that have a manifest or a skeleton."""
    if kind == "meshes":
        return {int(path.name.removesuffix(":0")) for path in folder.glob("*:0")}
    return {int(path.stem) for path in (folder / "swc").glob("*.swc")}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "chosen, segments",
    [
        (("--segment", BRANCHING, "--segment", DUST), {BRANCHING, DUST}),
        (("--min-voxels", 60), {BRANCHING, TOUCHING, SMALL}),
    ],
)
def test_the_chosen_segments_alone_are_written_as_among_all(
    kind: str, chosen: tuple[object, ...], segments: set[int], exported: Path, tmp_path: Path, command: Command
) -> None:
    to = tmp_path / "chosen"
    arguments = ("export", exported / "cubes" / "out.zarr", kind, "--to", to, "--workers", 0)
    assert command(*arguments, *chosen)[0] == 0
    assert _written(to, kind) == segments
    few, every = files_of(tmp_path, "chosen"), files_of(exported, f"cubes-{kind}")
    properties = json.loads(few.pop("segment_properties/info"))["inline"]
    assert set(map(int, properties["ids"])) == segments
    assert few.items() <= every.items()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_limit_above_all_sizes_writes_nothing(kind: str, exported: Path, tmp_path: Path, command: Command) -> None:
    to = tmp_path / "none"
    arguments = ("export", exported / "cubes" / "out.zarr", kind, "--to", to, "--workers", 0, "--min-voxels", 10**9)
    code, out, text = command(*arguments)
    assert code == 0 and "no segment has 1000000000 voxels or more" in out + text
    assert files_of(tmp_path, "none").keys() == {"info", "segment_properties/info"}


@pytest.mark.parametrize("kind", FORMATS)
def test_an_empty_segmentation_gives_an_empty_source(kind: str, tmp_path: Path, command: Command) -> None:
    output = _run(tmp_path, np.zeros((20, 24, 28), np.uint64), [16, 16, 16])
    code, out, text = command("export", output, kind, "--to", tmp_path / "none", "--workers", 0, "--compact-ids")
    assert code == 0 and "the segmentation holds no segment" in out + text
    written = files_of(tmp_path, "none")
    assert written.keys() == {"info", "segment_properties/info"}
    listed = json.loads(written["segment_properties/info"])["inline"]
    assert listed["ids"] == [] and listed["properties"][0]["values"] == []
    assert pq.read_table(tmp_path / "none.ids.parquet").num_rows == 0
    source = opened(tmp_path, **{"mesh" if kind == "meshes" else "skeletons": "none"})
    assert (source.mesh if kind == "meshes" else source.skeleton).meta.info["@type"].startswith("neuroglancer_")
