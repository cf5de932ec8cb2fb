r"""Compare affinities to segmentation: this pipeline, volara, and the whole volume in one thread.

    python benchmarks/against_volara.py OUT.zarr/affinities LABELS.zarr/labels --volara-python VENV/bin/python \
        --folder FOLDER --rounds 3

VENV is an environment of its own: `python -m venv VENV; VENV/bin/pip install volara==1.0.5 "daisy<2"`. Every contestant
is a process that reads the same affinities and ends with a segmentation on disk, with the same blocks, context and
workers. They take turns, so that another load of the machine affects all of them. One round before the first fills the
caches of numba and is not counted.

wall: seconds from start to end. cpu: seconds of processor time of the process and of all its descendants; another load
changes it little. voi_*: bits, against the labels, over the whole volume. Only ratios within one run can be compared.
volara runs ExtractFrags (seeds, then mutex watershed), AffAgglom, GraphMWS and Relabel with an SQLite graph; its
results and done markers are new in every run.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
ADOPT_DESCENDANTS = 36  # PR_SET_CHILD_SUBREAPER


def drive_volara(options: dict[str, Any]) -> None:
    """Runs inside volara's environment; the working directory receives logs and done markers."""
    from funlib.geometry import Coordinate
    from volara.blockwise import AffAgglom, ExtractFrags, GraphMWS, Relabel
    from volara.datasets import Affs, Labels
    from volara.dbs import SQLite
    from volara.lut import LUT

    block, context = Coordinate(options["block"]), Coordinate(options["context"])
    nearest = [Coordinate(-1, 0, 0), Coordinate(0, -1, 0), Coordinate(0, 0, -1)]
    affinities = Affs(store=Path(options["affinities"]), neighborhood=nearest)
    fragments, segments = Labels(store=Path("fragments")), Labels(store=Path("segmentation"))
    database = SQLite(path=Path("graph.sqlite"), edge_attrs={"mean": "float"})
    common = {"block_size": block, "num_workers": options["workers"]}
    array = affinities.array("r")
    extract = ExtractFrags(
        db=database,
        affs_data=affinities,
        frags_data=fragments,
        context=context,
        bias=[-options["bias"]] * 3,
        **options["extract"],
        **common,
    )
    edges = AffAgglom(
        db=database,
        affs_data=affinities,
        frags_data=fragments,
        context=Coordinate(1, 1, 1),
        scores={"mean": nearest},
        **common,
    )
    lut = LUT(path=Path("lut.npz"))
    graph = GraphMWS(
        db=database,
        lut=lut,
        weights={"mean": (1.0, -options["threshold"])},
        roi=(array.roi.begin, array.roi.shape),
        num_workers=1,
    )
    relabel = Relabel(frags_data=fragments, seg_data=segments, lut=lut, **common)
    (extract + edges + graph + relabel).run_blockwise(multiprocessing=True)


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command in an empty folder; (wall, cpu) seconds of it and of all its descendants."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with (folder / "output.txt").open("w") as stream:
        done = subprocess.run(command, cwd=folder, stdout=stream, stderr=stream, check=False)
    wall = time.perf_counter() - start
    while True:  # descendants whose parents have ended are this process's children now
        try:
            os.wait()
        except ChildProcessError:
            break
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}:\n{(folder / 'output.txt').read_text()[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def contestants(options: argparse.Namespace) -> dict[str, tuple[list[str], str]]:
    """Name -> (command, path of its segmentation below its folder)."""
    own = CHECKOUT / "workflows" / "run_agglomerate.py"
    settings = {
        "affinities.path": options.affinities,
        "output.path": "out.zarr",
        "fragments.min_seed_distance": options.radius,
        "fragments.context": options.context,
        "agglomerate.threshold": options.threshold,
        "agglomerate.leaf_blocks": 2,
        "schedule.block_shape": options.block,
        "schedule.workers": options.workers,
    }
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    configuration = options.folder / "empty.toml"
    found = {"ours": ([sys.executable, str(own), str(configuration), *overrides], "out.zarr/segmentation")}
    if options.volara_python:
        volara = {
            "affinities": options.affinities,
            "block": options.block,
            "context": options.context,
            "workers": options.workers,
            "bias": options.volara_bias,
            "threshold": options.volara_threshold,
            "extract": json.loads(options.volara_extract),
        }
        command = [options.volara_python, str(Path(__file__).resolve()), "--drive-volara", json.dumps(volara)]
        found["volara"] = (command, "segmentation")
    if not options.no_whole:
        script = [sys.executable, str(CHECKOUT / "benchmarks" / "whole_volume.py"), options.affinities, "seg.zarr"]
        script += ["--threshold", str(options.threshold), "--radius", str(options.radius)]
        found["whole, one thread"] = (script, "seg.zarr")
    return found


def interpreter_of_volara(given: str) -> str:
    """Absolute path of an interpreter that has volara: contestants run in folders of their own."""
    found = shutil.which(given)
    has_volara = (
        found and subprocess.run([found, "-c", "import volara"], capture_output=True, check=False).returncode == 0
    )
    if not found or not has_volara:
        sys.exit(
            f"--volara-python = {given!r}: expected a Python that can import volara; the docstring says how to make one"
        )
    return os.path.abspath(found)


def score(segmentation: Path, labels: str) -> dict[str, float]:
    from fgnet_pipeline.evaluation.comparison import compare

    scores = compare(str(segmentation), labels)
    return {name: round(getattr(scores, name), 3) for name in ("voi_split", "voi_merge", "voi_sum")}


def compete(options: argparse.Namespace, report: Callable[[dict[str, Any]], None]) -> None:
    ctypes.CDLL(None).prctl(ADOPT_DESCENDANTS, 1, 0, 0, 0)
    (options.folder / "empty.toml").parent.mkdir(parents=True, exist_ok=True)
    (options.folder / "empty.toml").write_text("")
    runs = contestants(options)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(-options.warm, options.rounds):
        for name, (command, _) in runs.items():
            wall, cpu = timed(command, options.folder / name.split(",")[0])
            if turn >= 0:
                times[name].append((wall, cpu))
            report({"round": turn, "name": name, "wall": round(wall, 2), "cpu": round(cpu, 2)})
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    for name, (_, path) in runs.items():
        result: dict[str, Any] = {"name": name, "median_wall": medians[name][0], "median_cpu": medians[name][1]}
        result |= {"wall_over_ours": medians[name][0] / medians["ours"][0]}
        result |= {"cpu_over_ours": medians[name][1] / medians["ours"][1]}
        result = {key: round(value, 2) if isinstance(value, float) else value for key, value in result.items()}
        report(result | score(options.folder / name.split(",")[0] / path, options.labels))


def main() -> None:
    if sys.argv[1:2] == ["--drive-volara"]:
        drive_volara(json.loads(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("affinities", type=os.path.abspath)
    parser.add_argument("labels")
    parser.add_argument("--folder", type=Path, required=True, help="empty or new; everything is written there")
    parser.add_argument("--volara-python", help="interpreter of the environment that holds volara")
    parser.add_argument("--volara-bias", type=float, default=0.5)
    parser.add_argument("--volara-threshold", type=float, default=0.7)
    parser.add_argument("--volara-extract", default='{"min_seed_distance": 13}', help="more options, JSON")
    parser.add_argument("--no-whole", action="store_true")
    parser.add_argument("--block", type=int, nargs=3, default=[90, 125, 125])
    parser.add_argument("--context", type=int, nargs=3, default=[16, 16, 16])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--radius", type=int, default=6, help="seeds are maxima of boxes of this radius")
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", type=int, default=1, help="rounds before, not counted")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    if options.volara_python:
        options.volara_python = interpreter_of_volara(options.volara_python)
    compete(options, lambda row: print(json.dumps(row), flush=True))


if __name__ == "__main__":
    main()
