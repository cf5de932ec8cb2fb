"""The real sample, its agglomeration divided in many ways: one merge tree, one segmentation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pipeline_tools import files_of, read, state_of, write_config
from scipy import ndimage
from tree_tools import assert_same_tree, global_tree, run_in_random_order, segmented, stored_tree

from fgnet_pipeline.execution.run import open_planned, run
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.octree import octree_of
from fgnet_pipeline.stages.registry import stages_after

CROP = (slice(34, 146), slice(60, 172), slice(60, 172))
BLOCK, WHOLE = [16, 16, 16], [112, 112, 112]
THRESHOLD = 0.35
QUANTILE = ['agglomerate.score="quantile"', "agglomerate.threshold=0.7"]


def affinities_from_raw(raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """uint8 (3, z, y, x): the darker of two voxels, since membranes are dark; smoothed, then stretched."""
    smooth = ndimage.gaussian_filter(raw.astype(np.float32), 1)
    pairs = np.stack([np.minimum(smooth, np.roll(smooth, 1, axis)) for axis in range(3)])
    low, high = np.percentile(pairs, (2, 90))
    return (255 * np.clip((pairs - low) / (high - low), 0, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def finished(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 7 x 7 x 7 blocks and 4 x 4 x 4 leaves, its blocks taken in random order; config.toml and out.zarr."""
    folder = tmp_path_factory.mktemp("octree-data")
    raw: Any = zarr.open_array(sample / "raw", mode="r")[CROP]
    zarr.save_array(str(folder / "affinities.zarr"), affinities_from_raw(raw))
    config = write_config(
        folder / "config.toml",
        volume={"voxel_size": [10, 10, 10]},
        affinities={"path": str(folder / "affinities.zarr")},
        output={"path": str(folder / "out.zarr")},
        fragments={"min_seed_distance": 3, "context": [4, 4, 4]},
        edges={"histogram": True},
        agglomerate={"leaf_blocks": 2, "threshold": THRESHOLD},
        schedule={"workers": 0, "block_shape": BLOCK, "edges.block_shape": [32, 32, 32], "relabel.block_shape": WHOLE},
    )
    run_in_random_order(load_config(config), np.random.default_rng(0))
    return folder


def whole_tree(folder: Path, quantile: tuple[int, int] | None = None) -> Merges:
    """The tree of one agglomeration of the whole crop, without any stage or table."""
    return global_tree(read(folder, "affinities.zarr"), read(folder, "out.zarr/fragments"), quantile=quantile)


def test_the_tree_is_that_of_one_agglomeration(finished: Path) -> None:
    tree = whole_tree(finished)
    assert len(tree.a) > 2000
    assert_same_tree(stored_tree(finished / "out.zarr"), tree)
    fragments = read(finished, "out.zarr/fragments")
    expected = segmented(fragments, tree, THRESHOLD)
    assert np.array_equal(read(finished, "out.zarr/segmentation"), expected)
    assert 50 < len(np.unique(expected)) < 0.9 * len(np.unique(fragments))


def redone(finished: Path, folder: Path, *overrides: str) -> tuple[Path, int]:
    """(output, number of leaves) of a copy whose agglomeration was made again."""
    out = folder / "out.zarr"
    shutil.copytree(finished / "out.zarr", out)
    for kind in ("merges", "residual", "lut"):
        for tables in (state_of(out) / "tables").glob(f"{kind}-*"):
            shutil.rmtree(tables)
    config = load_config(finished / "config.toml", [f"output.path={out}", *overrides])
    run(config, stages_after("predict"), redo="agglomerate")
    job = open_planned(config, stages_after("predict"))
    return out, octree_of(job).grid(0).covering(job.roi).size


@pytest.mark.parametrize("leaf, leaves, workers", [(7, 1, 1), (4, 8, 0), (3, 27, 4), (2, 64, 0)])
def test_leaves_and_workers_do_not_change_a_byte(
    finished: Path, tmp_path: Path, leaf: int, leaves: int, workers: int
) -> None:
    out, count = redone(finished, tmp_path, f"agglomerate.leaf_blocks={leaf}", f"schedule.workers={workers}")
    assert count == leaves
    assert_same_tree(stored_tree(out), stored_tree(finished / "out.zarr"))
    assert files_of(out, "segmentation") == files_of(finished / "out.zarr", "segmentation")


@pytest.mark.parametrize("seed", [1, 2])
def test_block_shapes_do_not_change_a_byte(finished: Path, tmp_path: Path, seed: int) -> None:
    shape = (16 * np.random.default_rng(seed).integers(2, 8, 3)).tolist()
    out, count = redone(finished, tmp_path, f"schedule.agglomerate.block_shape={shape}", "agglomerate.leaf_blocks=1")
    assert count == np.prod([-(-112 // n) for n in shape])
    assert_same_tree(stored_tree(out), stored_tree(finished / "out.zarr"))
    assert files_of(out, "segmentation") == files_of(finished / "out.zarr", "segmentation")


@pytest.mark.parametrize("leaf", [2, 3])
def test_quantiles_are_divided_exactly_too(finished: Path, tmp_path: Path, leaf: int) -> None:
    out, _ = redone(finished, tmp_path, *QUANTILE, f"agglomerate.leaf_blocks={leaf}")
    assert_same_tree(stored_tree(out), whole_tree(finished, (17, 20)))
