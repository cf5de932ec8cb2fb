"""`fgnet verify`: read back everything that is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result, say
from fgnet_pipeline.commands.tables import table, terminal_columns


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
    from fgnet_pipeline.commands.progress_bars import Bars
    from fgnet_pipeline.execution.work import Counts
    from fgnet_pipeline.verification.verify import verify

    resolved = configured_result(config, set_, workers)
    with Bars() as bars:

        def watch(task: str, read: int, total: int) -> None:
            bars.update({task: Counts(total, read, failed=0, running=0)} if total else {})

        report = verify(resolved, repair=repair, watch=watch)
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
    rows = []
    for name, c in report.checked.items():
        damaged = len({f.block for f in report.damage if f.task == name})
        rows.append([name, *map(str, (c.blocks, c.read, c.left, c.stale, damaged))])
    titles = ("task", "blocks", "read", "left", "stale", "damaged")
    typer.echo("\n".join(table(titles, rows, columns=terminal_columns())))
    if report.running:
        typer.echo("a run is writing now: files without records were not searched for")
    typer.echo(f"{len(report.damage)} damaged, {len(report.strays)} strays")


def _advice(place: str, report: Any) -> str:
    config = place if Path(place).is_file() else "CONFIG"  # a run cannot be continued by its output alone
    blocks = sum(len(blocks) for blocks in report.requeued.values())
    if report.repaired:
        return f"repaired: `fgnet run {config}` computes {blocks} blocks again"
    return f"`fgnet verify {place} --repair` removes damaged files and queues {blocks} blocks again"
