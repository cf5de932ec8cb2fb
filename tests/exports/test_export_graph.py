"""The graph in an SQLite file, read by funlib.persistence and by sqlite3 alone."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from funlib.geometry import Roi
from funlib.persistence.graphs import SQLiteGraphDataBase
from pipeline_tools import Command, Refused, read
from rag_oracle import AXES, rag_of, tables

PLACES = {
    "finished_run": ((10, 10, 10), (0, 0, 0)),
    "odd_run": ((4.5, 9.6, 10), (-7.25, 3.5, 100)),
    "lab_run": ((10, 10, 10), (0, 0, 0)),
}


def exported(run: Path, to: Path, command: Command, *more: object) -> None:
    code, _, told = command("export", run / "config.toml", "graph", "--to", to, "--workers", 0, *more)
    assert code == 0, told


def graph_of(to: Path, roi: Roi | None = None) -> nx.Graph:
    graph = SQLiteGraphDataBase(to, "position", "r")
    try:
        return graph.read_graph(roi)
    finally:
        graph.close()


def expected_positions(run: Path, name: str) -> dict[int, tuple[float, ...]]:
    """Position in nm of the first point listed for each fragment."""
    size, offset = PLACES[name]
    rows = tables(run / "out.zarr", "fragments").drop_duplicates("id")
    points = (np.stack(rows["point"].to_list()) + 0.5) * size + offset
    return dict(zip(rows["id"].tolist(), map(tuple, points.tolist()), strict=True))


@pytest.mark.parametrize("name", PLACES)
def test_funlib_reads_every_fragment_and_edge(
    name: str, tmp_path: Path, command: Command, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    exported(run, tmp_path / "graph.db", command)
    graph, rag = graph_of(tmp_path / "graph.db"), rag_of(run / "out.zarr")
    assert set(graph.nodes) == set(rag.nodes.index)
    assert all(type(node) is int for node in graph.nodes)
    positions = expected_positions(run, name)
    voxels, segments = rag.nodes["voxels"].to_dict(), rag.nodes["segment"].to_dict()
    for node, data in graph.nodes(data=True):
        assert (data["voxels"], data["segment"]) == (voxels[node], segments[node])
        assert data["position"] == pytest.approx(positions[node])
    edges = rag.edges.set_index(["u", "v"])
    keys = list(edges.index)
    assert {tuple(sorted(edge)) for edge in graph.edges} == set(keys)
    found = {name: [graph.edges[edge][name] for edge in keys] for name in ("sum", "count", "affinity", "merged")}
    np.testing.assert_array_equal(found["sum"], edges["sum"])
    np.testing.assert_array_equal(found["count"], edges["count"])
    np.testing.assert_allclose(found["affinity"], edges["sum"] / edges["count"] / 255, rtol=1e-14)
    np.testing.assert_array_equal(found["merged"], edges["segment_u"] == edges["segment_v"])
    size, offset = PLACES[name]
    for i, axis in enumerate(AXES):
        wanted = (edges[f"position_{axis}"] / edges["count"] + 0.5) * size[i] + offset[i]
        np.testing.assert_allclose([graph.edges[edge][f"contact_{axis}"] for edge in keys], wanted)


@pytest.mark.parametrize("name", ["finished_run", "odd_run"])
def test_positions_lie_in_their_fragments_and_regions_select_them(
    name: str, tmp_path: Path, command: Command, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    exported(run, tmp_path / "graph.db", command)
    fragments, graph = read(run / "out.zarr", "fragments"), graph_of(tmp_path / "graph.db")
    size, offset = PLACES[name]
    for node, data in graph.nodes(data=True):
        voxel = np.floor((np.asarray(data["position"]) - offset) / size).astype(int)
        assert fragments[tuple(voxel)] == node
    roi = Roi((20, 90, 130), (197, 203, 301))
    inside = {n for n, data in graph.nodes(data=True) if all(
        b <= p < e for b, p, e in zip(roi.begin, data["position"], roi.end, strict=True)
    )}  # fmt: skip
    assert 3 < len(inside) < len(graph)
    part = graph_of(tmp_path / "graph.db", roi)
    assert {n for n, data in part.nodes(data=True) if data} == inside
    assert {tuple(sorted(e)) for e in part.edges} == {tuple(sorted(e)) for e in graph.edges if min(e) in inside}


def test_compact_ids_keep_the_stored_ones_as_attributes(finished_run: Path, tmp_path: Path, command: Command) -> None:
    exported(finished_run, tmp_path / "graph.db", command, "--compact-ids")
    graph, nodes = graph_of(tmp_path / "graph.db"), rag_of(finished_run / "out.zarr").nodes
    ids, segments = np.sort(nodes.index.to_numpy()), np.unique(nodes["segment"])
    assert sorted(graph.nodes) == list(range(1, len(ids) + 1))
    for node, data in graph.nodes(data=True):
        assert data["stored_id"] == ids[node - 1]
        assert data["stored_segment"] == segments[data["segment"] - 1] == nodes["segment"][data["stored_id"]]


def test_ids_are_integers_for_sqlite_and_the_file_says_what_it_is(
    lab_run: Path, tmp_path: Path, command: Command
) -> None:
    exported(lab_run, tmp_path / "graph.db", command)
    connection = sqlite3.connect(tmp_path / "graph.db")
    types = connection.execute("SELECT DISTINCT typeof(id), typeof(segment), typeof(position_0) FROM nodes").fetchall()
    (largest,) = connection.execute("SELECT MAX(id) FROM nodes").fetchone()
    (text,) = connection.execute("SELECT document FROM fgnet_export").fetchone()
    connection.close()
    assert types == [("integer", "integer", "real")] and largest == (1 << 63) - 1
    assert json.loads(text)["threshold"] == 0.3


def test_other_data_stay(finished_run: Path, tmp_path: Path, refused: Refused) -> None:
    meta = tmp_path / "graph-meta.json"
    meta.write_text("mine")
    output = finished_run / "out.zarr"
    assert str(meta) in refused("export", output, "graph", "--to", tmp_path / "graph.db")
    database = tmp_path / "mine.db"
    sqlite3.connect(database).execute("CREATE TABLE notes(text)").connection.close()
    before = database.read_bytes()
    assert "nothing lies yet" in refused("export", output, "graph", "--to", database)
    assert (meta.read_text(), database.read_bytes()) == ("mine", before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph-meta.json", "mine.db"]


@pytest.mark.parametrize(
    "url, words",
    [
        ("postgresql://me:secret@localhost/lab", "PGPASSFILE"),
        ("postgresql://me@localhost/lab?password=secret", "PGPASSFILE"),
        ("mysql://me@localhost/lab", "postgresql://"),
        ("postgresql://me@localhost", "names a database"),
        ("postgresql://me@localhost/lab?colour=red", "colour"),
        ("postgresql://me@localhost:99999/lab", "port"),
    ],
)
def test_urls_that_do_not_fit_are_refused(
    url: str, words: str, finished_run: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("graph",) if "secret" not in url else ("graph", "edges"):
        sentence = refused("export", finished_run / "out.zarr", name, "--to", url)
        assert words in sentence and "secret" not in sentence
    assert not list(tmp_path.iterdir())
