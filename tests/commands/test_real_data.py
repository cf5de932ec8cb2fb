"""The shipped weights on the real sample, as the demo runs them."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline_tools import CHECKOUT, assert_same_output, fgnet, read
from required import skip_or_fail

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

CONFIG = CHECKOUT / "configs" / "fib25_nano.toml"
UNSEEN_NM = "volume.roi=[[1400,0,0],[1800,2500,2500]]"
SMALL_NM = "volume.roi=[[1440,1440,1440],[1800,2160,2000]]"


def overrides(sample: Path, out: Path, region: str) -> list[str]:
    return [f"volume.path={sample / 'raw'}", f"output.path={out}", region]


def test_quality_on_sections_never_trained_on(sample: Path, tmp_path: Path) -> None:
    """Guards what was reached; docs/reference/model-card-nano.md says why the aim of 1.0 bit is not."""
    options = [o for s in overrides(sample, tmp_path / "out.zarr", UNSEEN_NM) for o in ("--set", s)]
    fgnet("run", CONFIG, *options, "--workers", 2, "--yes")  # 40 sections are fewer than the model's context
    crop = ("--begin", "140,0,0", "--end", "180,250,250")
    scored = fgnet("evaluate", tmp_path / "out.zarr" / "segmentation", sample / "labels", *crop, "--json")
    scores = json.loads(scored.stdout)
    assert scores["voxels"] > 0.99 * 40 * 250 * 250
    assert scores["voi_sum"] <= 1.2


def test_serial_and_two_workers_give_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.zarr", tmp_path / "other.zarr"
    run(load_config(CONFIG, [*overrides(sample, one, SMALL_NM), "schedule.workers=0"]))
    run(load_config(CONFIG, [*overrides(sample, other, SMALL_NM), "schedule.workers=2"]))
    assert_same_output(one, other)


def test_five_thick_sections_with_the_per_section_watershed(sample: Path, tmp_path: Path) -> None:
    raw = sample.parent / "cremi_b.zarr" / "raw"
    if not raw.exists():
        skip_or_fail("data", f"there is no {raw}")
    extra = ["model.checkpoint=identity", "fragments.method=sections", "schedule.block_shape=[16,128,128]"]
    out = tmp_path / "out.zarr"
    run(load_config(CONFIG, [f"volume.path={raw}", f"output.path={out}", "schedule.workers=0", *extra]))
    assert (read(out, "segmentation") > 0).all()
