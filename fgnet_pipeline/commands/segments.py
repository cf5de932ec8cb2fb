"""`fgnet segments`: list the segments of a result by size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_pipeline.commands.csv_file import write_csv
from fgnet_pipeline.commands.options import Json, Overrides, Result, Workers, configured_result, say
from fgnet_pipeline.commands.tables import table, terminal_columns

if TYPE_CHECKING:
    from fgnet_pipeline.evaluation.segments import Segments

#: Rows that are printed, if the user names no number.
LISTED = 20
TITLES = ("segment", "voxels", "um3", "fragments", "a voxel inside", "begin", "end")


def segments_command(
    result: Result,
    set_: Overrides = None,
    workers: Workers = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help=f"Greatest number of segments. Default: {LISTED}; in a CSV file, all.")
    ] = None,
    min_voxels: Annotated[int, typer.Option(min=1, help="List no smaller segments.")] = 1,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="File for the list, as CSV.")] = None,
    as_json: Json = False,
) -> None:
    """List segments by size, with a voxel inside each, from the tables of a finished run. No voxel is read."""
    from fgnet_pipeline.core.user_paths import check_file_to_write

    if csv is not None:
        check_file_to_write(csv, "--csv")
    config = configured_result(result, set_, workers)
    from fgnet_pipeline.evaluation.segments import list_segments

    found = list_segments(config, min_voxels)
    if csv is not None:
        write_csv(csv, found.csv_text(limit))
    printed = LISTED if limit is None else limit
    if as_json:
        typer.echo(json.dumps(_document(found, printed, csv)))
        return
    _tell(found, printed, csv)


def _document(found: Segments, limit: int, csv: Path | None) -> dict[str, object]:
    rows = [{**row, "segment": str(row["segment"])} for row in found.listed(limit)]
    return {
        "threshold": found.threshold,
        "segments": found.count,
        "voxels": found.voxels,
        "chosen": len(found),
        "listed": rows,
        "csv": None if csv is None else str(csv),
    }


def _tell(found: Segments, limit: int, csv: Path | None) -> None:
    say(f"{found.count} segments at threshold {found.threshold:g}, {found.voxels} voxels, "
        f"{found.cubic_micrometres(found.voxels):.4g} cubic micrometres; voxels are counted z,y,x from 0")  # fmt: skip
    rows = [
        [str(row["segment"]), str(row["voxels"]), f"{row['um3']:.4g}", str(row["fragments"]),
         *(",".join(map(str, row[name])) for name in ("point", "begin", "end"))]
        for row in found.listed(limit)
    ]  # fmt: skip
    typer.echo("\n".join(table(TITLES, rows, columns=terminal_columns())))
    if len(found) > len(rows):
        say(f"{len(found) - len(rows)} more segments: --limit N prints N, --csv FILE writes all")
    if csv is not None:
        say(f"wrote {csv}")
