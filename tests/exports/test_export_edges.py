"""The Parquet table of edges, read by pandas and pyarrow, against all tables of the run added up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pipeline_tools import Command, Refused, state_of
from rag_oracle import AXES, quantile_of, rag_of

RUNS = ("finished_run", "odd_run", "lab_run")


def exported(run: Path, to: Path, command: Command, *more: object) -> pd.DataFrame:
    """The table that the command writes."""
    code, _, told = command("export", run / "config.toml", "edges", "--to", to, "--workers", 0, *more)
    assert code == 0, told
    return pd.read_parquet(to)


@pytest.fixture(params=RUNS)
def any_run(request: pytest.FixtureRequest) -> Path:
    """One run after the other."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


def test_every_pair_stands_once_with_all_of_its_faces(any_run: Path, tmp_path: Path, command: Command) -> None:
    table = exported(any_run, tmp_path / "edges.parquet", command)
    edges = rag_of(any_run / "out.zarr").edges
    assert len(edges) > 20 and (table["u"] < table["v"]).all()
    ordered = table.sort_values(["u", "v"], ignore_index=True)
    same = ["u", "v", "sum", "count", "segment_u", "segment_v"]
    pd.testing.assert_frame_equal(ordered[same], edges[same])
    for axis in AXES:
        np.testing.assert_array_equal(ordered[f"sum_{axis}"], edges[f"channel_sum_{axis}"])
        np.testing.assert_array_equal(ordered[f"count_{axis}"], edges[f"channel_count_{axis}"])
    np.testing.assert_allclose(ordered["affinity"], edges["sum"] / edges["count"] / 255, rtol=1e-14)
    np.testing.assert_array_equal(ordered["merged"], edges["segment_u"] == edges["segment_v"])
    assert table["merged"].any() and not table["merged"].all()


def test_the_same_pair_in_several_tables_is_the_case_that_is_tested(odd_run: Path, lab_run: Path) -> None:
    for run in (odd_run, lab_run):
        files = (state_of(run / "out.zarr") / "tables" / "edges").rglob("*.parquet")
        rows = [pd.read_parquet(path, columns=["u", "v"]) for path in files]
        assert pd.concat(rows).duplicated().any()


def test_scores_positions_and_contacts_that_were_not_used(odd_run: Path, tmp_path: Path, command: Command) -> None:
    table = exported(odd_run, tmp_path / "edges.parquet", command).sort_values(["u", "v"], ignore_index=True)
    edges = rag_of(odd_run / "out.zarr").edges
    scores = [quantile_of(histogram, 3, 4) for histogram in edges["histogram"]]
    np.testing.assert_array_equal(table["score"], scores)
    np.testing.assert_array_equal(table["used"], edges["count"] >= 3)
    assert not table["used"].all()
    for axis, size, offset in zip(AXES, (4.5, 9.6, 10), (-7.25, 3.5, 100), strict=True):
        centre = edges[f"position_{axis}"] / edges["count"] + 0.5
        np.testing.assert_allclose(table[f"position_{axis}"], offset + size * centre, rtol=1e-12)


def test_rows_come_leaf_by_leaf_and_sorted_within_a_leaf(finished_run: Path, tmp_path: Path, command: Command) -> None:
    table = exported(finished_run, tmp_path / "edges.parquet", command)
    leaf = _block_of(table["v"].to_numpy()) // 2  # leaf_blocks
    keys = list(zip(map(tuple, leaf.tolist()), table["u"], table["v"], strict=True))
    assert keys == sorted(keys) and len(set(map(tuple, leaf.tolist()))) == 4


def _block_of(ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Block of fragments by the documented bits of an id, (n, 3)."""
    return np.stack([(ids >> np.uint64(shift)) & np.uint64(4095) for shift in (51, 39, 27)], axis=1).astype(np.int64)


def test_compact_ids_are_ranks(any_run: Path, tmp_path: Path, command: Command) -> None:
    table = exported(any_run, tmp_path / "edges.parquet", command, "--compact-ids")
    stored = exported(any_run, tmp_path / "stored.parquet", command)
    nodes = rag_of(any_run / "out.zarr").nodes
    for kind, columns, ids in (
        ("fragments", ("u", "v"), nodes.index.to_numpy()),
        ("segments", ("segment_u", "segment_v"), np.unique(nodes["segment"])),
    ):
        ids = np.sort(ids)
        for column in columns:
            assert table[column].dtype == np.uint32
            np.testing.assert_array_equal(table[column], 1 + np.searchsorted(ids, stored[column]))
        both = pd.read_parquet(tmp_path / f"edges.parquet.{kind}.parquet").sort_values("compact")
        np.testing.assert_array_equal(both["id"], ids)
        np.testing.assert_array_equal(both["compact"], np.arange(1, len(ids) + 1))


def test_the_file_says_what_it_is(odd_run: Path, tmp_path: Path, command: Command) -> None:
    exported(odd_run, tmp_path / "edges.parquet", command)
    schema = pq.read_schema(tmp_path / "edges.parquet")
    document = json.loads(schema.metadata[b"fgnet_export"])
    assert (document["threshold"], document["min_contact"], document["unit"]) == (0.4, 3, "nm")
    assert document["voxel_size"] == [4.5, 9.6, 10] and document["score"] == "0.75 quantile of affinities"
    assert str(schema.field("u").type) == "uint64" and str(schema.field("merged").type) == "bool"


def test_no_other_data_are_overwritten(finished_run: Path, tmp_path: Path, refused: Refused, command: Command) -> None:
    to = tmp_path / "edges.parquet"
    to.write_text("mine")
    assert "nothing lies yet" in refused("export", finished_run / "out.zarr", "edges", "--to", to)
    to.unlink()
    beside = tmp_path / "edges.parquet.segments.parquet"
    beside.write_text("mine")
    assert str(beside) in refused("export", finished_run / "out.zarr", "edges", "--to", to, "--compact-ids")
    assert [path.name for path in tmp_path.iterdir()] == [beside.name] and beside.read_text() == "mine"
    progress = tmp_path / "records"
    assert command("export", finished_run / "out.zarr", "edges", "--to", to, "--progress", progress)[0] == 0
    other = tmp_path / "other.parquet"
    other.write_text("mine")
    sentence = refused("export", finished_run / "out.zarr", "edges", "--to", other, "--progress", progress)
    assert "--progress" in sentence and other.read_text() == "mine"


def test_an_unfinished_result_is_refused(unfinished_run: Path, tmp_path: Path, refused: Refused) -> None:
    for name in ("edges", "graph", "webknossos"):
        assert "blocks missing" in refused("export", unfinished_run, name, "--to", tmp_path / "out")
    assert not list(tmp_path.iterdir())
