"""Only voxels that were computed and labelled are scored, and what was left out is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pipeline_tools import ATTRIBUTES, Command, Refused, cells, read, standard_config, write_volume

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.evaluation.comparison import compare
from fgnet_pipeline.evaluation.computed import Computed
from fgnet_pipeline.evaluation.evaluate import Comparison
from fgnet_pipeline.evaluation.overlay import DARKER, Panels, save_overlay
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.output import Output

SHAPE = (40, 50, 60)
ROI, INSIDE = "volume.roi=[[100,0,130],[400,410,600]]", np.s_[10:40, 0:41, 13:60]
NAMES = ("voi_split", "voi_merge", "voi_sum", "adapted_rand_error", "voxels")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, npt.NDArray[np.uint64]]:
    """Path and ids of ground truth over the whole volume, a tenth of it without a label."""
    ids = np.ones(SHAPE, np.uint64)
    ids[:, :, 20:] += np.uint64(1)
    ids[:, 25:] += np.uint64(7)
    ids[:4] = 0
    return write_volume(tmp_path_factory.mktemp("truth") / "labels.zarr", ids), ids


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(configuration, output) of a run on a region; the configuration holds the region."""
    folder = tmp_path_factory.mktemp("partial")
    raw = write_volume(folder / "raw.zarr", cells(SHAPE))
    config = standard_config(folder, raw)
    config.write_text(
        config.read_text().replace("[output]", ROI.replace("volume.", "").replace("=", " = ") + "\n[output]")
    )
    run(load_config(config))
    return config, folder / "out.zarr"


def expected_scores(out: Path, truth: npt.NDArray[np.uint64], counted: Any) -> dict[str, Any]:
    """Scores of the arrays, with no label outside of the voxels that count."""
    kept = np.zeros_like(truth)
    kept[counted] = truth[counted]
    return Comparison(read(out, "segmentation"), kept).scores().to_dict()


def assert_scores(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in NAMES:
        assert found[name] == pytest.approx(expected[name], abs=1e-12), name


def test_a_region_is_scored_as_what_was_computed(
    partial: tuple[Path, Path], labels: tuple[str, npt.NDArray[np.uint64]], command: Command
) -> None:
    _, out = partial
    path, truth = labels
    code, text, _ = command("evaluate", out / "segmentation", path, "--json")
    found, inside = json.loads(text), int((truth[INSIDE] > 0).sum())
    missing = int((truth > 0).sum()) - inside
    assert code == 0 and found["voxels"] == inside
    assert_scores(found, expected_scores(out, truth, INSIDE))
    assert found["left_out"] == missing and found["left_out_because"] == {"outside volume.roi": missing}
    assert found["left_out_share"] == pytest.approx(missing / (truth > 0).sum())
    alone = Comparison(read(out, "segmentation"), truth).scores().voi_sum
    assert abs(alone - found["voi_sum"]) > 0.01, "the rest, counted as background, would change the score"
    shown = command("evaluate", out / "segmentation", path)[1]
    assert f"left out: {missing} labelled voxels" in shown and "outside volume.roi" in shown


def test_a_sweep_of_a_region_counts_the_same(
    partial: tuple[Path, Path], labels: tuple[str, npt.NDArray[np.uint64]], command: Command
) -> None:
    config, out = partial
    found = json.loads(command("sweep", config, labels[0], "--threshold", 0.5, "--threshold", 0, "--json")[1])
    scores = compare(str(out / "segmentation"), labels[0])
    at_half = next(point for point in found["curve"] if point["threshold"] == 0.5)
    for name in NAMES[:-1]:
        assert at_half[name] == pytest.approx(getattr(scores, name), abs=1e-12)
    assert (found["left_out"], found["voxels"]) == (scores.left_out, scores.voxels)
    assert found["segments"] == [1, scores.segments] and scores.segments > 5


def test_blocks_that_are_not_done_do_not_count(
    partial: tuple[Path, Path], labels: tuple[str, npt.NDArray[np.uint64]], tmp_path: Path, command: Command,
    refused: Refused,
) -> None:  # fmt: skip
    config, _ = partial
    out = tmp_path / "out.zarr"
    resolved = load_config(config, [f"output.path={out}"])
    run(resolved)
    progress = Output(str(out)).progress
    progress.withdraw("relabel", [(0, 0, 0), (1, 1, 2)], 99)
    counted = np.zeros(SHAPE, bool)
    counted[INSIDE] = True
    counted[:24, :24, :24] = counted[24:, 24:, 48:] = False
    found = compare(str(out / "segmentation"), labels[0])
    assert_scores(found.to_dict(), expected_scores(out, labels[1], counted))
    inside = labels[1][INSIDE] > 0
    assert found.left_out_because["in blocks that are not done"] == int((inside & ~counted[INSIDE]).sum()) > 0
    everything = [tuple(index) for index in np.ndindex(2, 2, 3)]
    progress.withdraw("relabel", everything, 99)
    assert "one block that is done" in refused("evaluate", out / "segmentation", labels[0])


def test_what_the_mask_left_out_does_not_count(
    labels: tuple[str, npt.NDArray[np.uint64]], tmp_path: Path, refused: Refused
) -> None:
    tissue = np.zeros((20, 25, 30), np.uint8)
    tissue[:, :, 7:] = 1
    mask = write_volume(tmp_path / "mask.zarr", tissue, dict(ATTRIBUTES, voxel_size=[20, 20, 20]))
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", cells(SHAPE)))
    run(load_config(config, [f"volume.mask={mask}"]))
    out, counted = tmp_path / "out.zarr", np.s_[:, :, 14:]
    found = compare(str(out / "segmentation"), labels[0])
    assert_scores(found.to_dict(), expected_scores(out, labels[1], counted))
    assert found.left_out_because == {"outside volume.mask": int((labels[1][:, :, :14] > 0).sum())}
    (tmp_path / "mask.zarr" / "zarr.json").unlink()
    assert "volume.mask" in refused("evaluate", out / "segmentation", labels[0])


def test_nothing_common_is_refused(partial: tuple[Path, Path], tmp_path: Path, refused: Refused) -> None:
    config, out = partial
    ids = np.zeros(SHAPE, np.uint64)
    ids[:10, :, :13] = 5
    path = write_volume(tmp_path / "l.zarr", ids)
    assert "outside volume.roi" in refused("evaluate", out / "segmentation", path)
    assert "outside volume.roi" in refused("sweep", config, path)


def test_a_copy_of_the_array_is_scored_as_it_is(
    partial: tuple[Path, Path], labels: tuple[str, npt.NDArray[np.uint64]], tmp_path: Path
) -> None:
    data = read(partial[1], "segmentation")
    found = compare(write_volume(tmp_path / "segmentation", data), labels[0])
    assert found.left_out == 0 and found.voxels == int((labels[1] > 0).sum())


def test_labels_outside_the_segmentation_are_said(tmp_path: Path) -> None:
    ids = np.arange(1, 1001, dtype=np.uint64).reshape(10, 10, 10)
    paths = [write_volume(tmp_path / "s.zarr", ids[:6]), write_volume(tmp_path / "l.zarr", ids)]
    assert compare(*paths).outside_segmentation == 400 and "400 voxels" in compare(*paths).warnings[0]


UNLABELLED = {
    "int64": [-1, -2, -3], "int32": [-1], "int8": [-1], "uint64": [2**64 - 1, 2**64 - 2, 2**64 - 3],
    "uint32": [2**32 - 1, 2**32 - 3],
}  # fmt: skip


@pytest.mark.parametrize("protocol", ["fgnet", "cremi", "snemi"])
@pytest.mark.parametrize("dtype", UNLABELLED)
def test_reserved_ids_are_no_labels_for_any_protocol(tmp_path: Path, dtype: str, protocol: str) -> None:
    rng = np.random.default_rng(0)
    segments, ids = (rng.integers(1, 4, (4, 30, 30)).repeat(10, 1).repeat(10, 2)[:, :30, :30] for _ in range(2))
    marked, zeroed = ids.astype(dtype), ids.astype(np.uint64)
    for i, value in enumerate(UNLABELLED[dtype]):
        marked[i, :, :15], zeroed[i, :, :15] = value, 0
    paths = [write_volume(tmp_path / f"{i}.zarr", data) for i, data in enumerate((segments, marked, zeroed))]
    assert compare(paths[0], paths[1], protocol=protocol) == compare(paths[0], paths[2], protocol=protocol)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 255), ("uint16", 65535), ("uint64", 2**63)])
def test_ids_that_masks_and_full_volumes_use_stay_labels(tmp_path: Path, dtype: str, value: int) -> None:
    ids = np.full((4, 5, 6), value, dtype)
    ids[:2] = 1
    segmentation = write_volume(tmp_path / "s.zarr", np.arange(120, dtype=np.uint64).reshape(4, 5, 6))
    assert compare(segmentation, write_volume(tmp_path / "l.zarr", ids)).voxels == 120


def test_an_id_below_the_reserved_ones_is_refused(tmp_path: Path, refused: Refused) -> None:
    ids = np.full((4, 5, 6), -7, np.int64)
    path = write_volume(tmp_path / "l.zarr", ids)
    segmentation = write_volume(tmp_path / "s.zarr", np.ones(ids.shape, np.uint64))
    assert "-7" in refused("evaluate", segmentation, path)


@pytest.mark.parametrize(("value", "words"), [(4, "one segment"), (0, "no segment")])
def test_one_segment_is_called_that(tmp_path: Path, command: Command, value: int, words: str) -> None:
    ids = np.arange(1, 121, dtype=np.uint64).reshape(4, 5, 6)
    ours = {**ATTRIBUTES, "fgnet_format": 1}  # an array of a run without segments has no chunk
    paths = write_volume(tmp_path / "s.zarr", np.full_like(ids, value), ours), write_volume(tmp_path / "l.zarr", ids)
    found = json.loads(command("evaluate", *paths, "--json")[1])
    assert found["segments"] == (value > 0) and words in found["warnings"][0]
    assert f"warning: the segmentation holds {words}" in command("evaluate", *paths)[1]
    assert compare(paths[1], paths[1]).warnings == []


def test_a_sweep_says_if_the_best_threshold_leaves_one_segment(
    partial: tuple[Path, Path], labels: tuple[str, npt.NDArray[np.uint64]], tmp_path: Path, command: Command
) -> None:
    truth = write_volume(tmp_path / "one.zarr", np.full(SHAPE, 3, np.uint64))
    code, text, _ = command(
        "sweep", partial[0], truth, "--threshold", 0, "--threshold", 0.9, "--png", tmp_path / "p.png"
    )
    assert code == 0 and "best  one segment" in text
    assert "warning: best threshold 0: the segmentation holds one segment" in text


def test_an_inspection_says_that_the_region_cuts_the_segment(partial: tuple[Path, Path], command: Command) -> None:
    config, out = partial
    segment = int(read(out, "segmentation")[10, 20, 30])
    assert json.loads(command("inspect", config, segment, "--json")[1])["cut_by_region"]
    assert "border of the region of interest" in command("inspect", config, segment)[1]


def test_a_picture_is_dark_where_nothing_was_computed(tmp_path: Path) -> None:
    raw, ids = np.full((6, 20, 30), 200, np.uint8), np.full((6, 20, 30), 5, np.uint64)
    raw[:, ::2] = 10
    for name, box in (("all", Box((0, 0, 0), (6, 20, 30))), ("half", Box((0, 0, 0), (6, 20, 15)))):
        save_overlay(tmp_path / f"{name}.png", Panels(raw, segmentation=ids, computed=Computed(box)))
    whole, half = (
        np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")).astype(int) for name in ("all", "half")
    )
    assert whole.shape == half.shape and DARKER > 1
    changed = (whole != half).any(-1)
    assert changed.any() and half[changed].mean() < whole[changed].mean() / 2
    assert not changed[:, : whole.shape[1] // 2].any(), "raw stays as it is"
