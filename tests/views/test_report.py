"""The report lists planted faults, exactly those, at their positions; and it says what is missing."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import read, state_of
from planted_run import BLOCK, OFFSET, THRESHOLD, VOXEL_SIZE, run_planted

from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.views.report.doubt import MERGE, NO_MERGE, doubtful
from fgnet_pipeline.views.report.open_result import open_result
from fgnet_pipeline.views.report.percolation import percolation_of, warnings_of
from fgnet_pipeline.views.report.result import Result
from fgnet_pipeline.views.report.sample import Budget, read_sample
from fgnet_pipeline.views.report.seams import find_seams
from fgnet_pipeline.views.report.segments import sizes_of


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of the planted run."""
    return run_planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def result(planted: Path) -> Result:
    return open_result(load_config(planted))


def middle_of(first: tuple[int, ...], last: tuple[int, ...]) -> tuple[float, ...]:
    return tuple((a + b) / 2 for a, b in zip(first, last, strict=True))


def test_doubt_is_the_planted_merger_and_the_planted_split(result: Result) -> None:
    sample = read_sample(result)
    assert sample is not None and sample.is_whole
    merge, no_merge = sorted(doubtful(result, sample), key=lambda d: d.kind)
    assert (merge.kind, no_merge.kind) == (MERGE, NO_MERGE)
    assert merge.score == pytest.approx(135 / 255) and merge.faces == 15 * 48
    assert merge.position == pytest.approx(middle_of((0, 14, 0), (14, 15, 47)))
    assert sorted(merge.voxels) == [15 * 15 * 48, 15 * 33 * 48]
    assert merge.doubt == pytest.approx(15 * 15 * 48 * (1 - (135 / 255 - THRESHOLD) / 0.1))
    assert no_merge.score == pytest.approx(120 / 255) and no_merge.faces == 33 * 15
    assert no_merge.position == pytest.approx(middle_of((15, 0, 23), (47, 14, 24)))
    assert no_merge.voxels == (33 * 15 * 24,) * 2
    segmentation = read(Path(result.output.path), "segmentation")
    assert {no_merge.a, no_merge.b} == {int(segmentation[20, 5, 5]), int(segmentation[20, 5, 40])}


def test_seams_are_the_planted_ones(result: Result) -> None:
    seams = find_seams(result)
    found = {kind: [p for p in seams.places if p.kind == kind] for kind in ("jump", "split", "merge")}
    halves = {((15 + 23) / 2, 7.0, 23.5), ((24 + 47) / 2, 7.0, 23.5)}
    assert {p.position for p in found["split"]} == halves
    assert sorted(p.voxels for p in found["split"]) == [9 * 15, 24 * 15]
    assert [(p.position, p.voxels, p.value) for p in found["merge"]] == [((19.0, 23.5, 11.5), 9 * 24, 1.0)]
    jumps = {tuple(np.round(p.position, 6).tolist()) for p in found["jump"]}
    assert len(found["jump"]) == 4 and halves | {(19.0, 23.5, 11.5)} < jumps
    (seam,) = [p for p in found["jump"] if p.axis == 0]
    assert seam.position[0] == 23.5 and min(seam.position[1:]) > 32 and seam.value > 5 * seam.interior
    by_axis = {r.axis: r for r in seams.rates}
    assert [by_axis[axis].faces for axis in range(3)] == [4, 4, 4]
    assert by_axis[2].split.face.value == pytest.approx(33 * 15 / 48**2) and by_axis[2].split.inside.value == 0
    assert by_axis[0].split.face.value == by_axis[0].split.inside.value == 0
    assert [r.split.inside.planes for r in seams.rates] == [8, 8, 8]  # the middles of 2 x 2 x 2 blocks
    assert [compared.verdict() for r in seams.rates for _, compared in r.rates()] == [
        "no difference", "too few planes", "no difference", "too few planes", "no difference", "too few planes",
    ]  # fmt: skip


def test_sizes_and_points_are_those_of_the_array(result: Result) -> None:
    sample = read_sample(result)
    assert sample is not None
    sizes, segmentation = sizes_of(sample), read(Path(result.output.path), "segmentation")
    ids, counts = np.unique(segmentation, return_counts=True)
    assert dict(zip(sizes.ids.tolist(), sizes.voxels.tolist(), strict=True)) == dict(zip(ids, counts, strict=True))
    assert sizes.voxels.tolist() == sorted(counts.tolist(), reverse=True)
    assert all(segmentation[tuple(p)] == i for i, p in zip(sizes.ids, sizes.points, strict=True))
    assert sizes.fragments.sum() == len(np.unique(sample.ids))


def test_percolation_follows_the_largest_segment(result: Result) -> None:
    sample = read_sample(result)
    assert sample is not None
    found = percolation_of(sample, result.tasks["fragments"].grid, result.roi)
    total, of_d, of_ab = 48**3, 33 * 33 * 48, 15 * 48 * 48
    at = dict(zip(found.thresholds.round(2).tolist(), found.shares.tolist(), strict=True))
    assert at[0.5] == found.at_threshold == pytest.approx(of_d / total)
    assert at[0.09] == 1 and at[0.1] == pytest.approx(of_d / total)
    assert found.taken_at == pytest.approx(25 / 255)
    assert [box.size for box, _, _ in found.boxes] == [24**3, 48**3]
    assert found.boxes[0][1] == pytest.approx(15 * 24 / 24**2)  # of A and B, which are one segment
    assert found.boxes[0][1] > of_ab / total
    assert warnings_of(found, THRESHOLD) == []
    assert "takes over near" in warnings_of(found, 0.15)[0]


def test_a_budget_reads_a_part(planted: Path, result: Result) -> None:
    sample = read_sample(result, Budget(blocks=7))
    assert sample is not None and not sample.is_whole and sample.blocks.size == 1
    assert sample.voxels.sum() == BLOCK**3 and "too large" in sample.sentence()
    few = read_sample(result, Budget(fragments=10))
    assert few is not None and few.blocks.size == 1


def test_the_page_and_the_queue(planted: Path, command, tmp_path: Path) -> None:
    labels = planted.parent / "labels.zarr"
    code, out, _ = command("report", planted, "--to", tmp_path / "a", "--labels", labels)
    page = tmp_path / "a" / "report.html"
    assert (code, out) == (0, f"{page}\n")
    text = page.read_text()
    assert not re.search(r'(?:src|href)="(?!data:|#|doubt\.csv")', text) and "<script" not in text
    assert text.count("<img ") == text.count('<img alt="') == 3 * 3 * 3  # raw is not there
    rows = list(csv.DictReader((tmp_path / "a" / "doubt.csv").open()))
    assert [row["kind"] for row in rows] == ["no merge", "merge"]
    for row in rows:
        voxel = [float(row[a]) for a in "zyx"]
        nm = [o + (v + 0.5) * s for o, v, s in zip(OFFSET, voxel, VOXEL_SIZE, strict=True)]
        assert [float(row[f"{a}_nm"]) for a in "zyx"] == pytest.approx(nm)
    scores = plain(text, "scores")
    segmentation = read(planted.parent / "out.zarr", "segmentation")
    merged, first, second = segmentation[0, 0, 0], segmentation[20, 0, 0], segmentation[20, 0, 40]
    assert f"{merged}|2|1|10 800|" in scores and scores.count("|1|10 800|") == 1
    assert f"3|{min(first, second)}|{max(first, second)}|11 880|" in scores
    assert len(re.findall(r"\d, \d+, \d+\|", scores)) == 4  # a merger and a split, each in voxels and nm
    # The middle voxels of the contacts: of 15 x 48 faces at y = 15, and of 33 x 15 faces at x = 24.
    at_merger = f"10 800|{bits_of(10_800, 23_760):.4f}|720|7, 14, 23|{nm_of(7, 14, 23)}|"
    at_split = f"11 880|{bits_of(11_880, 11_880):.4f}|495|31, 7, {24 if first < second else 23}|"
    assert at_merger in scores and at_split in scores


def bits_of(a: int, b: int) -> float:
    """What it costs, in VOI over the whole volume, that two parts are not one or not two."""
    return float(a * np.log2((a + b) / a) + b * np.log2((a + b) / b)) / 48**3


def nm_of(*voxel: int) -> str:
    return ", ".join(f"{o + (v + 0.5) * s:.10g}" for o, v, s in zip(OFFSET, voxel, VOXEL_SIZE, strict=True))


def plain(page: str, section: str) -> str:
    """The text of a section; a bar stands behind every cell."""
    start = page.index(f'<section id="{section}"')
    text = page[start : page.index("</section>", start)]
    return re.sub(r"<[^>]+>", "", re.sub(r"</t[dh]>", "|", text)).replace("\u202f", " ")


def test_another_threshold_needs_no_other_run(planted: Path, command, tmp_path: Path) -> None:
    code, out, _ = command("report", planted, "--set", "agglomerate.threshold=0.05", "--to", tmp_path, "--json")
    document = json.loads(out)
    assert code == 0 and Path(document["report"]) == tmp_path / "report.html"
    assert any("has taken over" in sentence for sentence in document["warnings"])
    assert any("relabel: 0 of 8 blocks done, 8 made with other" in sentence for sentence in document["warnings"])


def test_an_unfinished_run(copied_run: tuple[Path, Path], command) -> None:
    _, out = copied_run
    for task in ("relabel", "lut-0", "lut-1", "agglomerate-1"):
        shutil.rmtree(state_of(out) / "progress" / task)
    code, printed, _ = command("report", out)
    page = Path(printed.strip())
    assert code == 0 and page.parent == state_of(out) and page.name == "report.html"
    text = page.read_text()
    assert "agglomerate-1: 0 of 1 blocks done" in plain(text, "doubt")
    assert "relabel: 0 of 18 blocks done" in plain(text, "seams")
    assert "not there: segmentation" in plain(text, "pictures") and "<img" in text
    assert not (page.parent / "doubt.csv").exists()
    assert command("verify", out)[0] in (0, 1)


def test_a_damaged_run(copied_run: tuple[Path, Path], command, tmp_path: Path) -> None:
    _, out = copied_run
    victim = next((state_of(out) / "tables" / "merges-0").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-20])
    shard = next(path for path in (out / "affinities" / "c").rglob("*") if path.is_file())
    shard.write_bytes(shard.read_bytes()[:40])
    code, _, told = command("report", out, "--to", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert code == 0 and "Traceback" not in text + told
    assert "merges-0" in told and "affinities: voxels" in told
    assert "damaged table" in plain(text, "percolation") and "Stages" in text


def test_inputs_that_are_gone(copied_run: tuple[Path, Path], finished_run: Path, command, tmp_path: Path) -> None:
    _, out = copied_run
    code, _, told = command("report", out, "--set", f"volume.path={tmp_path / 'nothing'}", "--to", tmp_path / "r.html")
    assert code == 0 and "volume.path" in told
    whole = command("report", finished_run / "out.zarr", "--to", tmp_path / "whole.html")
    assert whole[0] == 0
    one, other = (plain((tmp_path / name).read_text(), "segments") for name in ("r.html", "whole.html"))
    assert one == other


@pytest.mark.parametrize("name", [".", "report.html", "affinities", "fgnet", "new/folder"])
def test_no_report_is_written_among_the_arrays(name: str, finished_run: Path, refused) -> None:
    output = finished_run / "out.zarr"
    before = sorted(output.rglob("*"))
    assert "holds only arrays" in refused("report", output, "--to", output / name)
    assert sorted(output.rglob("*")) == before


def test_bad_input_writes_nothing(planted: Path, refused, small_raw: str, tmp_path: Path) -> None:
    other = tmp_path / "notes.html"
    other.write_text("my notes")
    assert "--to" in refused("report", planted, "--to", other)
    assert other.read_text() == "my notes" and list(tmp_path.iterdir()) == [other]
    assert "--labels" in refused("report", planted, "--labels", tmp_path / "none", "--to", tmp_path / "new")
    assert "--labels" in refused("report", planted, "--labels", small_raw, "--to", tmp_path / "new")
    assert "has begun" in refused("report", planted, "--set", f"output.path={tmp_path / 'empty'}")
    assert "stale" in refused("report", planted, "--set", "agglomerate.min_contact=3", "--to", tmp_path / "new")
    assert list(tmp_path.iterdir()) == [other]
