"""A result in Python: arrays, tables and the tree are those that are stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pipeline_tools import read, standard_config

import fgnet_pipeline as fp


@pytest.fixture(scope="module")
def result(finished_run: Path) -> fp.Result:
    """The finished run, opened by its output."""
    return fp.open(str(finished_run / "out.zarr"))


def test_arrays_are_read_when_they_are_computed(result: fp.Result, finished_run: Path) -> None:
    assert list(result.arrays) == ["raw", "affinities", "fragments", "segmentation"]
    for name in ("affinities", "fragments", "segmentation"):
        stored = read(finished_run / "out.zarr", name)
        lazy = getattr(result, name)
        assert (lazy.shape, lazy.dtype) == (stored.shape, stored.dtype)
        np.testing.assert_array_equal(lazy[..., 5:30, 7, ::3].compute(), stored[..., 5:30, 7, ::3])
    np.testing.assert_array_equal(result.raw.compute(), read(finished_run, "raw.zarr"))


def test_slices_and_integers_select_as_in_numpy(result: fp.Result, finished_run: Path) -> None:
    stored, lazy, rng = read(finished_run / "out.zarr", "affinities"), result.affinities, np.random.default_rng(0)
    for _ in range(30):
        index: list[slice | int] = []
        for size in stored.shape:
            begin, end = (int(n) for n in rng.integers(-size, size + 1, 2))
            step = [None, 1, 3, -1, -2][rng.integers(5)]
            index.append(slice(begin, end, step) if rng.integers(3) else int(rng.integers(size)))
        np.testing.assert_array_equal(lazy[tuple(index)].compute(), stored[tuple(index)])


def test_its_place_is_that_of_the_volume(result: fp.Result) -> None:
    assert (result.shape, result.voxel_size, result.offset) == ((40, 50, 60), (10, 10, 10), (0, 0, 0))
    assert result.config.agglomerate.threshold == 0.5
    assert all(stage.left == 0 for stage in result.status().stages)


def test_tables_are_all_rows_of_all_blocks(result: fp.Result, finished_run: Path) -> None:
    files = sorted((finished_run / "out.zarr").glob("**/tables/edges/**/*.parquet"))
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    assert result.table("edges").count_rows() == rows > 0
    assert {"fragments", "edges", "merges-0", "lut-0"} <= set(result.tables)
    lut = result.table("lut-0").to_table()
    present = np.unique(read(finished_run / "out.zarr", "segmentation"))
    assert set(np.unique(lut["segment"])) == set(present[present > 0].tolist())


def test_the_tree_has_one_merge_less_than_fragments_per_segment(result: fp.Result) -> None:
    tree, fragments = result.tree.to_table(), result.table("fragments").count_rows()
    threshold = 0.5 * 255
    merged = np.asarray(tree["sum"], np.float64) >= threshold * np.asarray(tree["count"], np.float64)
    segments = len(np.unique(result.table("lut-0").to_table()["segment"]))
    assert fragments - int(merged.sum()) == segments


def test_unknown_names_are_errors(result: fp.Result) -> None:
    with pytest.raises(AttributeError, match="segmentation"):
        result.segments  # noqa: B018
    with pytest.raises(fp.InputError, match="edges"):
        result.table("edge")


def test_an_unfinished_result_has_what_exists(finished_run: Path, tmp_path: Path) -> None:
    config = fp.load_config(standard_config(tmp_path, str(finished_run / "raw.zarr")))
    fp.run(config, ("predict",))
    found = fp.open(str(tmp_path / "config.toml"))
    assert list(found.arrays) == ["raw", "affinities"]
    with pytest.raises(fp.InputError, match="begun"):
        found.tree  # noqa: B018


def test_a_script_without_a_guard_runs_once(finished_run: Path, tmp_path: Path) -> None:
    config = standard_config(tmp_path, str(finished_run / "raw.zarr"))
    script = tmp_path / "script.py"
    script.write_text(
        "print('begins')\n"
        "import fgnet_pipeline as fp\n"
        f"fp.run(fp.load_config({str(config)!r}, ['schedule.workers=2']))\n"
        f"print(fp.open({str(config)!r}).segmentation.max().compute() > 0)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines() == ["begins", "True"]
    assert "Traceback" not in done.stderr
