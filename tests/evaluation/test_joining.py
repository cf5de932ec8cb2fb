"""`fgnet inspect OUTPUT A B`: the path, the contact and the threshold are those of the arrays and of the whole tree."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from pipeline_tools import Command, Refused, read, run_on_cells
from planted_run import THRESHOLD, run_planted
from tree_tools import global_table, segmented, stored_tree

from fgnet_pipeline.commands.inspect_two import TITLES, lines_of_two
from fgnet_pipeline.commands.tables import table
from fgnet_pipeline.core.config import Config
from fgnet_pipeline.evaluation import region_edges
from fgnet_pipeline.evaluation.joining import Joining, joining
from fgnet_pipeline.evaluation.stored_tree import open_agglomerated
from fgnet_pipeline.stages.configuration import load_result

SHAPE, HIGH = (40, 50, 60), 0.8


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of a finished run of several leaves at a threshold that leaves many segments."""
    folder = run_on_cells(tmp_path_factory.mktemp("joining"), SHAPE, overrides=(f"agglomerate.threshold={HIGH}",))
    return folder / "out.zarr"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run on bars; bar C is split at x = 24 by affinities of 120."""
    return load_result(str(run_planted(tmp_path_factory.mktemp("planted"))))


def strongest_trees(out: Path) -> tuple[nx.Graph, dict[tuple[int, int], tuple[int, int]]]:
    """A spanning tree of the strongest edges of an output, by networkx; and (sum, count) of every edge."""
    edges = global_table(read(out, "affinities"), read(out, "fragments"))
    columns = (edges.u, edges.v, edges.sum, edges.count)
    found = {(int(u), int(v)): (int(s), int(n)) for u, v, s, n in zip(*columns, strict=True)}
    graph = nx.Graph()
    graph.add_weighted_edges_from((u, v, s / n) for (u, v), (s, n) in found.items())
    return nx.maximum_spanning_tree(graph), found


def test_every_pair_of_fragments(finished: Path) -> None:
    """Some fragments against each other: the weakest edge is that of networkx, the threshold that of the whole tree."""
    config, (spanning, edges) = load_result(str(finished)), strongest_trees(finished)
    fragments, tree = read(finished, "fragments"), stored_tree(finished)
    segmentation = segmented(fragments, tree, HIGH)
    segments = np.unique(segmentation[segmentation > 0])
    inner = np.setdiff1d(fragments, np.append(segments, 0))  # fragments that name no segment
    chosen = inner[np.linspace(0, len(inner) - 1, 4).round().astype(int)].tolist()
    unjoined = 0
    for i, one in enumerate(chosen):
        for other in chosen[i + 1 :]:
            found = joining(config, one, other)
            assert (found.one.kind, found.one.voxels) == ("fragment", (fragments == one).sum())
            check_join(found, fragments, tree)
            if found.is_joined:
                assert not found.path and found.merges[-1].score == pytest.approx(found.join.score)
                continue
            unjoined += 1
            path = nx.shortest_path(spanning, one, other)
            steps = [tuple(sorted(step)) for step in pairwise(path)]
            assert found.weakest.score == pytest.approx(min(edges[s][0] / edges[s][1] for s in steps) / 255)
            assert (found.path[0].a, found.path[-1].b) == (one, other)
            for edge, following in zip(found.path, found.path[1:], strict=False):
                assert edge.b == following.a
            for edge in found.path:
                total, count = edges[tuple(sorted((edge.a, edge.b)))]
                assert edge.count == count and edge.mean == edge.score == pytest.approx(total / count / 255)
                assert edge.segment_a == segmentation[fragments == edge.a][0]
            assert found.weakest.score == min(edge.score for edge in found.path)
            assert found.join.score <= found.weakest.score + 1e-12
    assert unjoined >= 3


def check_join(found: Joining, fragments: np.ndarray, tree: object) -> None:
    """The threshold joins the two, and one that is a little above the score does not."""
    assert found.join is not None and found.join.score - 1e-5 < found.join.threshold <= found.join.score
    for threshold, same in ((found.join.threshold, True), (found.join.score + 1e-5, False)):
        if threshold <= 1:
            segmentation = segmented(fragments, tree, threshold)  # type: ignore[arg-type]
            one, other = (segmentation[fragments == side.id][0] for side in (found.one, found.other))
            assert (one == other) == same


def test_segments_of_many_fragments(finished: Path) -> None:
    config, (spanning, edges) = load_result(str(finished)), strongest_trees(finished)
    fragments, segmentation = read(finished, "fragments"), read(finished, "segmentation")
    ids, sizes = np.unique(segmentation[segmentation > 0], return_counts=True)
    one, other = (int(i) for i in ids[np.argsort(-sizes)][:2])
    found = joining(config, one, other)
    assert (found.one.kind, found.one.voxels, found.one.segment) == ("segment", (segmentation == one).sum(), one)
    assert found.one.fragments == len(np.unique(fragments[segmentation == one])) > 1
    first, last = found.path[0], found.path[-1]
    assert segmentation[fragments == first.a][0] == one and segmentation[fragments == last.b][0] == other
    assert all(edge.segment_b != one for edge in found.path), "the path leaves the first segment once"
    members = [np.unique(fragments[segmentation == side]) for side in (one, other)]
    graph = spanning.copy()
    for own in members:
        graph.add_weighted_edges_from((int(own[0]), int(f), 1e9) for f in own[1:])
    free = nx.maximum_spanning_tree(
        nx.compose(nx.Graph([(*e, {"weight": s / n}) for e, (s, n) in edges.items()]), graph)
    )
    path = nx.shortest_path(free, int(members[0][0]), int(members[1][0]))
    weakest = min(free.edges[step]["weight"] for step in pairwise(path))
    assert found.weakest.score == pytest.approx(weakest / 255)
    check_join(found, fragments, stored_tree(finished))
    between = [e for e in edges.items() if {bool(np.isin(e[0][0], m)) for m in members} == {True, False}
               and np.isin(e[0], members[0]).any() and np.isin(e[0], members[1]).any()]  # fmt: skip
    if between:
        total, count = sum(e[1][0] for e in between), sum(e[1][1] for e in between)
        assert found.contact is not None and found.contact.count == count
        assert found.contact.score == pytest.approx(total / count / 255)
    else:
        assert found.contact is None


def test_a_fragment_and_its_own_segment(finished: Path) -> None:
    """The merges are those along the pointers; the last one has the score at which the two part."""
    config = load_result(str(finished))
    fragments, segmentation = read(finished, "fragments"), read(finished, "segmentation")
    ids, sizes = np.unique(segmentation[segmentation > 0], return_counts=True)
    segment = int(ids[sizes.argmax()])
    fragment = int(np.setdiff1d(fragments[segmentation == segment], [segment])[0])
    found = joining(config, fragment, segment)
    assert found.is_joined and found.one.segment == found.other.segment == segment and not found.path
    assert [m.score for m in found.merges] == sorted((m.score for m in found.merges), reverse=True)
    assert found.merges[-1].score == pytest.approx(found.join.score) and found.join.score >= HIGH
    assert {found.merges[-1].a, found.merges[-1].b} == {found.join.a, found.join.b}
    assert fragment in {m.a for m in found.merges}
    check_join(found, fragments, stored_tree(finished))


def test_the_planted_split(planted: Config) -> None:
    """Both halves of bar C touch with exactly 120 / 255, and this one contact decides."""
    halves = np.unique(read(planted.output.path, "segmentation")[30:, :10])
    one, other = (int(i) for i in halves)
    found = joining(planted, one, other)
    score = 120 / 255
    assert not found.is_joined and score < THRESHOLD
    assert (found.contact.count, found.contact.score) == (33 * 15, pytest.approx(score))
    assert np.allclose(found.contact.position, (31, 7, 23.5))
    assert len(found.path) == 1 and found.weakest.score == found.join.score == pytest.approx(score)
    lines = "\n".join(lines_of_two(found, 10))
    assert "both agree: the weakest edge of the path decides" in lines
    assert f"agglomerate.threshold={found.join.threshold:.6g}" in lines and found.join.threshold == 0.470588


def test_no_path(planted: Config) -> None:
    """With a smallest contact that nothing has, no two fragments are connected."""
    from fgnet_pipeline.execution.run import run
    from fgnet_pipeline.stages.configuration import validate

    tables = planted.model_dump(mode="json")
    tables["agglomerate"]["min_contact"] = 10**6
    tables["output"]["path"] += "-apart"
    config = validate(tables)
    run(config)
    found = joining(config, 1, 2)
    assert found.join is None and found.path == [] and found.contact is None
    assert "no threshold joins them" in "\n".join(lines_of_two(found, 10))


def test_too_many_edges(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The edges around the two are read alone, or none; the threshold stays the same."""
    config = load_result(str(finished))
    job = open_agglomerated(config)
    first = job.output.tables("edges", "edges").rows((0, 0, 0))
    table_ = job.output.tables("fragments", "fragments").read((0, 0, 0), ["id"])["id"]
    pairs = ((int(a), int(b)) for a in table_ for b in table_ if a < b)
    whole = next(found for a, b in pairs if not (found := joining(config, a, b)).is_joined)
    one, other = whole.one.id, whole.other.id
    monkeypatch.setattr(region_edges, "TABLES", 8)
    near = joining(config, one, other)
    assert near.searched == [[0, 0, 0], [40, 48, 48]] and near.join == whole.join
    assert near.path and near.weakest.score <= whole.weakest.score + 1e-12
    monkeypatch.setattr(region_edges, "ROWS", first - 1)
    none = joining(config, one, other)
    assert none.too_many and none.path == [] and none.join == whole.join
    assert "too many edges" in "\n".join(lines_of_two(none, 10))


def test_the_command(finished: Path, command: Command, refused: Refused) -> None:
    segmentation = read(finished, "segmentation")
    ids, sizes = np.unique(segmentation[segmentation > 0], return_counts=True)
    one, other = ids[np.argsort(-sizes)][:2]
    found = joining(load_result(str(finished)), int(one), int(other))
    code, out, _ = command("inspect", finished, one, other, "--json")
    document = json.loads(out)
    assert code == 0 and document["one"]["id"] == str(one) and document["is_joined"] is False
    assert [(e["a"], e["b"]) for e in document["path"]] == [(str(e.a), str(e.b)) for e in found.path]
    assert document["join"]["a"] == str(found.join.a) and document["join"]["threshold"] == found.join.threshold
    code, out, _ = command("inspect", finished, one, other)
    assert code == 0 and out.count("weakest\n") == 1 and f"threshold={found.join.threshold:.6g}" in out
    assert "OTHER" in refused("inspect", finished, one, one)
    assert "OTHER" in refused("inspect", finished, one, 10**6)
    assert "OTHER" in refused("inspect", finished, one, "x")
    assert "SEGMENT" in refused("inspect", finished, 2**63, one)
    assert "SEGMENT" in refused("inspect", finished)


def test_the_table_of_a_path_fits_a_terminal() -> None:
    row = ["9223372036854775807"] * 2 + ["0.1234", "12345", "1234,12345,12345", "weakest"]
    assert max(map(len, table(TITLES, [row], left=2, columns=80))) <= 80
