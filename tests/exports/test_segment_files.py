"""Exports of meshes and skeletons, read back by cloud-volume and by a reader of SWC from its specification."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import Command, Refused, files_of, read, records, wait_for_records
from segment_readers import is_closed, mesh_of, opened
from shapes import trees

LAST_STAGE = {"meshes": "mesh-pieces", "skeletons": "skeleton-pieces"}


@pytest.fixture(scope="module")
def undisturbed(finished_run: Path, tmp_path_factory: pytest.TempPathFactory, run_command: Callable[..., None]) -> Path:
    """Folder of folders `meshes` and `skeletons` with all segments of `finished_run`."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for name in LAST_STAGE:
        run_command("export", finished_run / "out.zarr", name, "--to", folder / name, "--workers", 0)
    return folder


def _sizes(run: Path) -> dict[int, int]:
    ids, counts = np.unique(read(run / "out.zarr", "segmentation"), return_counts=True)
    return {int(id_): int(count) for id_, count in zip(ids, counts, strict=True) if id_}


def test_meshes_are_closed_in_place_and_listed_with_their_sizes(finished_run: Path, undisturbed: Path) -> None:
    segmentation, sizes = read(finished_run / "out.zarr", "segmentation"), _sizes(finished_run)
    for segment in sorted(sizes, key=sizes.__getitem__)[-4:]:
        vertices, triangles = mesh_of(undisturbed / "meshes", segment)
        assert is_closed(triangles)
        corners = vertices[triangles]
        inside = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert inside / 1000 == pytest.approx(sizes[segment], rel=0.05)
        voxels = np.argwhere(segmentation == segment)[:, ::-1] * 10
        np.testing.assert_allclose(vertices.min(0), voxels.min(0))
        np.testing.assert_allclose(vertices.max(0), voxels.max(0) + 10)
    listed = json.loads((undisturbed / "meshes" / "segment_properties" / "info").read_text())["inline"]
    assert dict(zip(map(int, listed["ids"]), listed["properties"][0]["values"], strict=True)) == sizes


def test_skeletons_are_those_of_the_whole_array(finished_run: Path, undisturbed: Path) -> None:
    segmentation, folder = read(finished_run / "out.zarr", "segmentation"), undisturbed / "skeletons"
    volume = opened(undisturbed, skeletons="skeletons")
    ids, numbers = np.unique(np.append(0, segmentation), return_inverse=True)
    wanted = trees(numbers[1:].reshape(segmentation.shape).astype(np.uint32), segmentation.shape, (10.0, 10.0, 10.0))
    assert {int(path.stem) for path in (folder / "swc").iterdir()} == {int(ids[number]) for number in wanted}
    for number, tree in wanted.items():
        segment = int(ids[number])
        if len(tree.nodes) == 1:
            continue
        skeleton = volume.skeleton.get(segment)
        places = np.floor(skeleton.vertices[:, ::-1] / 10).astype(int)
        assert (segmentation[tuple(places.T)] == segment).all()
        np.testing.assert_array_equal(places, tree.nodes)
        np.testing.assert_allclose(skeleton.radius, tree.radii)
        assert len(skeleton.edges) == (tree.parents >= 0).sum() == _swc_edges(folder / f"swc/{segment}.swc", skeleton)


def _swc_edges(path: Path, skeleton: object) -> int:
    """The edges of an SWC file: `n T x y z R P` per line, in micrometres, parents first, -1 for the root."""
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    parents = {int(row[0]): int(row[6]) for row in rows}
    assert all(parent == -1 or parent < node for node, parent in parents.items())
    places = np.array([row[2:5] for row in rows], float) * 1000
    wanted = np.asarray(skeleton.vertices)  # type: ignore[attr-defined]
    np.testing.assert_allclose(places[np.lexsort(places.T)], wanted[np.lexsort(wanted.T)], atol=0.01)
    return sum(parent != -1 for parent in parents.values())


@pytest.mark.parametrize("killed", ["driver", "worker"])
@pytest.mark.parametrize("name", LAST_STAGE)
def test_a_killed_export_ends_with_the_same_bytes(
    name: str, killed: str, finished_run: Path, undisturbed: Path, tmp_path: Path, command: Command
) -> None:
    to, progress = tmp_path / name, tmp_path / f"{name}.progress"
    arguments = ["export", finished_run / "out.zarr", name, "--to", to, "--workers"]
    entry = [sys.executable, "-c", "from fgnet_pipeline.commands.entry import main; main()", *map(str, arguments), "2"]
    with subprocess.Popen(entry, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_for_records(progress, LAST_STAGE[name], 1, process)
        if killed == "driver":
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert records(progress, LAST_STAGE[name])
            assert command(*arguments, 0)[0] == 0
        else:
            log = next((progress / "logs").glob(f"{LAST_STAGE[name]}-*.log"))
            os.kill(int(log.stem.rpartition("-")[2]), signal.SIGKILL)
            assert process.wait(300) == 0  # another worker takes the block
    assert files_of(tmp_path, name) == files_of(undisturbed, name)


def test_wrong_choices_are_refused(finished_run: Path, tmp_path: Path, refused: Refused) -> None:
    output, to = finished_run / "out.zarr", tmp_path / "mesh"
    assert "--segment" in refused("export", output, "meshes", "--to", to, "--segment", "999")
    segment = max(_sizes(finished_run))
    both = ("--segment", segment, "--min-voxels", "5")
    assert "--min-voxels" in refused("export", output, "meshes", "--to", to, *both)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", LAST_STAGE)
def test_a_table_of_ids_of_another_origin_stays(
    name: str, finished_run: Path, tmp_path: Path, refused: Refused
) -> None:
    table = tmp_path / "there.ids.parquet"
    table.write_text("mine")
    text = refused("export", finished_run / "out.zarr", name, "--to", tmp_path / "there", "--compact-ids")
    assert "table of ids" in text
    assert table.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == [table.name]


def test_evaluate_reads_both_kinds_of_exported_skeletons(finished_run: Path, tmp_path: Path, command: Command) -> None:
    output, to = finished_run / "out.zarr", tmp_path / "lines"
    assert command("export", output, "skeletons", "--to", to, "--workers", "0", "--min-voxels", "2000")[0] == 0
    scores = []
    for folder in (to, to / "swc"):
        code, out, text = command("evaluate", output / "segmentation", "--skeletons", folder, "--json")
        assert code == 0, text
        scores.append(json.loads(out)["skeletons"])
    # The lines of a segment lie in this segment alone, so nothing is split or merged.
    assert [score["normalised_expected_run_length"] for score in scores] == [pytest.approx(1.0)] * 2
    assert scores[0]["expected_run_length"] == pytest.approx(scores[1]["expected_run_length"], rel=1e-4)
