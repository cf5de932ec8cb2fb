"""`fgnet demo`: segment a real sample with the shipped weights, score the result and draw it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgnet_pipeline.commands.options import ConfigFile, Overrides, Workers, extra
from fgnet_pipeline.commands.quiet import is_told

if TYPE_CHECKING:
    from fgnet_pipeline.datasets.demo_sample import Sample
    from fgnet_pipeline.stages.job import Job

#: First voxel and end (z,y,x) of the sections that the shipped weights were not trained on.
UNSEEN = ("140,0,0", "180,250,250")


def demo_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    folder: Annotated[Path, typer.Option(help="Folder that the demo writes into.")] = Path("demo"),
) -> None:
    """Segment the real sample with the shipped weights, score the result, and draw an overlay."""
    demo(config, folder, extra(set_, workers), typer.echo)


def demo(config_file: Path, folder: Path, overrides: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Segment the sample, score the result and draw `overlay.png`.

    Args:
        config_file: normally configs/fib25_nano.toml. The demo replaces its `volume.path` and `output.path`.
        folder: takes the segmentation, the scores and the picture.
        overrides: further keys of the configuration, each as `section.key=value`.
        say: prints a sentence for the user.

    Returns:
        Name of a region -> its scores, as `fgnet evaluate --json` prints them.
    """
    from fgnet_pipeline.commands.progress_bars import Bars
    from fgnet_pipeline.commands.report import report
    from fgnet_pipeline.datasets.demo_sample import find_sample
    from fgnet_pipeline.execution.run import run
    from fgnet_pipeline.stages.configuration import load_config

    sample = find_sample(folder, Path.cwd())
    _told(say)(sample.sentence)
    raw, output = str((sample.path / "raw").resolve()), str((folder / "segmentation.zarr").resolve())
    own = [f"volume.path={raw}", f"output.path={output}"]
    with Bars() as bars:
        job = run(load_config(config_file, [*own, *overrides]), observer=bars, report=_told(say))
    scores = _score(job, sample, say)
    picture = folder / "overlay.png"
    _draw(job, sample, picture)
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    say(f"affinities, fragments, segmentation: {output}")
    say(f"scores: {folder / 'scores.json'}")
    tell = _told(say)
    tell(f"report: {report(job.config, labels=str(sample.path / 'labels')).path}")
    tell(f"look at the picture: xdg-open {picture}")
    for sentence in next_steps(folder):
        tell(sentence)
    return scores


def _told(say: Callable[[str], None]) -> Callable[[str], None]:
    """`say` for sentences that explain: with `--quiet` it says only warnings."""
    return lambda sentence: say(sentence) if is_told(sentence) else None


def next_steps(folder: Path) -> list[str]:
    """The commands that view and export the result of the demo, as the user can type them here."""
    program = shlex.quote("fgnet" if shutil.which("fgnet") else os.path.relpath(sys.argv[0]))
    output, exported = (shlex.quote(str(folder / name)) for name in ("segmentation.zarr", "segmentation.ome.zarr"))
    return [
        f"look at it in a browser: {program} view {output}",
        f"hand it on: {program} export {output} ome-zarr --to {exported}",
    ]


def _score(job: Job, sample: Sample, say: Callable[[str], None]) -> dict[str, Any]:
    from fgnet_pipeline.core.geometry import Box, vector
    from fgnet_pipeline.evaluation.comparison import compare

    segmentation, labels = f"{job.output.path}/segmentation", str(sample.path / "labels")
    scores = {"all": compare(segmentation, labels).to_dict()}
    unseen = Box(*(vector([int(n) for n in corner.split(",")]) for corner in UNSEEN))
    if job.bounds.end == unseen.end and job.roi.intersect(unseen):
        scores["z 140-179"] = compare(segmentation, labels, *UNSEEN).to_dict()
    for where, found in scores.items():
        seen = "sections never trained on" if where != "all" else "mostly training data"
        seen = "generated, never trained on" if sample.origin == "phantom" else seen
        say(
            f"{where} ({seen}): VOI split {found['voi_split']:.3f} + merge {found['voi_merge']:.3f} = "
            f"{found['voi_sum']:.3f} bits, adapted Rand error {found['adapted_rand_error']:.3f}"
        )
        for warning in found["warnings"]:
            say(f"warning: {warning}")
    return scores


def _draw(job: Job, sample: Sample, picture: Path) -> None:
    from fgnet_pipeline.core.cache_folder import settle_matplotlib

    settle_matplotlib()
    from fgnet_pipeline.evaluation.computed import Computed
    from fgnet_pipeline.evaluation.overlay import Panels, save_overlay
    from fgnet_pipeline.store.arrays import open_array

    z = min(max(160, job.roi.begin[0]), job.roi.end[0] - 1)
    panels = Panels(
        open_array(str(sample.path / "raw"), "sample"),
        affinities=job.output.array("affinities").array,
        fragments=job.output.array("fragments").array,
        segmentation=job.output.array("segmentation").array,
        labels=open_array(str(sample.path / "labels"), "sample"),
        voxel_size=job.frame.voxel_size,
        computed=Computed(job.roi, job.mask),
    )
    save_overlay(picture, panels, z=z)
