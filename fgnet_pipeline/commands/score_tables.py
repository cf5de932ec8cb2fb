"""What `fgnet evaluate` prints: scores with those of the oracle beside them, the worst errors, and skeletons."""

from __future__ import annotations

from typing import Any

import typer

from fgnet_pipeline.commands.tables import flowing, table, terminal_columns

#: How many skeletons are printed. The JSON document lists all of them.
WORST_SKELETONS = 10


def print_scores(document: dict[str, Any]) -> None:
    """Print every score in a line of its own, and the warnings.

    Args:
        document: of scores, as the JSON document has them.
    """
    best = document.get("oracle", {})
    for name, value in document.items():
        beside = f"   (oracle {best[name]:.6g})" if name in best else ""
        if isinstance(value, float):
            typer.echo(f"{name:20s} {value:.6g}{beside}")
        elif not isinstance(value, dict | list):
            typer.echo(f"{name:20s} {value}{beside}")
    for sentence in document.get("warnings", ()):
        typer.echo(flowing(f"warning: {sentence}"))


def print_worst(document: dict[str, Any]) -> None:
    """Print the worst splits and mergers.

    Args:
        document: as the JSON document has it; without errors nothing is printed.
    """
    worst = document.get("worst", {})
    for title, of, parts in (
        ("splits", "label", ("segment", "and segment")),
        ("mergers", "segment", ("label", "and label")),
    ):
        rows = worst.get(title, [])
        if not rows:
            continue
        typer.echo(f"\nworst {title}:")
        cells = [
            [row[of], row[parts[0]], row["other"], f"{row['bits']:.4f}", str(row["voxels"]),
             ",".join(map(str, row["position"]))]
            for row in rows
        ]  # fmt: skip
        titles = (of, *parts, "bits", "voxels", "z,y,x")
        typer.echo("\n".join(table(titles, cells, left=3, columns=terminal_columns())))


def print_skeletons(found: dict[str, Any]) -> None:
    """Print the scores by skeletons, and the skeletons that lose most cable.

    Args:
        found: as the JSON document has it.
    """
    rows = found["skeletons"]
    typer.echo(f"\nby {len(rows)} skeletons, lengths in nm:")
    print_scores(found)
    worst = sorted(rows, key=lambda row: row["expected_run_length"] - row["length"])[:WORST_SKELETONS]
    cells = [
        [row["skeleton"], f"{row['length']:.4g}", f"{row['expected_run_length']:.4g}",
         *map(str, (row["segments"], row["split_edges"], row["merged_edges"]))]
        for row in worst
    ]  # fmt: skip
    titles = ("skeleton", "length", "run length", "segments", "splits", "merged")
    typer.echo("\n".join(table(titles, cells, columns=terminal_columns())))
    if found["left_out"]:
        said = f"{found['left_out']} nodes lie outside the segmentation, or in voxels that were not computed"
        typer.echo(flowing(f"warning: {said}"))
