"""import: other formats to the project's Zarr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_pipeline.commands.options import Json, say
from fgnet_pipeline.core.errors import InputError


def import_command(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Zarr group to make; nothing may lie there.")],
    raw: Annotated[str, typer.Option(help="HDF5 or TIFF file, folder of PNG or TIFF, N5, Neuroglancer precomputed.")],
    labels: Annotated[str | None, typer.Option(help="The same for ground truth; 0 is unlabelled.")] = None,
    preset: Annotated[str | None, typer.Option(help="cremi_a, cremi_b, cremi_c, ac3, ac4, snemi3d, wafer4.")] = None,
    voxel_size: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="nm; overrides the source.")] = None,
    offset: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="nm; overrides the source.")] = None,
    labels_offset: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="nm; overrides the source.")] = None,
    value_range: Annotated[
        str | None, typer.Option("--range", metavar="BLACK,WHITE", help="Raw values that become 0 and 255.")
    ] = None,
    raw_dataset: Annotated[str | None, typer.Option(help="Inside HDF5 or N5.")] = None,
    labels_dataset: Annotated[str | None, typer.Option(help="Inside HDF5 or N5.")] = None,
    scale: Annotated[int, typer.Option(min=0, help="Level of a Neuroglancer volume.")] = 0,
    raw_format: Annotated[
        str | None, typer.Option("--format", help="hdf5, tiff, folder, n5, precomputed; guessed where left out.")
    ] = None,
    labels_format: Annotated[str | None, typer.Option(help="The same for the labels.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything; write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a volume, and its labels, to Zarr, block by block: memory does not grow with the volume."""
    from fgnet_pipeline.datasets.convert import convert, plan
    from fgnet_pipeline.datasets.open_source import open_source
    from fgnet_pipeline.datasets.source import Request
    from fgnet_pipeline.store.group_writer import check_free

    labels = labels or _labels_beside(raw, raw_format)
    opened = open_source(Request(raw, "--raw", raw_dataset, scale), raw_format)
    truth = open_source(Request(labels, "--labels", labels_dataset, scale), labels_format) if labels else None
    job = plan(
        opened,
        truth,
        voxel_size=_numbers("--voxel-size", voxel_size, 3),
        offset=_numbers("--offset", offset, 3),
        labels_offset=_numbers("--labels-offset", labels_offset, 3),
        value_range=_numbers("--range", value_range, 2),
        preset=preset,
    )
    check_free(output)
    summary = {**job.describe(), "output": str(output), "dry_run": dry_run}
    if not dry_run:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("import", total=None)
            summary |= convert(job, output, lambda done, total: bar.update(task, completed=done, total=total))
    if as_json:
        typer.echo(json.dumps(summary))
        return
    _tell(summary)


def _tell(summary: dict[str, Any]) -> None:
    say(f"{'would write' if summary['dry_run'] else 'wrote'} {summary['output']}: {summary['shape']} voxels of "
        f"{summary['voxel_size_nm']} nm")  # fmt: skip
    if summary["labelled"]:
        say(f"labels cover voxels {summary['labelled'][0]} to {summary['labelled'][1]}")
    for name, (begin, end) in summary["splits"].items():
        say(f"{name}: begin = {begin}, end = {end}")


def _labels_beside(raw: str, raw_format: str | None) -> str | None:
    """The same file, where it is HDF5 and holds neuron ids as CREMI's files do."""
    from fgnet_pipeline.datasets.hdf5 import SUFFIXES, has_cremi_labels

    is_hdf5 = raw_format == "hdf5" or (raw_format is None and Path(raw).suffix.lower() in SUFFIXES)
    return raw if is_hdf5 and Path(raw).is_file() and has_cremi_labels(raw) else None


def _numbers(option: str, text: str | None, count: int) -> Any:
    """A tuple of floats, or None where the option was left out. Raises InputError on anything else."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise InputError(option, text, f"{count} numbers with commas between them", "e.g. " + ",".join("4" * count))
    return values
