"""`fgnet evaluate --skeletons`: files of other programs, a planted merger and split, and skeletons of another place."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import Command, Refused, write_volume

SIZE, OFFSET = np.array([40.0, 8.0, 8.0]), np.array([400.0, 80.0, 160.0])
ATTRIBUTES = {"voxel_size": SIZE.tolist(), "offset": OFFSET.tolist(), "units": ["nm"] * 3}
#: Ids that floats of 64 bits cannot tell apart.
A, B, C = (1 << 62) + 1, (1 << 62) + 2, (1 << 62) + 3


@pytest.fixture(scope="module")
def segmentation(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three tubes along x at y = 2, 6 and 10: two halves A and B; C; C again, so that C joins two neurons."""
    data = np.zeros((4, 12, 40), np.uint64)
    data[:, 1:4, :20], data[:, 1:4, 20:] = A, B
    data[:, 5:8] = C
    data[:, 9:12, 5:] = C
    return write_volume(tmp_path_factory.mktemp("segmentation") / "s.zarr", data, ATTRIBUTES)


def nodes_of(y: int) -> np.ndarray:
    """Centres of the voxels along a tube, nm, zyx."""
    voxels = np.stack([np.full(40, 1), np.full(40, y), np.arange(40)], axis=1)
    return (voxels + 0.5) * SIZE + OFFSET


@pytest.fixture(scope="module")
def swc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three tubes as SWC files in micrometres, which two of them state."""
    folder = tmp_path_factory.mktemp("swc")
    for name, y in (("split", 2), ("merged", 6), ("cut", 10)):
        lines = [f"{i + 7} 0 {x / 1000} {y_ / 1000} {z / 1000} 0.1 {i + 6 if i else -1}"
                 for i, (z, y_, x) in enumerate(nodes_of(y))]  # fmt: skip
        (folder / f"{name}.swc").write_text("# a comment\n# units: um\n" + "\n".join(lines) + "\n")
    return folder


def test_split_merger_and_omission_are_found(segmentation: str, swc: Path, command: Command) -> None:
    code, out, _ = command("evaluate", segmentation, "--skeletons", swc, "--json")
    assert code == 0
    found = json.loads(out)["skeletons"]
    rows = {row["skeleton"]: row for row in found["skeletons"]}
    assert rows["split"]["length"] == pytest.approx(39 * 8)
    assert rows["split"]["expected_run_length"] == pytest.approx(2 * (19 * 8) ** 2 / (39 * 8))
    assert (rows["split"]["split_edges"], rows["split"]["segments"]) == (1, 2)
    assert (rows["merged"]["merged_edges"], rows["cut"]["merged_edges"]) == (39, 34)
    assert rows["cut"]["omitted_edges"] == 5
    assert found["merging_segments"] == [str(C)]
    assert found["expected_run_length"] == pytest.approx(2 * (19 * 8) ** 2 / (3 * 39 * 8))
    longest = 39 * 8
    assert found["normalised_expected_run_length"] == pytest.approx(found["expected_run_length"] / longest)
    assert found["nodes"] == 120 and found["left_out"] == 0


def test_precomputed_skeletons_score_as_swc(segmentation: str, swc: Path, tmp_path: Path, command: Command) -> None:
    micrometres = {"@type": "neuroglancer_skeletons", "transform": [1000, 0, 0, 0, 0, 1000, 0, 0, 0, 0, 1000, 0]}
    (tmp_path / "info").write_text(json.dumps(micrometres))
    for id_, y in ((1, 2), (2, 6), (10, 10)):
        edges = np.array([(i, i + 1) for i in range(39)], "<u4")
        data = struct.pack("<II", 40, 39) + (nodes_of(y)[:, ::-1] / 1000).astype("<f4").tobytes() + edges.tobytes()
        (tmp_path / str(id_)).write_bytes(data + np.zeros(40, "<f4").tobytes())  # an attribute: radius
    first, second = (json.loads(command("evaluate", segmentation, "--skeletons", folder, "--json")[1])["skeletons"]
                     for folder in (swc, tmp_path))  # fmt: skip
    assert [row["skeleton"] for row in second["skeletons"]] == ["1", "2", "10"]
    assert second["expected_run_length"] == pytest.approx(first["expected_run_length"], rel=1e-4)
    assert second["voi_split"] == pytest.approx(first["voi_split"])


def test_labels_and_skeletons_together(segmentation: str, swc: Path, command: Command) -> None:
    document = json.loads(command("evaluate", segmentation, segmentation, "--skeletons", swc, "--json")[1])
    assert document["voi_sum"] == 0 and document["skeletons"]["mergers"] == 1
    _, shown, _ = command("evaluate", segmentation, "--skeletons", swc)
    assert "by 3 skeletons" in shown and max(map(len, shown.splitlines())) <= 80


def test_nodes_outside_are_left_out(segmentation: str, tmp_path: Path, command: Command) -> None:
    z, y, x = nodes_of(2)[0]
    rows = [f"{i} 0 {x - 80 + 8 * i} {y} {z} 1 {i - 1 if i else -1}" for i in range(30)]
    (tmp_path / "a.swc").write_text("\n".join(rows))
    found = json.loads(command("evaluate", segmentation, "--skeletons", tmp_path, "--json")[1])["skeletons"]
    assert (found["nodes"], found["left_out"]) == (20, 10)
    assert found["skeletons"][0]["length"] == pytest.approx(19 * 8)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("1 0 5000 5000 5000 1 -1", "at least half of all nodes inside"),
        ("1 0 1 1 1 1", "seven numbers"),
        ("1 0 1 nan 1 1 -1", "finite"),
        ("1 0 400 90 410 1 5", "parents that exist"),
        ("1 0 400 90 410 1 2\n2 0 408 90 410 1 1", "among its own ancestors"),
        ("1 0 400 90 410 1 -1\n2 0 408 90 410 1 2", "among its own ancestors"),
        ("1.5 0 400 90 410 1 -1", "whole numbers"),
        ("# units: parsec\n1 0 400 90 410 1 -1", "unit of length"),
        ("", "at least one node"),
    ],
)
def test_bad_skeletons_are_refused(text: str, word: str, segmentation: str, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "a.swc").write_text(text)
    assert word in refused("evaluate", segmentation, "--skeletons", tmp_path)


@pytest.mark.parametrize(
    ("factor", "offset", "hint"),
    [
        (1e-3, 0, "--skeleton-unit um"),  # all in the first voxel of the volume
        (1e-3, 400, "--skeleton-unit um"),  # far from it
        (1e3, 0, "--skeleton-unit nm"),
        (1e3, 5000, "--skeleton-unit nm"),
    ],
)
def test_another_unit_is_named(factor: float, offset: int, hint: str, tmp_path: Path, refused: Refused) -> None:
    at, size = np.full(3, float(offset)), (8.0, 8.0, 8.0)
    ids = write_volume(
        tmp_path / "s.zarr", np.ones((20, 20, 40), np.uint8), {"voxel_size": size, "offset": at.tolist()}
    )
    write_swc(tmp_path / "a.swc", (at + 84 + np.outer(np.arange(25), [0, 0, 8])) * factor)
    assert hint in refused("evaluate", ids, "--skeletons", tmp_path)


@pytest.mark.parametrize("offset", [0, 400])
def test_voxels_and_another_order_are_named(offset: int, tmp_path: Path, refused: Refused) -> None:
    at, size = np.full(3, float(offset)), (8.0, 8.0, 8.0)
    attributes = {"voxel_size": size, "offset": at.tolist()}
    ids = write_volume(tmp_path / "s.zarr", np.ones((5, 40, 90), np.uint8), attributes)
    voxels = np.stack([np.full(60, 2), np.full(60, 30), np.arange(20, 80)], axis=1)
    write_swc(tmp_path / "a.swc", voxels)
    assert "seem to be voxels" in refused("evaluate", ids, "--skeletons", tmp_path)
    write_swc(tmp_path / "a.swc", (at + (voxels + 0.5) * 8)[:, ::-1])
    assert "write x first" in refused("evaluate", ids, "--skeletons", tmp_path)


def write_swc(path: Path, nodes: np.ndarray) -> None:
    """One line of nodes (n, 3), zyx."""
    lines = [f"{i} 0 {x} {y} {z} 1 {i - 1 if i else -1}" for i, (z, y, x) in enumerate(nodes)]
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("info", "data", "word"),
    [
        (None, b"", "info file"),
        ("{", b"", "JSON"),
        ('{"@type": "neuroglancer_multiscale_volume"}', b"", "neuroglancer_skeletons"),
        ('{"@type": "neuroglancer_skeletons", "sharding": {}}', b"", "1 nodes and 0 edges"),
        ('{"@type": "neuroglancer_skeletons", "sharding": {"@type": "x"}}', b"", "without sharding"),
        ('{"@type": "neuroglancer_skeletons", "transform": ["a", 2]}', b"", "12 numbers"),
        ('{"@type": "neuroglancer_skeletons"}', struct.pack("<IIfffII", 1, 1, 1, 1, 1, 0, 1), "nodes that exist"),
        ('{"@type": "neuroglancer_skeletons"}', struct.pack("<IIfff", 1, 0, 1, 1, float("nan")), "finite"),
        ('{"@type": "neuroglancer_skeletons"}', struct.pack("<II", 0, 0), "at least one node"),
    ],
)
def test_bad_precomputed_skeletons_are_refused(
    info: str | None, data: bytes, word: str, segmentation: str, tmp_path: Path, refused: Refused
) -> None:
    if info is not None:
        (tmp_path / "info").write_text(info)
    (tmp_path / "12").write_bytes(data or struct.pack("<II", 1, 0))
    assert word in refused("evaluate", segmentation, "--skeletons", tmp_path)


def test_missing_skeletons_and_a_missing_truth_are_refused(segmentation: str, tmp_path: Path, refused: Refused) -> None:
    assert "--skeletons" in refused("evaluate", segmentation, "--skeletons", tmp_path)
    assert "--skeletons" in refused("evaluate", segmentation, "--skeletons", tmp_path / "nowhere")
    assert "LABELS" in refused("evaluate", segmentation)
    (tmp_path / "a.swc").write_text("1 0 400 90 410 1 -1")
    assert "--skeleton-unit" in refused(
        "evaluate", segmentation, "--skeletons", tmp_path, "--skeleton-unit", "inches per hour"
    )
