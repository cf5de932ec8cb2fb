"""`fgnet segments`: every row is compared with the segmentation itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pipeline_tools import Command, read, run_on_cells, write_config, write_volume

from fgnet_pipeline.commands.segments import TITLES
from fgnet_pipeline.commands.tables import table
from fgnet_pipeline.evaluation.segments import CSV_COLUMNS, Segments, list_segments
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config, load_result

SHAPE = (40, 50, 60)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of several leaves, at a threshold that leaves segments of one and of many fragments."""
    folder = tmp_path_factory.mktemp("segments")
    return run_on_cells(folder, SHAPE, overrides=("agglomerate.threshold=0.8",))


def check(found: Segments, fragments: npt.NDArray[Any], segmentation: npt.NDArray[Any]) -> None:
    """Compare with brute force over the arrays."""
    ids, sizes = np.unique(segmentation[segmentation > 0], return_counts=True)
    assert found.count == len(ids) and found.voxels == sizes.sum()
    rows = list(found.listed())
    assert [row["segment"] for row in rows] == ids[np.lexsort((ids, -sizes))].tolist()
    for row in rows:
        inside = segmentation == row["segment"]
        places = np.argwhere(inside)
        assert row["voxels"] == len(places)
        assert (row["begin"], row["end"]) == (places.min(0).tolist(), (places.max(0) + 1).tolist())
        assert row["fragments"] == len(np.unique(fragments[inside]))
        assert segmentation[tuple(row["point"])] == row["segment"]


def test_every_segment(finished: Path) -> None:
    found = list_segments(load_result(str(finished / "out.zarr")))
    fragments, segmentation = (read(finished / "out.zarr", name) for name in ("fragments", "segmentation"))
    check(found, fragments, segmentation)
    assert found.threshold == 0.8 and found.voxel_size == (10, 10, 10)
    assert max(row["fragments"] for row in found.listed()) > 2
    assert found.cubic_micrometres(10**6) == pytest.approx(1)


def test_the_sums_of_many_parts_are_those_of_one(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_result(str(finished / "out.zarr"))
    whole = list(list_segments(config).listed())
    monkeypatch.setattr("fgnet_pipeline.evaluation.segments.PENDING", 1)
    assert list(list_segments(config).listed()) == whole


def test_fragments_of_a_lab(finished: Path, tmp_path: Path) -> None:
    """Fragments that run through several blocks count once, and only inside the mask."""
    number = np.unique(read(finished / "out.zarr", "fragments"), return_inverse=True)[1]
    fragments = (number.reshape(SHAPE) + 5).astype(np.uint64)
    tissue = np.ones(SHAPE, np.uint8)
    tissue[:, :25, :20] = 0
    config = load_config(
        write_config(
            tmp_path / "c.toml",
            affinities={"path": str(finished / "out.zarr" / "affinities")},
            volume={"voxel_size": [10, 10, 10], "mask": write_volume(tmp_path / "m.zarr", tissue)},
            fragments={"path": write_volume(tmp_path / "f.zarr", fragments)},
            output={"path": str(tmp_path / "out.zarr")},
            agglomerate={"threshold": 0.8},
            schedule={"workers": 0, "block_shape": [17, 33, 29]},
        )
    )
    run(config)
    segmentation = read(tmp_path / "out.zarr", "segmentation")
    assert (segmentation[:, :25, :20] == 0).all()
    check(list_segments(config), fragments, segmentation)


def test_the_command(finished: Path, tmp_path: Path, command: Command) -> None:
    out = finished / "out.zarr"
    segmentation = read(out, "segmentation")
    ids, sizes = np.unique(segmentation[segmentation > 0], return_counts=True)
    largest = ids[np.lexsort((ids, -sizes))]
    file = tmp_path / "list.csv"
    code, text, _ = command("segments", out, "--json", "--limit", 3, "--csv", file, "--min-voxels", 200)
    document = json.loads(text)
    assert code == 0 and document["segments"] == len(ids) and document["voxels"] == sizes.sum()
    assert document["chosen"] == (sizes >= 200).sum() > 3
    assert [row["segment"] for row in document["listed"]] == [str(i) for i in largest[:3]]
    rows = list(csv.DictReader(file.open()))
    assert len(rows) == 3 and tuple(rows[0]) == CSV_COLUMNS
    assert [row["segment"] for row in rows] == [str(i) for i in largest[:3]]
    assert segmentation[int(rows[2]["z"]), int(rows[2]["y"]), int(rows[2]["x"])] == largest[2]
    assert float(rows[0]["um3"]) == pytest.approx(int(rows[0]["voxels"]) / 1e6)
    assert command("segments", out, "--csv", file)[0] == 0
    assert len(list(csv.DictReader(file.open()))) == len(ids), "without --limit the file holds all"
    code, text, said = command("segments", finished / "config.toml", "--set", "agglomerate.threshold=0.8")
    lines = text.splitlines()
    assert code == 0 and lines[0].split()[:3] == ["segment", "voxels", "um3"] and f"{len(ids)} segments" in said
    assert [line.split()[0] for line in lines[1:]] == [str(i) for i in largest[:20]]
    assert "more segments: --limit N" in said


def test_what_is_refused(finished: Path, tmp_path: Path, refused) -> None:
    out = finished / "out.zarr"
    text = refused("segments", out, "--set", "agglomerate.threshold=0.3")
    assert "a finished LUT at threshold 0.3 (lut-" in text
    assert "--csv" in refused("segments", out, "--csv", tmp_path)
    assert "CONFIG|OUTPUT" in refused("segments", tmp_path)


def test_the_table_fits_a_terminal() -> None:
    row = ["9223372036854775807", "2132377123", "2132.4", "174000", "12345,12345,12345", "0,0,0", "12345,12345,12345"]
    assert max(map(len, table(TITLES, [row], columns=80))) <= 80
