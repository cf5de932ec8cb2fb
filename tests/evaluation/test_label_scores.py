"""`fgnet evaluate` against labels: the planted split and merger at their places, the oracle, skeletons of labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_tools import Command, Refused, read, write_volume
from planted_run import OFFSET, VOXEL_SIZE, run_planted

from fgnet_pipeline.evaluation.comparison import open_comparison
from fgnet_pipeline.evaluation.label_scores import score_labels
from fgnet_pipeline.evaluation.label_skeletons import skeletons_of_labels

metrics = pytest.importorskip("skimage.metrics")

PLACE = {"voxel_size": list(VOXEL_SIZE), "offset": list(OFFSET)}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run whose faults are known."""
    return run_planted(tmp_path_factory.mktemp("planted")).parent


def bits_of(a: int, b: int, total: int) -> float:
    return float(a * np.log2((a + b) / a) + b * np.log2((a + b) / b)) / total


def test_the_planted_errors_are_listed_at_their_places(planted: Path, command: Command, tmp_path: Path) -> None:
    segmentation, table = planted / "out.zarr" / "segmentation", tmp_path / "worst.csv"
    code, out, _ = command("evaluate", segmentation, planted / "labels.zarr", "--csv", table, "--json")
    assert code == 0
    document = json.loads(out)
    ids = read(planted / "out.zarr", "segmentation")
    (split,), (merger,) = document["worst"]["splits"], document["worst"]["mergers"]
    halves = sorted((int(ids[20, 5, 5]), int(ids[20, 5, 40])))
    assert (split["label"], split["segment"], split["other"]) == ("3", str(halves[0]), str(halves[1]))
    assert (merger["segment"], merger["label"], merger["other"]) == (str(ids[0, 0, 0]), "2", "1")
    assert (split["voxels"], split["voxels_main"], split["faces"]) == (11_880, 11_880, 33 * 15)
    assert (merger["voxels"], merger["voxels_main"], merger["faces"]) == (10_800, 23_760, 15 * 48)
    assert split["bits"] == pytest.approx(bits_of(11_880, 11_880, 48**3)) == pytest.approx(document["voi_split"])
    assert merger["bits"] == pytest.approx(bits_of(10_800, 23_760, 48**3)) == pytest.approx(document["voi_merge"])
    assert split["position"] == [31, 7, 24 if ids[20, 5, 40] == halves[1] else 23]
    assert merger["position"] == [7, 14, 23]
    for error in (split, merger):
        nm = [o + (v + 0.5) * s for o, v, s in zip(OFFSET, error["position"], VOXEL_SIZE, strict=True)]
        assert error["position_nm"] == pytest.approx(nm)
    rows = list(csv.DictReader(table.open()))
    assert [(row["kind"], row["rank"], row["other"]) for row in rows] == [
        ("split", "1", str(halves[1])), ("merger", "1", "1"),
    ]  # fmt: skip
    assert [int(rows[1][axis]) for axis in "zyx"] == merger["position"]
    _, shown, _ = command("evaluate", segmentation, planted / "labels.zarr", "--worst", 0, "--no-oracle")
    assert "worst" not in shown and "oracle" not in shown


def test_the_oracle_undoes_what_agglomeration_did(planted: Path, command: Command) -> None:
    segmentation, labels = planted / "out.zarr" / "segmentation", planted / "labels.zarr"
    document = json.loads(command("evaluate", segmentation, labels, "--json")[1])
    assert document["voi_sum"] > 0.2 and document["oracle"]["voi_sum"] == 0  # the lab's fragments are pure
    copy = write_volume(planted / "copy.zarr", read(planted / "out.zarr", "segmentation"), PLACE)
    assert "oracle" not in json.loads(command("evaluate", copy, labels, "--json")[1])
    given = json.loads(command("evaluate", copy, labels, "--fragments", planted / "fragments.zarr", "--json")[1])
    assert given["oracle"] == document["oracle"]


def test_the_oracle_equals_two_other_tools(tmp_path: Path, command: Command) -> None:
    """Every fragment is painted with its most frequent label, by a loop, and scored by scikit-image and by waterz."""
    import waterz

    rng = np.random.default_rng(5)
    coarse = rng.integers(1, 30, (5, 6, 6)).astype(np.uint64)
    fragments = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2) + np.uint64(1 << 62)
    labels = np.roll(rng.integers(0, 6, (5, 6, 6)).repeat(4, 0).repeat(4, 1).repeat(4, 2), (1, 2, 1), (0, 1, 2))
    paths = [write_volume(tmp_path / name, data.astype(np.uint64))
             for name, data in (("s", fragments // 4), ("l", labels), ("f", fragments))]  # fmt: skip
    document = json.loads(command("evaluate", paths[0], paths[1], "--fragments", paths[2], "--json")[1])
    painted = np.zeros(labels.shape, np.uint64)
    for fragment in np.unique(fragments):
        inside = fragments == fragment
        painted[inside] = np.bincount(labels[inside & (labels > 0)], minlength=1).argmax()
    expected = metrics.variation_of_information(labels, painted.astype(int), ignore_labels=(0,))
    assert (document["oracle"]["voi_split"], document["oracle"]["voi_merge"]) == pytest.approx(tuple(expected))
    theirs = waterz.evaluate(painted, labels.astype(np.uint64))
    assert (document["oracle"]["voi_split"], document["oracle"]["voi_merge"]) == pytest.approx(
        (theirs["voi_split"], theirs["voi_merge"])
    )


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("begin", [None, "3,2,1"])
def test_places_lie_in_the_parts_whatever_the_blocks(workers: int, begin: str | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    data = [rng.integers(low, 7, (6, 6, 6)).repeat(5, 0).repeat(5, 1).repeat(5, 2).astype(np.uint64) for low in (0, 0)]
    data[1] = np.roll(data[1], (2, 1, 2), (0, 1, 2))[:, 4:]
    frames = ({"voxel_size": [4, 2, 2], "offset": offset} for offset in ([8, 0, 6], [8, 8, 6]))
    paths = [write_volume(tmp_path / f"{i}", array, frame, chunks=(7, 7, 7))
             for i, (array, frame) in enumerate(zip(data, frames, strict=True))]  # fmt: skip
    found = score_labels(open_comparison(*paths, begin, None, workers), worst=50).worst
    assert found and {error.kind for error in found} == {"split", "merger"}
    for error in found:
        z, y, x = error.position
        segment, label = error.parts()[1]
        assert (data[0][z, y, x], data[1][z, y - 4, x]) == (segment, label)
        assert error.nm == (8 + 4 * (z + 0.5), 2 * (y + 0.5), 6 + 2 * (x + 0.5))
        assert error.faces == faces_of(data, error.parts(), begin)
    one_block = open_comparison(*paths, begin)
    whole = score_labels(one_block, worst=50).worst
    assert whole is not None and [error.pair for error in whole] == [error.pair for error in found]


def faces_of(data: list[np.ndarray], parts: Any, begin: str | None) -> int:
    """Faces between two parts, counted over the whole arrays."""
    segments, labels = data[0][:, 4:], data[1]
    low = [int(n) for n in begin.split(",")] if begin else [0, 0, 0]
    inside = tuple(slice(n, None) for n in low)
    one, other = ((segments[inside] == segment) & (labels[inside] == label) for segment, label in parts)
    count = 0
    for axis in range(3):
        a, b = (np.moveaxis(part, axis, 0) for part in (one, other))
        count += int((a[1:] & b[:-1]).sum() + (b[1:] & a[:-1]).sum())
    return count


@pytest.fixture(scope="module")
def tubes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two tubes along x, longer than the blocks that are read; one segment holds both, another one a speck."""
    labels = np.zeros((9, 24, 150), np.uint64)
    labels[1:8, 1:9], labels[1:8, 14:22, 5:] = (1 << 62) + 1, (1 << 62) + 2
    labels[0, 12, 3] = 9  # too small for a skeleton
    segments = np.where(labels > 0, np.uint64(5), np.uint64(0))
    segments[:, :12, 100:] *= 2
    place = {"voxel_size": [8, 8, 8], "offset": [80, 0, 8]}
    folder = tmp_path_factory.mktemp("tubes")
    return write_volume(folder / "s", segments, {}), write_volume(folder / "l", labels, place)


def test_skeletons_of_labels_run_through_them(tubes: tuple[str, str]) -> None:
    stored = open_comparison(*tubes)
    found = skeletons_of_labels(stored.comparison, stored.frame)
    assert [skeleton.name for skeleton in found] == [str((1 << 62) + 1), str((1 << 62) + 2)]
    for skeleton, y, length in zip(found, (5, 18), (150 * 8, 145 * 8), strict=True):
        assert len(skeleton.edges) == len(skeleton.nodes) - 1  # one tree
        assert 0.85 * length <= skeleton.lengths.sum() <= 1.15 * length
        middle = (skeleton.nodes[:, 2] > 200) & (skeleton.nodes[:, 2] < 1000)
        assert np.abs(skeleton.nodes[middle, 1] - y * 8).max() <= 16


def test_skeletons_of_labels_are_scored(tubes: tuple[str, str], command: Command) -> None:
    document = json.loads(command("evaluate", *tubes, "--skeletons-from-labels", "--fragments", tubes[1], "--json")[1])
    found = document["skeletons"]
    assert found["merging_segments"] == ["5"] and found["splits"] >= 1 and found["left_out"] == 0
    first, second = found["skeletons"]
    assert 0 < first["expected_run_length"] < 0.2 * first["length"] and second["expected_run_length"] == 0
    assert found["oracle"] == {
        "expected_run_length": pytest.approx((first["length"] ** 2 + second["length"] ** 2)
                                             / (first["length"] + second["length"])),
        "normalised_expected_run_length": pytest.approx(1), "mergers": 0,
    }  # fmt: skip


def test_options_that_do_not_go_together_are_refused(tubes: tuple[str, str], tmp_path: Path, refused: Refused) -> None:
    segmentation, labels = tubes
    assert "--skeletons-from-labels" in refused("evaluate", segmentation, "--skeletons", tmp_path,
                                                "--skeletons-from-labels")  # fmt: skip
    assert "--skeletons-from-labels" in refused("evaluate", segmentation, labels, "--skeletons", tmp_path,
                                                "--skeletons-from-labels")  # fmt: skip
    assert "LABELS" in refused("evaluate", segmentation, "--skeletons-from-labels")
    assert "--csv" in refused("evaluate", segmentation, "--skeletons", tmp_path, "--csv", tmp_path / "w.csv")
    assert "--worst" in refused("evaluate", *tubes, "--worst", 0, "--csv", tmp_path / "w.csv")
    assert "--csv" in refused("evaluate", *tubes, "--csv", tmp_path)
    assert "--fragments" in refused("evaluate", *tubes, "--fragments", tmp_path / "nothing")
    other = write_volume(tmp_path / "f", np.ones((3, 3, 3), np.uint8), {})
    assert "the segmentation" in refused("evaluate", *tubes, "--fragments", other)
    small = write_volume(tmp_path / "small", np.ones((9, 9, 9), np.uint8), {"voxel_size": [8, 8, 8]})
    assert "1000 voxels" in refused("evaluate", small, small, "--skeletons-from-labels")
    bare = write_volume(tmp_path / "bare", np.ones((20, 20, 20), np.uint8), {})
    assert "voxel size" in refused("evaluate", bare, bare, "--skeletons-from-labels")


def test_damaged_fragments_leave_the_oracle_out(
    copied_run: tuple[Path, Path], command: Command, refused: Refused, tmp_path: Path
) -> None:
    """The scores of the segmentation need no fragments. What does need them ends with one sentence."""
    _, out = copied_run
    for shard in (out / "fragments" / "c").rglob("*"):
        if shard.is_file():
            shard.write_bytes(shard.read_bytes()[:40])
    labels = write_volume(tmp_path / "labels", np.ones((40, 50, 60), np.uint8))
    code, said, told = command("evaluate", out / "segmentation", labels, "--json")
    found = json.loads(said)
    assert code == 0 and found["voxels"] == 40 * 50 * 60 and "oracle" not in found and told == ""
    assert any("no oracle" in sentence and "fragments" in sentence for sentence in found["warnings"])
    given = refused("evaluate", out / "segmentation", labels, "--fragments", out / "fragments")
    assert given.startswith("error: --fragments") and given.count("\n") == 1
    assert "fragments" in refused("sweep", out, labels)
    page = tmp_path / "r.html"
    assert command("report", out, "--labels", labels, "--to", page)[0] == 0
    assert "no scores: fragments" in page.read_text()
