"""The command line: arguments, exit codes and what is printed.

Exit code 0 done, 1 blocks failed or damage found, 2 bad input. With ``--json`` standard output holds one JSON document
and everything else goes to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .errors import InputError, PipelineError

app = typer.Typer(
    help="Raw electron microscopy to one global segmentation, block by block.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, see docs/configuration.md.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a key of the configuration; repeatable."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Worker processes, a total over all stages; 0 = serial, in this process."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and say what would be computed; write nothing.")
]
Redo = Annotated[
    str | None,
    typer.Option("--redo", metavar="STAGE", help="Replace the results of this stage and of all stages after it."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def _configured(config: Path, overrides: list[str] | None, workers: int | None) -> Any:
    from .config import load_config

    return load_config(config, _extra(overrides, workers))


def _extra(overrides: list[str] | None, workers: int | None) -> list[str]:
    """All overrides; ``--workers`` comes last and wins."""
    return [*(overrides or []), *([] if workers is None else [f"schedule.workers={workers}"])]


def _execute(
    stages: tuple[str, ...] | None,
    config: Path,
    overrides: list[str] | None,
    workers: int | None,
    redo: str | None,
    dry_run: bool,
) -> None:
    from . import run as runner
    from .progress import Bars

    resolved = _configured(config, overrides, workers)
    chosen = stages or runner.ALL
    if dry_run:
        _print_plan(resolved, chosen, redo)
        return
    with Bars() as bars:
        runner.run(resolved, chosen, redo, bars, _say)


def _print_plan(config: Any, stages: tuple[str, ...], redo: str | None) -> None:
    from . import run as runner
    from .resume import check_fresh, left

    job = runner.open_planned(config, stages)
    names = runner.tasks_of(job.plan, stages)
    check_fresh(job, names, redo)
    for name in names:
        state, task = left(job, name), job.plan.tasks[name]
        again = redo is not None and runner.ALL.index(task.stage) >= runner.ALL.index(redo)
        todo = int((state.active if again else state.todo).sum())
        shape = "x".join(map(str, task.grid.block_shape))
        typer.echo(f"{name:14s} {todo} of {int(state.active.sum())} blocks of {shape} voxels to compute")


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


@app.command("run")
def run_command(
    config: ConfigFile, set_: Overrides = None, workers: Workers = None, redo: Redo = None, dry_run: DryRun = False
) -> None:
    """Raw -> affinities -> segmentation: everything that is not done yet."""
    _execute(None, config, set_, workers, redo, dry_run)


@app.command("predict")
def predict_command(
    config: ConfigFile, set_: Overrides = None, workers: Workers = None, redo: Redo = None, dry_run: DryRun = False
) -> None:
    """Raw -> affinities (the same as run_predict.py)."""
    from .run import PREDICT

    _execute(PREDICT, config, set_, workers, redo, dry_run)


@app.command("agglomerate")
def agglomerate_command(
    config: ConfigFile, set_: Overrides = None, workers: Workers = None, redo: Redo = None, dry_run: DryRun = False
) -> None:
    """Affinities -> segmentation (the same as run_agglomerate.py); torch is not needed."""
    from .run import AGGLOMERATE

    _execute(AGGLOMERATE, config, set_, workers, redo, dry_run)


@app.command("status")
def status_command(config: ConfigFile, set_: Overrides = None, workers: Workers = None, as_json: Json = False) -> None:
    """Blocks done, failed and left of every stage, voxels per second, and the time left."""
    from .run import status

    stages = status(_configured(config, set_, workers))
    if as_json:
        typer.echo(json.dumps({"stages": [asdict(stage) for stage in stages]}))
        return
    typer.echo(
        f"{'stage':12s} {'blocks':>8s} {'done':>8s} {'failed':>7s} {'left':>8s} {'Mvoxel/s':>9s} {'time left':>10s}"
    )
    for s in stages:
        rate = "-" if s.voxels_per_second is None else f"{s.voxels_per_second / 1e6:.3g}"
        eta = "-" if s.seconds_left is None else f"{s.seconds_left:.0f} s"
        typer.echo(f"{s.stage:12s} {s.blocks:8d} {s.done:8d} {s.failed:7d} {s.left:8d} {rate:>9s} {eta:>10s}")


@app.command("evaluate")
def evaluate_command(
    segmentation: Annotated[str, typer.Argument(help="Zarr array of ids, e.g. out.zarr/segmentation.")],
    labels: Annotated[str, typer.Argument(help="Zarr array of ground truth; 0 is ignored.")],
    begin: Annotated[str | None, typer.Option(help="First voxel of the labels to score: z,y,x.")] = None,
    end: Annotated[str | None, typer.Option(help="Voxel after the last: z,y,x.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    as_json: Json = False,
) -> None:
    """VOI (bits), adapted Rand error and CREMI score, block by block."""
    from .compare import compare

    scores = compare(segmentation, labels, begin, end, workers)
    if as_json:
        typer.echo(json.dumps(scores.to_dict()))
        return
    for name, value in scores.to_dict().items():
        typer.echo(f"{name:20s} {value:.6g}" if isinstance(value, float) else f"{name:20s} {value}")


@app.command("train")
def train_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Threads (machine.threads).")] = None,
    preview: Annotated[Path | None, typer.Option(help="Only draw augmented training patches into this PNG.")] = None,
) -> None:
    """Train a model; an interrupted training resumes."""
    from .training import TrainConfig, train, write_preview

    threads = [] if workers is None else [f"machine.threads={workers}"]
    resolved = TrainConfig.load(config, [*(set_ or []), *threads])
    if preview is not None:
        write_preview(resolved, preview)
        return
    train(resolved, progress=lambda s: _say(f"iteration {s.iteration}  loss {s.loss:.4f}  {s.seconds:.2f} s"))


@app.command("demo")
def demo_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    folder: Annotated[Path, typer.Option(help="Where the demo writes.")] = Path("demo"),
) -> None:
    """Segment the real sample with the shipped weights, score it, and draw an overlay."""
    from .demo import demo

    demo(config, folder, _extra(set_, workers), typer.echo)


@app.command("sweep")
def sweep_command(
    config: ConfigFile,
    labels: Annotated[str, typer.Argument(help="Zarr array of ground truth; 0 is ignored.")],
    set_: Overrides = None,
    workers: Workers = None,
    begin: Annotated[str | None, typer.Option(help="First voxel of the labels to score: z,y,x.")] = None,
    end: Annotated[str | None, typer.Option(help="Voxel after the last: z,y,x.")] = None,
    threshold: Annotated[list[float] | None, typer.Option(help="One threshold to score; repeatable.")] = None,
    first: Annotated[float, typer.Option("--from", help="First threshold, where --threshold is not given.")] = 0.02,
    last: Annotated[float, typer.Option("--to", help="Last threshold.")] = 0.98,
    step: Annotated[float, typer.Option("--step", help="From one threshold to the next.")] = 0.02,
    png: Annotated[Path | None, typer.Option(help="The curve; sweep.png in the output where not given.")] = None,
    as_json: Json = False,
) -> None:
    """Scores over agglomeration thresholds, from the stored merge tree of a finished run."""
    from .curve import save_curve
    from .sweep import steps, sweep

    resolved = _configured(config, set_, workers)
    job, result = sweep(resolved, labels, threshold or steps(first, last, step), begin, end)
    picture = png or job.output.root / "sweep.png"
    save_curve(result, picture, f"{job.output.root.name} against {labels}")
    if as_json:
        typer.echo(json.dumps({**result.to_dict(), "png": str(picture)}))
        return
    typer.echo(f"{'threshold':>9s} {'VOI split':>9s} {'merge':>9s} {'sum':>9s} {'Rand error':>10s}")
    for p in result.curve:
        voi = f"{p.voi_split:9.4f} {p.voi_merge:9.4f} {p.voi_sum:9.4f}"
        typer.echo(f"{p.threshold:9g} {voi} {p.adapted_rand_error:10.4f}{'  best' if p == result.best else ''}")
    low, high = result.plateau
    typer.echo(f"best threshold {result.best.threshold:g}; plateau {low:g} to {high:g}; "
               f"far from cliffs: {result.robust.threshold:g}\n{picture}")  # fmt: skip


@app.command("inspect")
def inspect_command(
    config: ConfigFile,
    segment: Annotated[str, typer.Argument(help="Id of a segment.")],
    set_: Overrides = None,
    workers: Workers = None,
    limit: Annotated[int, typer.Option(min=0, help="How many rows of each list are printed.")] = 10,
    as_json: Json = False,
) -> None:
    """Why a segment is what it is: fragments, strongest and weakest merges, neighbours."""
    from .inspect_segment import inspect_segment

    found = inspect_segment(_configured(config, set_, workers), _id(segment), limit)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    typer.echo(f"segment {found.segment} at threshold {found.threshold:g}: {found.voxels} voxels, "
               f"{len(found.fragments)} fragments, {found.merges} merges, "
               f"voxels {list(found.begin)} to {list(found.end)}")  # fmt: skip
    typer.echo("largest fragments (id, voxels, a voxel inside)")
    for f in found.fragments[:limit]:
        typer.echo(f"  {f.id:20d} {f.voxels:10d} {list(f.point)}")
    for title, merges in (("strongest", found.strongest), ("weakest", found.weakest)):
        typer.echo(f"{title} merges (mean affinity, faces, voxels of both sides, where)")
        for m in merges:
            where = [round(v) for v in m.position or ()]
            typer.echo(f"  {m.mean:8.4f} {m.count:8d} {m.voxels_a:10d} + {m.voxels_b:<10d} {where}")
    typer.echo("neighbours (segment, mean affinity, faces, where)")
    for n in found.neighbours[:limit]:
        typer.echo(f"  {n.segment:20d} {n.mean:8.4f} {n.count:8d} {[round(v) for v in n.position]}")


def _id(text: str) -> int:
    if not text.lstrip("-").isdecimal():
        raise InputError("SEGMENT", text, "a whole number", "take an id from the segmentation")
    return int(text)


def guarded(command: Callable[[], Any]) -> NoReturn:
    """Run a command; errors meant for the user become one sentence and an exit code."""
    try:
        command()
    except PipelineError as error:
        kind = "error" if isinstance(error, InputError) else "failed"
        typer.echo(f"{kind}: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted: run the same command again to go on", err=True)
        sys.exit(130)
    sys.exit(0)


def main() -> NoReturn:
    """The ``fgnet`` command."""
    guarded(lambda: app(standalone_mode=True))


def run_predict() -> NoReturn:
    """The ``run_predict.py`` script."""
    guarded(lambda: _single(predict_command))


def run_agglomerate() -> NoReturn:
    """The ``run_agglomerate.py`` script."""
    guarded(lambda: _single(agglomerate_command))


def _single(command: Callable[..., None]) -> None:
    script = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
    script.command()(command)
    script()
