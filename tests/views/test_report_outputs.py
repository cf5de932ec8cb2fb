"""Reports of unusual results: without a segment, a part of the volume, another score, blocks of two shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_tools import Command, cells, read, run_on_cells, standard_config, write_config, write_volume

from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config, load_result
from fgnet_pipeline.views.report.faces import Grids, faces_of, measure
from fgnet_pipeline.views.report.open_result import open_result
from fgnet_pipeline.views.report.seams import find_seams, grids_of

SECTIONS = ("volume", "stages", "pictures", "segments", "percolation", "doubt", "seams", "parameters", "provenance")


def reported(command: Command, out: Path, folder: Path, *options: Any) -> tuple[str, dict[str, Any]]:
    """The page, and what the command says."""
    code, printed, _ = command("report", out, "--to", folder / "r.html", "--json", *options)
    assert code == 0
    text = (folder / "r.html").read_text()
    assert "cannot be made" not in text and all(f'<section id="{name}"' in text for name in SECTIONS)
    return text, json.loads(printed)


def test_a_result_without_a_segment(command: Command, tmp_path: Path) -> None:
    place, shape = {"voxel_size": [10, 10, 10]}, (48, 24, 24)
    fragments = np.zeros(shape, np.uint64)
    fragments[:24] = 7
    config = write_config(
        tmp_path / "config.toml",
        affinities={"path": write_volume(tmp_path / "a", np.full((3, *shape), 250, np.uint8), place)},
        fragments={"path": write_volume(tmp_path / "f", fragments, place)},
        volume={"roi": [[240, 0, 0], [480, 240, 240]]},
        output={"path": str(tmp_path / "out.zarr")},
        schedule={"workers": 0, "block_shape": [24, 24, 24]},
    )
    run(load_config(config))
    labels = write_volume(tmp_path / "l", np.ones(shape, np.uint8), place)
    text, said = reported(command, tmp_path / "out.zarr", tmp_path, "--labels", labels)
    assert "No voxel of the region lies in a fragment, so there is no segment." in said["warnings"]
    assert any("no segment" in sentence and "best threshold" in sentence for sentence in said["warnings"])
    assert "The worst mergers: none." in text and said["doubt"] is None
    found = json.loads(command("evaluate", tmp_path / "out.zarr" / "segmentation", labels, "--json")[1])
    assert found["segments"] == 0 and any("no segment" in sentence for sentence in found["warnings"])
    assert found["worst"] == {"splits": [], "mergers": []}


@pytest.mark.parametrize(
    "overrides",
    [
        ("agglomerate.score=quantile", "agglomerate.quantile=0.5"),
        ("volume.roi=[[100,0,60],[480,400,400]]",),
        ("schedule.predict.block_shape=[24,24,24]", "schedule.fragments.block_shape=[40,40,40]"),
        ("volume.voxel_size=[40,4.5,4.5]", "volume.offset=[10,9.6,3.3]", "model.any_voxel_size=true"),
    ],
)
def test_results_of_other_settings(overrides: tuple[str, ...], command: Command, tmp_path: Path) -> None:
    run_on_cells(tmp_path, (48, 48, 48), overrides=overrides)
    _, said = reported(command, tmp_path / "out.zarr", tmp_path)
    assert said["missing"] == [] and Path(said["doubt"]).is_file()
    assert not any("by jump" in sentence or "by merge" in sentence for sentence in said["warnings"])


def test_a_mask_makes_no_seam(command: Command, tmp_path: Path) -> None:
    """Here a membrane lies along a face; with the mask, fewer other voxels level it out."""
    mask = np.zeros((48, 48, 48), np.uint8)
    mask[:30, 5:, :40] = 1
    raw = write_volume(tmp_path / "raw.zarr", cells((48, 48, 48)))
    run(load_config(standard_config(tmp_path, raw), [f"volume.mask={write_volume(tmp_path / 'mask', mask)}"]))
    _, said = reported(command, tmp_path / "out.zarr", tmp_path)
    assert said["warnings"] == [] and said["missing"] == []
    seams = find_seams(open_result(load_result(str(tmp_path / "out.zarr"))))
    assert not [place for place in seams.places if place.kind == "jump"]


def test_planes_inside_blocks_lie_away_from_the_faces_of_all_grids(tmp_path: Path) -> None:
    overrides = ("schedule.predict.block_shape=[24,24,24]", "schedule.fragments.block_shape=[48,48,48]")
    run_on_cells(tmp_path, (48, 48, 96), overrides=overrides)
    result = open_result(load_result(str(tmp_path / "out.zarr")))
    where = Grids(result, [result.tasks["predict"], result.tasks["relabel"]], list(grids_of(result).values()))
    ((face, inside),) = faces_of(where, result.tasks["fragments"].grid, 2)
    assert face.at == 48 and face.slab == Box((0, 0, 40), (48, 48, 56))
    # The middle of a block of fragments is a face of blocks of predict: a plane three layers from it is taken.
    assert [plane.at for plane in inside] == [69, 21]
    measured = measure(where, face)
    assert measured is not None and measured.interior.tolist() == [abs(at) >= 2 for at in measured.planes]
    segmentation, affinities = (read(tmp_path / "out.zarr", name) for name in ("segmentation", "affinities"))
    joined = affinities[2] >= 128
    object_ = (segmentation[..., 47] > 0) & (segmentation[..., 48] > 0) & joined[..., 47] & joined[..., 49]
    assert measured.inside[measured.at] == object_.sum()
    assert measured.split[measured.at] == (object_ & (segmentation[..., 47] != segmentation[..., 48])).sum()
