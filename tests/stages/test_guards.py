"""Guards of agglomeration: exact and independent of the division, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import read, run_on_cells
from tree_tools import global_table, global_tree, segmented

from fgnet_pipeline.core.errors import InputError, StaleError
from fgnet_pipeline.evaluation.inspect_segment import inspect_segment
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stages_after

SHAPE = (48, 50, 60)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a finished run, whose agglomeration the tests make again."""
    return run_on_cells(tmp_path_factory.mktemp("guards"), SHAPE) / "config.toml"


@pytest.mark.parametrize("leaf", [1, 2, 8])
@pytest.mark.parametrize("least", [2, 15, 60])
def test_small_contacts_are_filtered_exactly(config: Path, least: int, leaf: int) -> None:
    resolved = load_config(config, [f"agglomerate.min_contact={least}", f"agglomerate.leaf_blocks={leaf}"])
    out = Path(resolved.output.path)
    with pytest.raises(StaleError, match="--redo agglomerate"):
        run(resolved, stages_after("predict"))
    run(resolved, stages_after("predict"), redo="agglomerate")
    affinities, fragments = read(out, "affinities"), read(out, "fragments")
    expected = segmented(fragments, global_tree(affinities, fragments, least), 0.5)
    assert np.array_equal(read(out, "segmentation"), expected)
    count = global_table(affinities, fragments).count
    assert 0 < (count < least).sum() < len(count)


def test_inspection_leaves_out_what_was_ignored(config: Path) -> None:
    resolved = load_config(config, ["agglomerate.min_contact=15"])
    run(resolved, stages_after("predict"), redo="agglomerate")
    segmentation = read(Path(resolved.output.path), "segmentation")
    found = inspect_segment(resolved, int(segmentation[24, 25, 30]))
    assert found.voxels == (segmentation == found.segment).sum()
    assert all(n.count >= 15 and n.mean < 0.5 for n in found.neighbours)
    assert all(m.count >= 15 for m in found.strongest + found.weakest)


@pytest.mark.parametrize("key", ["max_segment_voxels=1000000", "min_contact=0", "min_contact=1.5"])
def test_values_out_of_range_are_refused(config: Path, key: str) -> None:
    with pytest.raises(InputError, match=key.split("=")[0]):
        load_config(config, [f"agglomerate.{key}"])
