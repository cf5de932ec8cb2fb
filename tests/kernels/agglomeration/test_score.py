"""A score from another distribution against brute force, the scores' checks, and what a second process compiles."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from installed import install

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.kernels.agglomeration.agglomerate import agglomerate
from fgnet_pipeline.kernels.agglomeration.scores.score import GROUP, Score, scores

#: The largest affinity of a contact; that of two contacts together is the larger one, so the score is reducible.
TOY = """
    from fgnet_pipeline.kernels.agglomeration.scores.score import Score

    def largest(bins, count, p, q):
        value = 255
        while bins[value] == 0:
            value -= 1
        return value

    SCORE = Score("largest", largest)
"""
Graph = dict[tuple[int, int], tuple[int, ...]]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Score]:
    """The score `largest`, found as an entry point of an installed distribution."""
    install(tmp_path, monkeypatch, GROUP, {"largest": "toy_score:SCORE"}, {"toy_score": TOY})
    scores.cache_clear()
    yield scores()["largest"]
    scores.cache_clear()


def oracle(graph: Graph) -> list[tuple[int, ...]]:
    """Rows of the merge tree by the largest affinity: one merge at a time."""
    graph, rows = dict(graph), []
    while graph:
        a, b = min(graph, key=lambda edge: (-max(graph[edge]), edge))
        rows.append((a, b, b, max(graph[a, b]) * len(graph[a, b]), len(graph[a, b])))
        joined: Graph = {}
        for (u, v), values in graph.items():
            u, v = sorted((b if u == a else u, b if v == a else v))
            if u != v:
                joined[u, v] = joined.get((u, v), ()) + values
        graph = joined
    return rows


def test_installed_score_equals_brute_force(toy: Score) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        nodes = int(rng.integers(2, 14))
        graph: Graph = {}
        for _ in range(int(rng.integers(1, 4 * nodes))):
            u, v = sorted(rng.choice(nodes, 2, replace=False).tolist())
            graph[u + 1, v + 1] = tuple(rng.integers(0, 6, int(rng.integers(1, 5))).tolist())
        ends = np.array(list(graph), np.uint64)
        bins = np.array([np.bincount(values, minlength=256) for values in graph.values()], np.uint32)
        count = bins.sum(1, dtype=np.uint64)
        total = (bins * np.arange(256)).sum(1).astype(np.uint64)
        merges = agglomerate(ends[:, 0], ends[:, 1], total, count, histogram=bins, score=toy).merges
        assert list(zip(*(column.tolist() for column in merges), strict=True)) == oracle(graph)


def test_installed_score_describes_itself(toy: Score) -> None:
    assert toy.needs_histogram and toy.part(None) is None
    assert toy.text(None) == "largest affinity" and toy.fingerprint(None) == {"score": "largest"}
    bins = np.bincount([3, 51, 51], minlength=256)
    assert toy.edge_value(105, 3, bins, None) == 51 / 255
    with pytest.raises(InputError, match=r"agglomerate\.quantile = 0\.5"):
        toy.check(0.5, None)
    with pytest.raises(InputError, match=r'true, since agglomerate.score = "largest"'):
        toy.check(None, False)
    with pytest.raises(ValueError, match="needs histograms"):
        agglomerate(*(np.ones(1, np.uint64) * np.uint64(k) for k in (1, 2, 3, 4)), score=toy)


def test_own_scores() -> None:
    mean, quantile = scores()["mean"], scores()["quantile"]
    assert mean.part(None) is None and mean.text(None) == "mean affinity" and mean.fingerprint(None) == {}
    assert quantile.part(None) == (17, 20) and quantile.part(0.5) == (1, 2)
    assert quantile.text((17, 20)) == "0.85 quantile of affinities"
    assert quantile.fingerprint((1, 2)) == {"quantile": [1, 2]}
    assert mean.edge_value(51, 2, None, None) == 0.1
    assert quantile.edge_value(0, 3, np.bincount([0, 51, 102], minlength=256), (1, 2)) == 0.2
    mean.check(None, False)
    quantile.check(0.1234, True)


@pytest.mark.parametrize(
    "name, quantile, histogram, message",
    [
        ("mean", 0.85, None, 'agglomerate.quantile = 0.85: expected no value, since agglomerate.score is the mean; '
         'leave it out, or set agglomerate.score = "quantile"'),
        ("quantile", 0.12345, None, "agglomerate.quantile = 0.12345: expected at most 4 decimals; round it"),
        ("quantile", None, False, 'edges.histogram = False: expected true, since agglomerate.score = "quantile" is '
         "taken of histograms; leave it out, or score by the mean"),
    ],
)  # fmt: skip
def test_refusals(name: str, quantile: float | None, histogram: bool | None, message: str) -> None:
    with pytest.raises(InputError) as refused:
        scores()[name].check(quantile, histogram)
    assert str(refused.value) == message


COUNT_COMPILATIONS = """
import numpy as np
from fgnet_pipeline.kernels.agglomeration import agglomerate as module, heap_merging, histograms
from fgnet_pipeline.kernels.agglomeration.scores.score import scores
one = np.ones(1, np.uint64)
bins = np.zeros((1, 256), np.uint32)
bins[0, 7] = 4
quantile = scores()["quantile"]
module.agglomerate(one, 2 * one, 28 * one, 4 * one, widest=0)
module.agglomerate(one, 2 * one, 28 * one, 4 * one, histogram=bins, score=quantile, part=(1, 2))
compiled = [heap_merging.merge_by_heap.compiled, histograms.values_of.compiled]
print(sum(sum(function.stats.cache_misses.values()) for function in compiled) + 1 - quantile.compiled.cache_hits)
print(len(compiled[0].signatures))
"""


def test_second_process_compiles_nothing() -> None:
    runs = [
        subprocess.run([sys.executable, "-c", COUNT_COMPILATIONS], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    # One compilation of the heap serves every score, the mean included.
    assert runs[1].split() == ["0", "1"]
