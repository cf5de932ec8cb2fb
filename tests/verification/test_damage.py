"""`fgnet verify`: every kind of damage is found; repaired and run again, every byte is as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damage_tools import (
    ONE,
    add_to,
    assert_mended,
    assert_untouched,
    change_record,
    drop_last,
    flip,
    repeat_first,
    rewrite,
    set_voxel,
    shard,
    state,
    table,
    truncate,
)

from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.verification.verify import verify

Requeued = dict[str, list[tuple[int, int, int]]]
ROOT = (0, 0, 0)
#: How to damage an output; the kind that is reported; and what is made again.
DAMAGE: dict[str, tuple[Callable[[Path], Any], str, Requeued]] = {
    "shard of affinities gone": (lambda o: shard(o, "affinities").unlink(), "missing", {"predict": [ONE]}),
    "shard of fragments gone": (lambda o: shard(o, "fragments").unlink(), "missing", {"fragments": [ONE]}),
    "shard of segmentation gone": (lambda o: shard(o, "segmentation").unlink(), "missing", {"relabel": [ONE]}),
    "torn shard": (lambda o: truncate(shard(o, "affinities")), "undecodable", {"predict": [ONE]}),
    "empty shard": (lambda o: os.truncate(shard(o, "fragments"), 0), "missing", {"fragments": [ONE]}),
    "flipped byte": (lambda o: flip(shard(o, "affinities"), 20), "undecodable", {"predict": [ONE]}),
    "flipped index": (lambda o: flip(shard(o, "segmentation"), -10), "undecodable", {"relabel": [ONE]}),
    "another affinity": (lambda o: set_voxel(o, "affinities", 77), "checksum", {"predict": [ONE]}),
    "another segment": (lambda o: set_voxel(o, "segmentation", 5), "checksum", {"relabel": [ONE]}),
    "id of another block": (lambda o: set_voxel(o, "fragments", 7), "ids", {"fragments": [ONE]}),
    "torn table": (lambda o: truncate(table(o, "edges")), "undecodable", {"edges": [ONE]}),
    "flipped byte in a table": (lambda o: flip(table(o, "fragments"), 60), "undecodable", {"fragments": [ONE]}),
    "flipped statistics": (lambda o: flip(table(o, "lut-0", ROOT), -60), "undecodable", {"lut-0": [ROOT]}),
    "edge table gone": (lambda o: table(o, "edges").unlink(), "missing", {"edges": [ONE]}),
    "fragment table gone": (lambda o: table(o, "fragments").unlink(), "missing", {"fragments": [ONE]}),
    "merges gone": (lambda o: table(o, "merges-1", ROOT).unlink(), "missing", {"agglomerate-1": [ROOT]}),
    "residual gone": (lambda o: table(o, "residual-0", ROOT).unlink(), "missing", {"agglomerate-0": [ROOT]}),
    "table of another block": (
        lambda o: shutil.copy(table(o, "edges", (0, 0, 0)), table(o, "edges")), "undecodable", {"edges": [ONE]},
    ),
    "fragment left out": (lambda o: rewrite(o, "fragments", ONE, drop_last), "disagrees", {"fragments": [ONE]}),
    "fragment listed twice": (lambda o: rewrite(o, "fragments", ONE, repeat_first), "ids", {"fragments": [ONE]}),
    "id out of range": (lambda o: rewrite(o, "fragments", ONE, add_to("id", 1 << 40)), "ids", {"fragments": [ONE]}),
    "voxel count": (lambda o: rewrite(o, "fragments", ONE, add_to("voxels", 1)), "disagrees", {"fragments": [ONE]}),
    "edge to no fragment": (lambda o: rewrite(o, "edges", ONE, add_to("v", 1 << 20)), "disagrees", {"edges": [ONE]}),
    "sum of an edge": (lambda o: rewrite(o, "edges", ONE, add_to("position", 1)), "checksum", {"edges": [ONE]}),
    "LUT misses a fragment": (lambda o: rewrite(o, "lut-0", ROOT, drop_last), "disagrees", {"lut-0": [ROOT]}),
    "another LUT": (lambda o: rewrite(o, "lut-0", ROOT, add_to("segment", 1)), "checksum", {"lut-0": [ROOT]}),
    "a merge left out": (lambda o: rewrite(o, "merges-0", ROOT, drop_last), "checksum", {"agglomerate-0": [ROOT]}),
    "record lost": (lambda o: change_record(o, "edges"), "unrecorded", {}),
    "record of an array lost": (lambda o: change_record(o, "relabel"), "unrecorded", {}),
    "metadata torn": (lambda o: truncate(o / "fragments" / "zarr.json"), "metadata", {}),
    "metadata gone": (lambda o: (o / "affinities" / "zarr.json").unlink(), "metadata", {}),
    "metadata of another shape": (
        lambda o: (o / "segmentation" / "zarr.json").write_bytes((o / "affinities" / "zarr.json").read_bytes()),
        "metadata", {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_and_a_run_after_the_repair_restores_every_byte(
    finished_run: Path, copied_run: tuple[Path, Path], case: str
) -> None:
    config, out = copied_run
    damage, kind, requeued = DAMAGE[case]
    damage(out)
    before = state(out)
    report = verify(load_config(config))
    assert [f.kind for f in report.damage] == [kind], report.damage
    assert report.requeued == requeued and not report.strays
    assert state(out) == before, "reading back must not write"
    verify(load_config(config), repair=True)
    assert_untouched(before, out, report)
    assert_mended(finished_run, config, out)
