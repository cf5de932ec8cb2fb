"""Exports of meshes and skeletons, read back by cloud-volume and by a reader of SWC from its specification."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cloudvolume import CloudVolume
from pipeline_tools import Command, Refused, files_of, read, records, wait_for_records

LAST_STAGE = {"meshes": "mesh-pieces", "skeletons": "skeleton-pieces"}


def _opened(run: Path, folder: Path, **sources: str) -> CloudVolume:
    """A segmentation whose meshes or skeletons lie in folders beside its `info`."""
    shape = read(run / "out.zarr", "segmentation").shape
    size, begin = [10, 10, 10], [0, 0, 0]
    info = CloudVolume.create_new_info(1, "segmentation", "uint64", "raw", size, begin, shape[::-1], **sources)
    (folder / "info").write_text(json.dumps(info))
    return CloudVolume(f"file://{folder}", progress=False)


def _sizes(run: Path) -> dict[int, int]:
    ids, counts = np.unique(read(run / "out.zarr", "segmentation"), return_counts=True)
    return {int(id_): int(count) for id_, count in zip(ids, counts, strict=True) if id_}


def test_meshes_are_closed_in_place_and_listed_with_their_sizes(
    finished_run: Path, tmp_path: Path, command: Command
) -> None:
    assert command("export", finished_run / "out.zarr", "meshes", "--to", tmp_path / "mesh", "--workers", "0")[0] == 0
    segmentation, sizes = read(finished_run / "out.zarr", "segmentation"), _sizes(finished_run)
    volume = _opened(finished_run, tmp_path, mesh="mesh")
    for segment in sorted(sizes, key=sizes.__getitem__)[-4:]:
        mesh = volume.mesh.get(segment)
        mesh = mesh[segment] if isinstance(mesh, dict) else mesh
        faces = mesh.faces.astype(np.int64)
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        assert sorted(map(tuple, edges)) == sorted(map(tuple, edges[:, ::-1]))
        corners = mesh.vertices[faces].astype(np.float64)
        inside = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert inside / 1000 == pytest.approx(sizes[segment], rel=0.05)
        voxels = np.argwhere(segmentation == segment)[:, ::-1] * 10
        np.testing.assert_allclose(mesh.vertices.min(0), voxels.min(0))
        np.testing.assert_allclose(mesh.vertices.max(0), voxels.max(0) + 10)
    listed = json.loads((tmp_path / "mesh" / "segment_properties" / "info").read_text())["inline"]
    assert dict(zip(map(int, listed["ids"]), listed["properties"][0]["values"], strict=True)) == sizes


def test_skeletons_lie_inside_their_segments(finished_run: Path, tmp_path: Path, command: Command) -> None:
    to = tmp_path / "lines"
    arguments = ("--to", to, "--workers", "0", "--min-voxels", "2000")
    assert command("export", finished_run / "out.zarr", "skeletons", *arguments)[0] == 0
    segmentation = read(finished_run / "out.zarr", "segmentation")
    volume = _opened(finished_run, tmp_path, skeletons="lines")
    chosen = {segment for segment, size in _sizes(finished_run).items() if size >= 2000}
    assert {int(path.stem) for path in (to / "swc").iterdir()} == chosen != set()
    for segment in chosen:
        skeleton = volume.skeleton.get(segment)
        places = np.floor(skeleton.vertices[:, ::-1] / 10).astype(int)
        assert (segmentation[tuple(places.T)] == segment).all()
        assert len(skeleton.edges) == len(skeleton.vertices) - 1 == _swc_edges(to / "swc" / f"{segment}.swc", skeleton)


def _swc_edges(path: Path, skeleton: object) -> int:
    """The edges of an SWC file: `n T x y z R P` per line, in micrometres, parents first, -1 for the root."""
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    parents = {int(row[0]): int(row[6]) for row in rows}
    assert all(parent == -1 or parent < node for node, parent in parents.items())
    places = np.array([row[2:5] for row in rows], float) * 1000
    wanted = np.asarray(skeleton.vertices)  # type: ignore[attr-defined]
    np.testing.assert_allclose(places[np.lexsort(places.T)], wanted[np.lexsort(wanted.T)], atol=0.01)
    return sum(parent != -1 for parent in parents.values())


@pytest.mark.parametrize("name", LAST_STAGE)
def test_a_killed_export_ends_with_the_same_bytes(
    name: str, finished_run: Path, tmp_path: Path, command: Command
) -> None:
    command("export", finished_run / "out.zarr", name, "--to", tmp_path / "undisturbed", "--workers", "0")
    arguments = ["export", finished_run / "out.zarr", name, "--to", tmp_path / "killed", "--workers", "1"]
    entry = [sys.executable, "-c", "from fgnet_pipeline.commands.entry import main; main()", *map(str, arguments)]
    with subprocess.Popen(entry, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait_for_records(tmp_path / "killed.progress", LAST_STAGE[name], 1, process)
        process.send_signal(signal.SIGKILL)
    assert len(records(tmp_path / "killed.progress", LAST_STAGE[name])) >= 1
    assert command(*arguments)[0] == 0
    assert files_of(tmp_path, "killed") == files_of(tmp_path, "undisturbed")


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
