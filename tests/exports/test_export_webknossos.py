"""The agglomerate file, read by a reader that was written from its specification."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from agglomerate_reader import AgglomerateReader
from pipeline_tools import Command, Refused
from rag_oracle import rag_of, tables

from fgnet_pipeline.store import sorted_rows


def exported(run: Path, to: Path, command: Command) -> None:
    code, _, told = command("export", run / "config.toml", "webknossos", "--to", to, "--workers", 0)
    assert code == 0, told


def stored_ids(to: Path, kind: str) -> pd.Series:
    """From compact to stored ids, by the table beside the file."""
    return pd.read_parquet(to.with_name(f"{to.name}.{kind}.parquet")).set_index("compact")["id"]


@pytest.mark.parametrize("name", ["finished_run", "odd_run", "lab_run"])
def test_a_reader_finds_the_lut_and_the_graph_of_every_segment(
    name: str, tmp_path: Path, command: Command, request: pytest.FixtureRequest
) -> None:
    run, to = request.getfixturevalue(name), tmp_path / "threshold.hdf5"
    exported(run, to, command)
    rag, fragments, segments = rag_of(run / "out.zarr"), stored_ids(to, "fragments"), stored_ids(to, "segments")
    points = tables(run / "out.zarr", "fragments").drop_duplicates("id").set_index("id")["point"]
    least = 3 if name == "odd_run" else 1
    inside = rag.edges[(rag.edges["segment_u"] == rag.edges["segment_v"]) & (rag.edges["count"] >= least)]
    wanted = dict(zip(zip(inside["u"], inside["v"], strict=True), inside["sum"] / inside["count"] / 255, strict=True))
    with AgglomerateReader(to) as file:
        file.check()
        np.testing.assert_array_equal(np.sort(fragments), np.sort(rag.nodes.index))
        found = dict(zip(fragments, segments[file.lut[fragments.index]], strict=True))
        assert found == rag.nodes["segment"].to_dict()
        edges = {}
        for agglomerate in range(1, file.n_agglomerates + 1):
            graph = file.graph(agglomerate)
            assert nx.is_connected(graph)
            for segment, position in graph.nodes(data="position"):
                assert position[::-1] == tuple(points[fragments[segment]])
            edges |= {
                tuple(sorted((fragments[u], fragments[v]))): affinity for u, v, affinity in graph.edges(data="affinity")
            }  # fmt: skip
        assert edges.keys() == wanted.keys() and len(edges) > (10 if name == "finished_run" else 0)
        if name != "odd_run":  # whose scores are quantiles
            np.testing.assert_allclose([edges[pair] for pair in wanted], list(wanted.values()), rtol=1e-6)


def test_compact_ids_of_the_layer_are_the_segments_of_the_file(
    finished_run: Path, tmp_path: Path, command: Command
) -> None:
    """The rule that a layer of fragments follows: the rank of the stored id."""
    exported(finished_run, tmp_path / "t.hdf5", command)
    ids = np.unique(tables(finished_run / "out.zarr", "fragments")["id"])
    np.testing.assert_array_equal(stored_ids(tmp_path / "t.hdf5", "fragments")[range(1, len(ids) + 1)], ids)


def test_the_file_is_the_same_if_little_is_sorted_at_once(
    finished_run: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(finished_run, tmp_path / "one.hdf5", command)
    monkeypatch.setattr(sorted_rows, "ROWS", 16)
    monkeypatch.setattr(sorted_rows, "STEP", 4)
    exported(finished_run, tmp_path / "two.hdf5", command)
    assert (tmp_path / "one.hdf5").read_bytes() == (tmp_path / "two.hdf5").read_bytes()


def test_other_data_stay(finished_run: Path, tmp_path: Path, refused: Refused) -> None:
    to = tmp_path / "threshold.hdf5"
    to.mkdir()
    assert "nothing lies yet" in refused("export", finished_run / "out.zarr", "webknossos", "--to", to)
    assert [path.name for path in tmp_path.iterdir()] == ["threshold.hdf5"]
