"""``fgnet inspect``: everything it says is checked against the arrays themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pipeline_tools import read, run_on_cells, write_config, write_volume

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.evaluation.inspect_segment import Fragment, Inspection, Neighbour, inspect_segment
from fgnet_pipeline.evaluation.segment_merges import Merge
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

SHAPE = (40, 50, 60)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of a finished run; tests make its segmentation again at other thresholds."""
    return run_on_cells(tmp_path_factory.mktemp("inspect"), SHAPE) / "config.toml"


def contacts(segmentation: npt.NDArray[Any], affinities: npt.NDArray[Any], one: int) -> dict[int, list[tuple]]:
    """Neighbour -> (affinity, position) of every face between it and segment ``one``, by plain loops over axes."""
    found: dict[int, list[tuple]] = {}
    for axis in range(3):
        upper = np.take(segmentation, range(1, segmentation.shape[axis]), axis)
        lower = np.take(segmentation, range(segmentation.shape[axis] - 1), axis)
        values = np.take(affinities[axis], range(1, segmentation.shape[axis]), axis)
        for at in np.argwhere((upper != lower) & ((upper == one) | (lower == one))):
            a, b = int(upper[tuple(at)]), int(lower[tuple(at)])
            position = at.astype(float)
            position[axis] += 0.5
            found.setdefault(b if a == one else a, []).append((int(values[tuple(at)]), position))
    return found


def check(found: Inspection, out: Path) -> None:
    """Compare with brute force over the arrays."""
    fragments, segmentation, affinities = (read(out, n) for n in ("fragments", "segmentation", "affinities"))
    inside = segmentation == found.segment
    assert found.voxels == inside.sum()
    where = np.argwhere(inside)
    assert (list(found.begin), list(found.end)) == (where.min(0).tolist(), (where.max(0) + 1).tolist())
    ids, sizes = np.unique(fragments[inside], return_counts=True)
    assert {f.id: f.voxels for f in found.fragments} == dict(zip(ids.tolist(), sizes.tolist(), strict=True))
    assert all(fragments[f.point] == f.id for f in found.fragments)
    expected = contacts(segmentation, affinities, found.segment)
    assert {n.segment for n in found.neighbours} == expected.keys() - {0}
    for neighbour in found.neighbours:
        values = [value for value, _ in expected[neighbour.segment]]
        assert neighbour.count == len(values)
        assert neighbour.mean == pytest.approx(sum(values) / 255 / len(values), rel=1e-12)
        assert np.allclose(neighbour.position, np.mean([p for _, p in expected[neighbour.segment]], axis=0))
        assert neighbour.mean < found.threshold, "or they would be one segment"


def check_merges(found: Inspection) -> None:
    assert found.merges == len(found.fragments) - 1
    for merges in (found.strongest, found.weakest[::-1]):
        assert [m.mean for m in merges] == sorted((m.mean for m in merges), reverse=True)
        assert all(m.mean >= found.threshold for m in merges)
    for merge in found.weakest[:1]:
        assert merge.voxels_a + merge.voxels_b == found.voxels, "the last merge makes the whole"
    for merge in found.strongest + found.weakest:
        assert merge.position is not None
        assert all(b - 1 <= p <= e for b, p, e in zip(found.begin, merge.position, found.end, strict=True))


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_all_large_segments(finished: Path, threshold: float) -> None:
    config = load_config(finished, [f"agglomerate.threshold={threshold}"])
    run(config)
    out = Path(config.output.path)
    ids, sizes = np.unique(read(out, "segmentation"), return_counts=True)
    largest = [int(s) for s in ids[np.argsort(-sizes)][:4]]
    for segment in largest:
        found = inspect_segment(config, segment, limit=10**6)
        check(found, out)
        check_merges(found)
        assert found.strongest == found.weakest[::-1]
        assert found.merges > 0 or threshold > 0.5
        assert {f.id for f in found.fragments} == {found.segment} | {m.a for m in found.strongest}


def test_contact_of_a_merge(finished: Path, tmp_path: Path) -> None:
    """The first merge joins two single fragments: their faces can be counted in the array."""
    config = load_config(finished)
    run(config)
    out = Path(config.output.path)
    ids, sizes = np.unique(read(out, "segmentation"), return_counts=True)
    merge = inspect_segment(config, int(ids[sizes.argmax()])).strongest[0]
    faces = contacts(read(out, "fragments"), read(out, "affinities"), merge.a)[merge.b]
    assert (merge.count, merge.mean) == (len(faces), pytest.approx(sum(v for v, _ in faces) / 255 / len(faces)))
    assert np.allclose(merge.position, np.mean([p for _, p in faces], axis=0))
    assert merge.voxels_a == (read(out, "fragments") == merge.a).sum()


def test_fragments_of_a_lab(finished: Path, tmp_path: Path) -> None:
    """Ids without block and fragments that run through many blocks give the same answer."""
    out = Path(load_config(finished).output.path)
    number = np.unique(read(out, "fragments"), return_inverse=True)[1]
    fragments = (number.reshape(SHAPE) + 5).astype(np.uint64)
    config = load_config(
        write_config(
            tmp_path / "c.toml",
            affinities={"path": str(out / "affinities")},
            volume={"voxel_size": [10, 10, 10]},
            fragments={"path": write_volume(tmp_path / "f.zarr", fragments)},
            output={"path": str(tmp_path / "out.zarr")},
            schedule={"workers": 0, "block_shape": [17, 33, 29]},
        )
    )
    run(config)
    segmentation = read(tmp_path / "out.zarr", "segmentation")
    segment = int(np.bincount(segmentation.ravel()).argmax())
    found = inspect_segment(config, segment)
    check_merges(found)
    assert found.voxels == (segmentation == segment).sum()
    held, sizes = np.unique(fragments[segmentation == segment], return_counts=True)
    assert {f.id: f.voxels for f in found.fragments} == dict(zip(held.tolist(), sizes.tolist(), strict=True))
    expected = contacts(segmentation, read(out, "affinities"), segment)
    assert {n.segment: n.count for n in found.neighbours} == {k: len(v) for k, v in expected.items()}


def test_unknown_segments(finished: Path) -> None:
    config = load_config(finished)
    run(config)
    out = Path(config.output.path)
    ids = np.unique(read(out, "segmentation"))
    inner = np.setdiff1d(read(out, "fragments"), ids)[0]
    segment = int(read(out, "segmentation")[read(out, "fragments") == inner][0])
    for unknown in (0, -3, 2**63, 2**70, 7, int(ids.max()) + 1):
        with pytest.raises(InputError, match="SEGMENT"):
            inspect_segment(config, unknown)
    with pytest.raises(InputError, match=f"part of {segment}"):
        inspect_segment(config, int(inner))


def test_command(finished: Path, command) -> None:
    config = load_config(finished)
    run(config)
    segmentation = read(Path(config.output.path), "segmentation")
    segment = int(segmentation[20, 25, 30])
    code, out, _ = command("inspect", finished, segment, "--json", "--limit", 2)
    document = json.loads(out)
    assert code == 0 and document["voxels"] == (segmentation == segment).sum()
    assert len(document["strongest"]) == min(2, document["merges"])
    found = inspect_segment(config, segment, 2)
    assert document["segment"] == str(segment)
    assert [f["id"] for f in document["fragments"]] == [str(f.id) for f in found.fragments]
    assert [n["segment"] for n in document["neighbours"]] == [str(n.segment) for n in found.neighbours]
    for name in ("strongest", "weakest"):
        assert [(m["a"], m["b"]) for m in document[name]] == [(str(m.a), str(m.b)) for m in getattr(found, name)]
    code, out, _ = command("inspect", finished, segment)
    assert code == 0 and f"segment {segment}" in out and "neighbours" in out
    for wrong in ("12345", "x", "-1"):
        code, out, text = command("inspect", finished, "--", wrong)
        assert code == 2 and "SEGMENT" in text and not out


def test_ids_in_json_are_strings() -> None:
    one, other = (5 << 51) + 1, (6 << 51) + 1  # JavaScript would read 5 << 51 and 6 << 51
    merge = Merge(one, other, 0.75, 0.75, 12, 100, 50, (1.0, 2.0, 3.0))
    neighbour = Neighbour(one + 2, 0.25, 0.25, 3, 1, (4.0, 5.0, 6.0))
    fragment, corner = Fragment(one, 100, (0, 1, 2)), (0, 0, 0)
    found = Inspection(other, 0.5, "mean", 150, corner, (9, 9, 9), [fragment], 1, [merge], [merge], [neighbour])
    document = json.loads(json.dumps(found.to_dict()))
    assert document["segment"] == "13510798882111489"
    assert document["fragments"] == [{"id": str(one), "voxels": 100, "point": [0, 1, 2]}]
    assert document["neighbours"][0]["segment"] == str(one + 2) and document["neighbours"][0]["count"] == 3
    for name in ("strongest", "weakest"):
        assert (document[name][0]["a"], document[name][0]["b"]) == (str(one), str(other))
        assert (document[name][0]["voxels_a"], document[name][0]["score"]) == (100, 0.75)
