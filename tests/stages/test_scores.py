"""Quantile scores through the whole pipeline: one tree however it is divided; mean scores stay what they were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from damage_tools import ONE, rewrite, table
from pipeline_tools import cells, files_of, read, run_on_cells, standard_config, state_of, write_volume
from tree_tools import assert_same_tree, global_tree, segmented, stored_tree

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import BlocksFailedError, InputError, StaleError
from fgnet_pipeline.evaluation.comparison import compare
from fgnet_pipeline.evaluation.inspect_segment import inspect_segment
from fgnet_pipeline.evaluation.joining import joining
from fgnet_pipeline.evaluation.sweep import sweep
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stages_after
from fgnet_pipeline.store.tables import Tables

SHAPE = (48, 50, 60)
QUANTILE = 'agglomerate.score="quantile"'
THRESHOLD = 0.7


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run by quantile, leaves of one block."""
    folder = tmp_path_factory.mktemp("scores")
    return run_on_cells(folder, SHAPE, overrides=(QUANTILE, f"agglomerate.threshold={THRESHOLD}")) / "config.toml"


def resolved(path: Path, *overrides: str) -> Config:
    return load_config(path, [QUANTILE, f"agglomerate.threshold={THRESHOLD}", *overrides])


def arrays(out: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(affinities, fragments) of an output."""
    return read(out, "affinities"), read(out, "fragments")


def assert_segmented(out: Path, tree: Merges) -> None:
    assert_same_tree(stored_tree(out), tree)
    fragments = read(out, "fragments")
    expected = segmented(fragments, tree, THRESHOLD)
    assert np.array_equal(read(out, "segmentation"), expected)
    assert 2 < len(np.unique(expected)) < len(np.unique(fragments))


@pytest.mark.parametrize(
    "overrides, least, quantile",
    [
        (["agglomerate.leaf_blocks=1"], 1, (17, 20)),
        (["agglomerate.leaf_blocks=2"], 1, (17, 20)),
        (["agglomerate.leaf_blocks=8", "schedule.workers=2"], 1, (17, 20)),
        (["agglomerate.min_contact=20"], 20, (17, 20)),
        (["agglomerate.quantile=0.5"], 1, (1, 2)),
    ],
)
def test_tree_is_the_global_one(config: Path, overrides: list[str], least: int, quantile: tuple[int, int]) -> None:
    chosen = resolved(config, *overrides)
    out = Path(chosen.output.path)
    for kind in ("merges", "residual", "lut"):
        for folder in (state_of(out) / "tables").glob(f"{kind}-*"):  # larger leaves have fewer levels
            shutil.rmtree(folder)
    run(chosen, stages_after("predict"), redo="agglomerate")
    assert_segmented(out, global_tree(*arrays(out), least, quantile))


def test_it_is_another_tree_than_that_of_the_mean(config: Path) -> None:
    found = arrays(Path(resolved(config).output.path))
    assert global_tree(*found).a.tolist() != global_tree(*found, quantile=(17, 20)).a.tolist()


def test_sweep_and_inspection_read_its_tree(config: Path) -> None:
    chosen = resolved(config)
    run(chosen, stages_after("predict"), redo="agglomerate")
    out = Path(chosen.output.path)
    labels = write_volume(out.parent / "labels.zarr", (read(out, "segmentation") // np.uint64(3)))
    _, result = sweep(chosen, labels, [0.5, THRESHOLD])
    scores = compare(str(out / "segmentation"), labels, None, None, 1)
    assert abs(result.curve[1].voi_sum - scores.voi_sum) < 1e-6
    found = inspect_segment(chosen, int(read(out, "segmentation")[24, 25, 30]))
    assert found.scored_by == "0.85 quantile of affinities"
    assert found.voxels == (read(out, "segmentation") == found.segment).sum()
    assert found.neighbours and all(n.score < THRESHOLD for n in found.neighbours)
    assert all(m.score >= THRESHOLD for m in found.weakest)
    assert any(m.score != m.mean for m in found.strongest + found.weakest)


def test_histograms_leave_the_mean_as_it_was(tmp_path: Path) -> None:
    raw = write_volume(tmp_path / "raw.zarr", cells((40, 40, 40)))
    path = standard_config(tmp_path, raw)
    out = tmp_path / "out.zarr"
    job = run(load_config(path))
    assert dict(job.plan.tasks["edges"].fingerprint) == {"format": 1, "block_shape": [24, 24, 24]}
    assert set(job.plan.tasks["agglomerate-0"].fingerprint) == {"format", "leaf", "level", "blocks"}
    assert "histogram" not in Tables(state_of(out) / "tables", "edges", "").read((0, 0, 0))
    tree, segmentation = stored_tree(out), files_of(out, "segmentation")
    with pytest.raises(StaleError, match="--redo edges"):
        run(load_config(path, [QUANTILE]))
    run(load_config(path, ["edges.histogram=true"]), redo="edges")
    assert Tables(state_of(out) / "tables", "edges", "").read((0, 0, 0))["histogram"].shape[1] == 256
    assert_same_tree(stored_tree(out), tree)
    assert files_of(out, "segmentation") == segmentation
    with pytest.raises(StaleError, match="--redo agglomerate"):
        run(load_config(path, [QUANTILE, "edges.histogram=true"]))
    run(load_config(path, [QUANTILE, "edges.histogram=true"]), redo="agglomerate")


def test_a_histogram_that_does_not_add_up_is_named(config: Path) -> None:
    out = Path(resolved(config).output.path)
    path = table(out, "edges")
    whole = path.read_bytes()
    rewrite(out, "edges", ONE, lambda columns: columns | {"histogram": columns["histogram"][::-1]})
    with pytest.raises(BlocksFailedError, match=r"edges.*histogram.*--redo edges"):
        run(resolved(config), stages_after("predict"), redo="agglomerate")
    path.write_bytes(whole)
    run(resolved(config), stages_after("predict"), redo="agglomerate")


@pytest.mark.parametrize(
    "overrides, field",
    [
        (["agglomerate.quantile=0.85"], "agglomerate.quantile"),
        ([QUANTILE, "agglomerate.quantile=1.0"], "agglomerate.quantile"),
        ([QUANTILE, "agglomerate.quantile=0.12345"], "agglomerate.quantile"),
        ([QUANTILE, "edges.histogram=false"], "edges.histogram"),
        (["agglomerate.score=median"], "agglomerate.score"),
    ],
)
def test_scores_and_quantiles_that_do_not_fit_are_refused(config: Path, overrides: list[str], field: str) -> None:
    with pytest.raises(InputError, match=field):
        load_config(config, overrides)


def test_why_two_segments_are_not_joined(config: Path) -> None:
    """By a quantile, too, the tree joins two segments at no score above the weakest edge of the best path."""
    found, out = resolved(config), Path(resolved(config).output.path)
    segments = np.setdiff1d(read(out, "segmentation"), [0]).tolist()
    compared = 0
    for other in segments[1:9]:
        pair = joining(found, segments[0], other)
        if pair.weakest is not None:
            assert pair.join is not None and pair.join.score <= pair.weakest.score and pair.join.score < THRESHOLD
            assert pair.weakest.score * 255 == pytest.approx(round(pair.weakest.score * 255)), "an affinity of 0 to 255"
            compared += 1
    assert compared >= 2 and pair.scored_by == "0.85 quantile of affinities"
