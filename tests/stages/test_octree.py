"""However the work is divided, and in whatever order: one merge tree, one segmentation."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_tools import cells, files_of, read, script, standard_config, write_config, write_volume
from scipy import ndimage

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.execution.block_runner import BlockRunner
from fgnet_pipeline.execution.resume import left, prepare
from fgnet_pipeline.execution.run import open_planned, run
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.merge_tree import Merges, lut, sort_merges
from fgnet_pipeline.kernels.region_graph import block_edges
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import attach_known_keys, stages_after
from fgnet_pipeline.store.tables import Tables

SHAPE = (48, 60, 60)


def stored_tree(out: Path) -> Merges:
    """The merges of all nodes of all levels, sorted."""
    parts = []
    for path in sorted((out / "tables").glob("merges-*/*/*/*.parquet")):
        z, y, x = (int(part) for part in path.relative_to(out / "tables").with_suffix("").parts[1:])
        table = Tables(out / "tables", path.parts[-4], "").read((z, y, x))
        parts.append([table[name] for name in Merges._fields])
    return sort_merges(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def global_tree(affinities: npt.NDArray[Any], fragments: npt.NDArray[Any]) -> Merges:
    """The tree of one agglomeration of the whole volume."""
    edges = block_edges(affinities, fragments, tuple(slice(0, n) for n in fragments.shape))
    return agglomerate(edges.u, edges.v, edges.sum, edges.count).merges


def assert_same_tree(one: Merges, other: Merges) -> None:
    for name, first, second in zip(Merges._fields, one, other, strict=True):
        assert np.array_equal(first, second), name


def run_in_random_order(config: Config, rng: np.random.Generator) -> None:
    """Level by level as a worker does, blocks of a level in random order, some of them twice."""
    job = open_planned(config, stages_after("predict"))
    job.output.create()
    prepare(job, list(job.plan.tasks), None)
    attach_known_keys(job)
    number = job.output.progress.set_driver()
    for name in job.plan.tasks:
        blocks = job.plan.active_blocks(name, job.plan.blocks(name))
        with BlockRunner(job, name, number) as runner:
            for i in [*rng.permutation(len(blocks)), *rng.integers(0, len(blocks), 2)]:
                assert runner.run(blocks[i])
    again = open_planned(config, stages_after("predict"))
    assert not any(left(again, name).todo.any() for name in again.plan.tasks), "workers and driver agree on every key"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A serial run with leaves of one block; config.toml and out.zarr."""
    folder = tmp_path_factory.mktemp("octree")
    config = standard_config(
        folder, write_volume(folder / "raw.zarr", cells(SHAPE, count=40)), block_shape=[16, 17, 24]
    )
    run(load_config(config))
    return folder


def test_reference_is_the_global_tree(reference: Path) -> None:
    out = reference / "out.zarr"
    assert len(list((out / "tables").glob("merges-*"))) == 3, "an octree of several levels"
    tree = stored_tree(out)
    assert_same_tree(tree, global_tree(read(out, "affinities"), read(out, "fragments")))
    assert len(tree.a) > 100


@pytest.mark.parametrize("leaf, workers", [(1, 3), (2, 0), (3, 2), (4, 4), (8, 1)])
def test_leaves_and_workers(reference: Path, tmp_path: Path, leaf: int, workers: int) -> None:
    out = tmp_path / "out.zarr"
    shutil.copytree(reference / "out.zarr", out)
    before = stored_tree(out)
    shutil.rmtree(out / "segmentation")
    options = ["--set", f"output.path={out}", "--set", f"agglomerate.leaf_blocks={leaf}", "--workers", workers]
    for kind in ("merges", "residual", "lut"):
        for folder in (out / "tables").glob(f"{kind}-*"):
            shutil.rmtree(folder)
    script("run_agglomerate.py", reference / "config.toml", *options, "--redo", "agglomerate")
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
def test_random_volumes(
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
        ids, position = np.unique(fragments, return_inverse=True)
        expected = lut(ids, tree, threshold)[position].reshape(shape)
        assert np.array_equal(read(folder / "out.zarr", "segmentation"), expected)
