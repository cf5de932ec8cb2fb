"""Damaged tables: refused by name, with the stage to redo; that stage redone, the result is as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from damage_tools import Change, Table, flip, repeat_first, rewrite, truncate
from pipeline_tools import Command, assert_same_output, read, standard_config, state_of, write_volume

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stages_after


def forget(out: Path, *stages: str) -> None:
    """Drop the records of stages, as if a run had ended before them."""
    for stage in stages:
        for path in state_of(out).glob(f"progress/{stage}*/done-*.jsonl"):
            path.unlink()


def set_first(column: str, value: Callable[[Table], Any]) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table[column][0] = value(table)

    return change


def set_last(column: str, value: Callable[[Table], Any]) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table[column][-1] = value(table)

    return change


def drop_column(table: Table) -> Table:
    return {name: values for name, values in table.items() if name not in ("count", "segment")}


EDGE_FAULTS: dict[str, tuple[Change, str]] = {
    "count of 0": (set_first("count", lambda t: 0), "count of 0"),
    "u = v": (set_first("v", lambda t: t["u"][0]), "u < v"),
    "background": (set_first("u", lambda t: 0), "background"),
    "unknown fragment in the block": (set_last("v", lambda t: t["v"][-1] | 2**23), "not exist"),
    "unknown fragment elsewhere": (set_last("v", lambda t: 2**62 + 1), "not exist"),
    "duplicate edge": (repeat_first, "twice"),
    "sum above its count": (set_first("sum", lambda t: 255 * t["count"][0] + 1), "255"),
    "missing column": (drop_column, "count"),
}
MERGE_FAULTS: dict[str, tuple[Change, str]] = {
    "count of 0": (set_first("count", lambda t: 0), "count of 0"),
    "a = b": (set_first("a", lambda t: t["b"][0]), "a < b"),
    "unknown fragment": (set_first("a", lambda t: t["b"][0] - t["b"][0] % 2**24), "exist"),
    "parent that is no end": (set_first("parent", lambda t: t["a"][0]), "parent"),
    "duplicate row": (repeat_first, "twice"),
}


def refusal(command: Command, config: Path, *arguments: object) -> str:
    """What `fgnet agglomerate` says, which is the same command as run_agglomerate.py, when it ends with exit code 1."""
    code, _, text = command("agglomerate", config, *arguments)
    assert code == 1, text
    return text


def assert_named(text: str, path: Path, stage: str, word: str = "") -> None:
    assert str(path) in text and f"--redo {stage}" in text and word in text, text


@pytest.mark.parametrize("fault", EDGE_FAULTS)
def test_a_faulty_edge_table_is_named(copied_run: tuple[Path, Path], command: Command, fault: str) -> None:
    config, out = copied_run
    change, word = EDGE_FAULTS[fault]
    path = rewrite(out, "edges", (1, 1, 1), change)
    forget(out, "agglomerate", "lut", "relabel")
    assert_named(refusal(command, config), path, "edges", word)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("fault", MERGE_FAULTS)
def test_a_faulty_merge_tree_is_named(copied_run: tuple[Path, Path], command: Command, fault: str, level: int) -> None:
    """Another threshold reads the stored tree again."""
    config, out = copied_run
    change, word = MERGE_FAULTS[fault]
    path = rewrite(out, f"merges-{level}", (0, 0, 0), change)
    assert_named(refusal(command, config, "--set", "agglomerate.threshold=0.7"), path, "agglomerate", word)


@pytest.mark.parametrize("kind, stage", [("fragments", "fragments"), ("edges", "edges"), ("residual-0", "agglomerate"),
                                         ("merges-0", "agglomerate"), ("merges-1", "agglomerate")])  # fmt: skip
@pytest.mark.parametrize("how", ["torn", "missing", "flipped", "of another table"])
def test_a_damaged_table_file_is_named(
    copied_run: tuple[Path, Path], command: Command, kind: str, stage: str, how: str
) -> None:
    config, out = copied_run
    path = state_of(out) / "tables" / kind / "0" / "0" / "0.parquet"
    if how == "missing":
        path.unlink()
    elif how == "of another table":
        shutil.copy(state_of(out) / "tables" / "lut-0" / "0" / "0" / "0.parquet", path)
    elif how == "torn":
        truncate(path)
    else:
        flip(path, 40)
    if kind == "edges":
        forget(out, "agglomerate")
    assert_named(refusal(command, config, "--set", "agglomerate.threshold=0.7"), path, stage)


@pytest.mark.parametrize("kind", ["edges", "merges-0", "merges-1", "residual-0"])
def test_a_table_of_other_fragments_is_named(
    finished_run: Path, copied_run: tuple[Path, Path], tmp_path: Path, command: Command, kind: str
) -> None:
    """Ids are numbered from 1 in every block, so a table of other fragments names some that exist."""
    out = copied_run[1]
    other = standard_config(tmp_path, str(finished_run / "raw.zarr"), leaf_blocks=2)
    run(load_config(other, [f"output.path={tmp_path / 'other.zarr'}", "fragments.boundary_threshold=0.4"]))
    shutil.rmtree(state_of(out) / "tables" / kind)
    shutil.copytree(state_of(tmp_path / "other.zarr") / "tables" / kind, state_of(out) / "tables" / kind)
    stage = "edges" if kind == "edges" else "agglomerate"
    if kind == "edges":
        forget(out, "agglomerate")
    text = refusal(command, copied_run[0], "--set", "agglomerate.threshold=0.7")
    assert_named(text, state_of(out) / "tables" / kind, stage, "other fragments")


def test_the_redo_that_is_advised_restores_every_byte(
    finished_run: Path, copied_run: tuple[Path, Path], command: Command
) -> None:
    """The command says what to do; done so, every byte is as it was."""
    config, out = copied_run
    rewrite(out, "edges", (0, 2, 2), set_first("count", lambda t: 0))
    (state_of(out) / "tables" / "fragments" / "1" / "0" / "0.parquet").write_bytes(b"PAR1")
    forget(out, "agglomerate")
    code, _, said = command("agglomerate", config, "--workers", 2)
    assert code == 1 and "Traceback" not in said
    assert "--redo edges" in said and "--redo fragments" in said
    run(load_config(config), stages_after("predict"), redo="fragments")
    assert_same_output(finished_run / "out.zarr", out)


def test_fragments_without_edges_keep_their_segment(tmp_path: Path) -> None:
    """One fragment a block of nothing but tissue, and a wall of background between them."""
    raw = np.full((24, 24, 72), 250, np.uint8)
    mask = np.ones_like(raw)
    mask[:, :, 24:48] = 0
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", raw))
    run(load_config(config, [f"volume.mask={write_volume(tmp_path / 'mask.zarr', mask)}"]))
    out = tmp_path / "out.zarr"
    assert pq.read_metadata(state_of(out) / "tables" / "edges" / "0" / "0" / "0.parquet").num_rows == 0
    segmentation, fragments = read(out, "segmentation"), read(out, "fragments")
    assert np.array_equal(segmentation, fragments)
    assert len(np.unique(segmentation)) == 3 and (segmentation[:, :, 24:48] == 0).all()
