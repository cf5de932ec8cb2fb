"""Damaged tables: refused by name, with the stage to redo; that stage redone, the result is as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pipeline_tools import assert_same_output, cells, read, script, standard_config, write_volume

from fgnet_pipeline.commands import cli
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.registry import stages_after
from fgnet_pipeline.store.tables import Tables

Table = dict[str, Any]
SHAPE = (40, 50, 60)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run on 2 x 3 x 3 blocks, an octree of 1 x 2 x 2 leaves and a root."""
    folder = tmp_path_factory.mktemp("tables")
    run(load_config(configuration(folder, write_volume(folder / "raw.zarr", cells(SHAPE)))))
    return folder


def configuration(folder: Path, raw: Path | str) -> Path:
    path = standard_config(folder, str(raw))
    path.write_text(path.read_text().replace("leaf_blocks = 1", "leaf_blocks = 2"))
    return path


def damage(out: Path, kind: str, index: tuple[int, int, int], change: Callable[[Table], Table | None]) -> Path:
    """Rewrite a table under its own key with other rows; ``change`` may edit in place."""
    tables = Tables(out / "tables", kind, "")
    key, columns = tables.read_key(index), {name: np.array(v) for name, v in tables.read(index).items()}
    return tables.write(index, change(columns) or columns, key)


def forget(out: Path, *stages: str) -> None:
    """Drop the records of stages, as if a run had ended before them."""
    for stage in stages:
        for path in out.glob(f"progress/{stage}*/done-*.jsonl"):
            path.unlink()


def set_first(column: str, value: Callable[[Table], Any]) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table[column][0] = value(table)

    return change


def set_last(column: str, value: Callable[[Table], Any]) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table[column][-1] = value(table)

    return change


def repeat_first(table: Table) -> Table:
    return {name: np.concatenate([values[:1], values]) for name, values in table.items()}


def drop_column(table: Table) -> Table:
    return {name: values for name, values in table.items() if name not in ("count", "segment")}


EDGE_FAULTS: dict[str, tuple[Callable[[Table], Table | None], str]] = {
    "count of 0": (set_first("count", lambda t: 0), "count of 0"),
    "u = v": (set_first("v", lambda t: t["u"][0]), "u < v"),
    "background": (set_first("u", lambda t: 0), "background"),
    "unknown fragment in the block": (set_last("v", lambda t: t["v"][-1] | 2**23), "not exist"),
    "unknown fragment elsewhere": (set_last("v", lambda t: 2**62 + 1), "not exist"),
    "duplicate edge": (repeat_first, "twice"),
    "sum above its count": (set_first("sum", lambda t: 255 * t["count"][0] + 1), "255"),
    "missing column": (drop_column, "count"),
}
MERGE_FAULTS: dict[str, tuple[Callable[[Table], Table | None], str]] = {
    "count of 0": (set_first("count", lambda t: 0), "count of 0"),
    "a = b": (set_first("a", lambda t: t["b"][0]), "a < b"),
    "unknown fragment": (set_first("a", lambda t: t["b"][0] - t["b"][0] % 2**24), "exist"),
    "parent that is no end": (set_first("parent", lambda t: t["a"][0]), "parent"),
    "duplicate row": (repeat_first, "twice"),
}


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(configuration, output) of a copy of the finished run."""
    shutil.copytree(finished / "out.zarr", tmp_path / "out.zarr")
    return configuration(tmp_path, finished / "raw.zarr"), tmp_path / "out.zarr"


def refusal(capsys: pytest.CaptureFixture[str], config: Path, *arguments: object) -> str:
    """What `fgnet agglomerate` says, which is the same command as run_agglomerate.py, when it ends with exit code 1."""
    with pytest.raises(SystemExit) as ended:
        command = ["agglomerate", str(config), *map(str, arguments)]
        cli.guarded(lambda: cli.app(command, standalone_mode=False))
    text = capsys.readouterr().err
    assert ended.value.code == 1, text
    return text


def assert_named(text: str, path: Path, stage: str, word: str = "") -> None:
    assert str(path) in text and f"--redo {stage}" in text and word in text, text


@pytest.mark.parametrize("fault", EDGE_FAULTS)
def test_edges(place: tuple[Path, Path], capsys: pytest.CaptureFixture[str], fault: str) -> None:
    config, out = place
    change, word = EDGE_FAULTS[fault]
    path = damage(out, "edges", (1, 1, 1), change)
    forget(out, "agglomerate", "lut", "relabel")
    assert_named(refusal(capsys, config), path, "edges", word)


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("fault", MERGE_FAULTS)
def test_merges(place: tuple[Path, Path], capsys: pytest.CaptureFixture[str], fault: str, level: int) -> None:
    """Another threshold reads the stored tree again."""
    config, out = place
    change, word = MERGE_FAULTS[fault]
    path = damage(out, f"merges-{level}", (0, 0, 0), change)
    assert_named(refusal(capsys, config, "--set", "agglomerate.threshold=0.7"), path, "agglomerate", word)


@pytest.mark.parametrize("kind, stage", [("fragments", "fragments"), ("edges", "edges"), ("residual-0", "agglomerate"),
                                         ("merges-0", "agglomerate"), ("merges-1", "agglomerate")])  # fmt: skip
@pytest.mark.parametrize("how", ["torn", "missing", "flipped", "of another table"])
def test_files(place: tuple[Path, Path], capsys: pytest.CaptureFixture[str], kind: str, stage: str, how: str) -> None:
    config, out = place
    path = out / "tables" / kind / "0" / "0" / "0.parquet"
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "of another table":
        shutil.copy(out / "tables" / "lut-0" / "0" / "0" / "0.parquet", path)
    else:
        path.write_bytes(data[: len(data) // 2] if how == "torn" else _flipped(data, 40))
    if kind == "edges":
        forget(out, "agglomerate")
    assert_named(refusal(capsys, config, "--set", "agglomerate.threshold=0.7"), path, stage)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


@pytest.mark.parametrize("kind", ["edges", "merges-0", "merges-1", "residual-0"])
def test_tables_of_other_fragments(
    finished: Path, place: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Ids are numbered from 1 in every block, so a table of other fragments names some that exist."""
    out = place[1]
    other = configuration(tmp_path, finished / "raw.zarr")
    run(load_config(other, [f"output.path={tmp_path / 'other.zarr'}", "fragments.boundary_threshold=0.4"]))
    shutil.rmtree(out / "tables" / kind)
    shutil.copytree(tmp_path / "other.zarr" / "tables" / kind, out / "tables" / kind)
    stage = "edges" if kind == "edges" else "agglomerate"
    if kind == "edges":
        forget(out, "agglomerate")
    text = refusal(capsys, place[0], "--set", "agglomerate.threshold=0.7")
    assert_named(text, out / "tables" / kind, stage, "other fragments")


def test_redo_mends(finished: Path, place: tuple[Path, Path]) -> None:
    """The script says what to do; done so, every byte is as it was."""
    config, out = place
    damage(out, "edges", (0, 2, 2), set_first("count", lambda t: 0))
    (out / "tables" / "fragments" / "1" / "0" / "0.parquet").write_bytes(b"PAR1")
    forget(out, "agglomerate")
    done = script("run_agglomerate.py", config, "--workers", 2, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "--redo edges" in done.stderr and "--redo fragments" in done.stderr
    run(load_config(config), stages_after("predict"), redo="fragments")
    assert_same_output(finished / "out.zarr", out)


def test_fragments_without_edges_keep_their_segment(tmp_path: Path) -> None:
    """One fragment a block of nothing but tissue, and a wall of background between them."""
    raw = np.full((24, 24, 72), 250, np.uint8)
    mask = np.ones_like(raw)
    mask[:, :, 24:48] = 0
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", raw))
    run(load_config(config, [f"volume.mask={write_volume(tmp_path / 'mask.zarr', mask)}"]))
    out = tmp_path / "out.zarr"
    assert pq.read_metadata(out / "tables" / "edges" / "0" / "0" / "0.parquet").num_rows == 0
    segmentation, fragments = read(out, "segmentation"), read(out, "fragments")
    assert np.array_equal(segmentation, fragments)
    assert len(np.unique(segmentation)) == 3 and (segmentation[:, :, 24:48] == 0).all()
