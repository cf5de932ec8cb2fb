"""`fgnet verify`: read back everything that is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result, say


def verify_command(
    config: Result,
    set_: Overrides = None,
    workers: Workers = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Queue the damaged blocks again, and remove damaged files and strays.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read back everything that is stored, and report damage.

    The exit code is 1 if anything is damaged.
    """
    from fgnet_pipeline.verification.verify import verify

    report = verify(configured_result(config, set_, workers), repair=repair)
    if as_json:
        typer.echo(json.dumps(_document(report)))
    else:
        _print(report)
    if report.damage:
        say(_advice(config, report))
        raise typer.Exit(1)


def _document(report: Any) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "damage": [
            {"kind": f.kind, "task": f.task, "block": f.block, "files": list(f.files), "reason": f.reason}
            for f in report.damage
        ],
        "strays": [{"kind": s.kind, "file": s.file, "reason": s.reason} for s in report.strays],
        "checked": {name: vars(checked) for name, checked in report.checked.items()},
        "requeued": report.requeued,
        "running": report.running,
        "repaired": report.repaired,
    }


def _print(report: Any) -> None:
    for f in report.damage:
        where = f" block {list(f.block)}" if f.block is not None else ""
        more = f" and {len(f.files) - 1} more" if len(f.files) > 1 else ""
        file = f" ({f.files[0]}{more})" if f.files else ""
        typer.echo(f"damage  {f.kind}: {f.task}{where}: {f.reason}{file}")
    for s in report.strays:
        typer.echo(f"stray   {s.kind}: {s.file}: {s.reason}")
    typer.echo(f"{'task':14s} {'blocks':>8s} {'read':>8s} {'left':>8s} {'stale':>8s} {'damaged':>8s}")
    for name, c in report.checked.items():
        damaged = len({f.block for f in report.damage if f.task == name})
        typer.echo(f"{name:14s} {c.blocks:8d} {c.read:8d} {c.left:8d} {c.stale:8d} {damaged:8d}")
    if report.running:
        typer.echo("a run is writing now: files without records were not searched for")
    typer.echo(f"{len(report.damage)} damaged, {len(report.strays)} strays")


def _advice(place: str, report: Any) -> str:
    config = place if Path(place).is_file() else "CONFIG"  # a run cannot be continued by its output alone
    blocks = sum(len(blocks) for blocks in report.requeued.values())
    if report.repaired:
        return f"repaired: `fgnet run {config}` computes {blocks} blocks again"
    return f"`fgnet verify {place} --repair` removes damaged files and queues {blocks} blocks again"
