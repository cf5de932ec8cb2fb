"""However the work is divided, and in whatever order: one merge tree, one segmentation."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_tools import Command, files_of, read, run_on_cells, state_of, write_config
from scipy import ndimage
from tree_tools import assert_same_tree, global_tree, run_in_random_order, segmented, stored_tree

from fgnet_pipeline.stages.configuration import load_config

SHAPE = (48, 60, 60)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A serial run with leaves of one block; config.toml and out.zarr."""
    return run_on_cells(tmp_path_factory.mktemp("octree"), SHAPE, count=40, block_shape=[16, 17, 24])


def test_a_serial_run_makes_the_tree_of_one_agglomeration(reference: Path) -> None:
    out = reference / "out.zarr"
    assert len(list((state_of(out) / "tables").glob("merges-*"))) == 3, "an octree of several levels"
    tree = stored_tree(out)
    assert_same_tree(tree, global_tree(read(out, "affinities"), read(out, "fragments")))
    assert len(tree.a) > 100


@pytest.mark.parametrize("leaf, workers", [(1, 3), (2, 0), (3, 2), (4, 4), (8, 1)])
def test_leaves_and_workers_do_not_change_the_tree(
    reference: Path, tmp_path: Path, command: Command, leaf: int, workers: int
) -> None:
    out = tmp_path / "out.zarr"
    shutil.copytree(reference / "out.zarr", out)
    before = stored_tree(out)
    shutil.rmtree(out / "segmentation")
    options = ["--set", f"output.path={out}", "--set", f"agglomerate.leaf_blocks={leaf}", "--workers", workers]
    for kind in ("merges", "residual", "lut"):
        for folder in (state_of(out) / "tables").glob(f"{kind}-*"):
            shutil.rmtree(folder)
    code, _, said = command("agglomerate", reference / "config.toml", *options, "--redo", "agglomerate")
    assert code == 0, said
    assert_same_tree(stored_tree(out), before)
    assert files_of(out, "segmentation") == files_of(reference / "out.zarr", "segmentation")


@given(
    shape=st.tuples(*[st.integers(20, 60)] * 3),
    block=st.tuples(*[st.integers(16, 24)] * 3),
    leaf=st.sampled_from([1, 2, 3, 4, 8]),
    levels=st.integers(2, 6),
    seed=st.integers(0, 2**32 - 1),
    threshold=st.sampled_from([0.2, 0.4, 0.5, 0.6, 0.8]),
)
@settings(deadline=None, max_examples=10)
def test_the_tree_of_random_volumes_is_that_of_one_agglomeration(
    shape: tuple[int, int, int], block: tuple[int, int, int], leaf: int, levels: int, seed: int, threshold: float
) -> None:
    """Affinities of a few values only, so that means are equal again and again."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(3, *shape)), (0, 2, 2, 2))
    ranks = smooth.argsort(axis=None).argsort().reshape(smooth.shape) * levels // smooth.size
    affinities = (ranks * 255 // (levels - 1)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zarr.save_array(str(folder / "affinities.zarr"), affinities)
        config = load_config(
            write_config(
                folder / "c.toml",
                volume={"voxel_size": [10, 10, 10]},
                affinities={"path": str(folder / "affinities.zarr")},
                output={"path": str(folder / "out.zarr")},
                schedule={"workers": 0, "block_shape": list(block)},
                agglomerate={"leaf_blocks": leaf, "threshold": threshold},
                fragments={"min_seed_distance": 2, "context": [4, 4, 4]},
            )
        )
        run_in_random_order(config, rng)
        fragments = read(folder / "out.zarr", "fragments")
        tree = global_tree(affinities, fragments)
        assert_same_tree(stored_tree(folder / "out.zarr"), tree)
        expected = segmented(fragments, tree, threshold)
        assert np.array_equal(read(folder / "out.zarr", "segmentation"), expected)
