"""What must not depend on how the work is divided: blocks, leaves of the octree, workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import Command, assert_same_output, files_of, read, records, standard_config, write_config
from tree_tools import global_tree, segmented

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

SHAPE = (50, 60, 70)


def test_affinities_are_what_the_network_says(raw: str, reference: Path) -> None:
    volume = read(raw, "")
    affinities = read(reference, "affinities")
    assert affinities.shape == (3, *SHAPE)
    assert np.abs(affinities.astype(int) - volume.astype(int)).max() <= 1


def test_fragments_are_connected_and_named_by_their_block(reference: Path) -> None:
    fragments = read(reference, "fragments")
    assert (fragments > 0).all(), "every voxel of tissue belongs to a fragment"
    for z in range(0, SHAPE[0], 24):
        block = fragments[z : z + 24, :24, :24]
        assert set(np.unique(block >> 27 >> 24)) == {z // 24}


def test_segmentation_equals_one_global_agglomeration(reference: Path) -> None:
    fragments, affinities = read(reference, "fragments"), read(reference, "affinities")
    segmentation = read(reference, "segmentation")
    assert np.array_equal(segmentation, segmented(fragments, global_tree(affinities, fragments), 0.5))
    assert 1 < len(np.unique(segmentation)) < len(np.unique(fragments))


def test_every_block_has_one_record(reference: Path) -> None:
    for stage in ("predict", "fragments", "edges", "relabel"):
        found = records(reference, stage)
        assert len(found) == len({tuple(r["block"]) for r in found}) == 3 * 3 * 3
        assert all(r["checksum"].startswith("crc32c:") and len(r["key"]) == 16 for r in found)


@pytest.mark.parametrize("block", [[16, 16, 16], [60, 61, 80], [17, 33, 29]])
def test_affinities_do_not_depend_on_the_block_grid(raw: str, reference: Path, tmp_path: Path, block: list) -> None:
    config = standard_config(tmp_path, raw, block_shape=block)
    run(load_config(config), ("predict",))
    assert np.array_equal(read(tmp_path / "out.zarr", "affinities"), read(reference, "affinities"))


@pytest.mark.parametrize("block, leaf", [([16, 16, 16], 1), ([24, 24, 24], 2), ([19, 40, 33], 3), ([64, 64, 96], 1)])
def test_segmentation_given_the_fragments_does_not_depend_on_the_blocks(
    raw: str, reference: Path, tmp_path: Path, block: list, leaf: int
) -> None:
    config = write_config(
        tmp_path / "c.toml",
        volume={"path": raw},
        output={"path": str(tmp_path / "out.zarr")},
        affinities={"path": str(reference / "affinities")},
        fragments={"path": str(reference / "fragments")},
        schedule={"workers": 0, "block_shape": block},
        agglomerate={"leaf_blocks": leaf},
    )
    run(load_config(config))
    assert np.array_equal(read(tmp_path / "out.zarr", "segmentation"), read(reference, "segmentation"))


@pytest.mark.parametrize("leaf", [2, 3, 8])
def test_the_octree_does_not_change_the_segmentation(raw: str, reference: Path, tmp_path: Path, leaf: int) -> None:
    config = standard_config(tmp_path, raw)
    run(load_config(config, [f"agglomerate.leaf_blocks={leaf}"]))
    assert files_of(tmp_path / "out.zarr", "segmentation") == files_of(reference, "segmentation")


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_do_not_change_a_byte(
    raw: str, reference: Path, tmp_path: Path, command: Command, workers: int
) -> None:
    config = standard_config(tmp_path, raw)
    for part in ("predict", "agglomerate"):
        code, _, said = command(part, config, "--workers", workers)
        assert code == 0, said
    assert_same_output(reference, tmp_path / "out.zarr")
