"""`fgnet import`: convert other formats to Zarr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_pipeline.commands.options import Json, say
from fgnet_pipeline.core.errors import InputError


def import_command(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Zarr group to create. It must not exist yet.")],
    raw: Annotated[
        str, typer.Option(help="HDF5 or TIFF file, folder of PNG or TIFF files, N5, or Neuroglancer precomputed.")
    ],
    labels: Annotated[
        str | None, typer.Option(help="The same for the ground truth. Voxels with 0 are unlabelled.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Published volume: cremi_a, cremi_b, cremi_c, ac3, ac4, snemi3d or wafer4.")
    ] = None,
    voxel_size: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in nm. It overrides that of the source.")
    ] = None,
    offset: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Offset of raw in nm. It overrides that of the source.")
    ] = None,
    labels_offset: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Offset of the labels in nm. It overrides that of the source.")
    ] = None,
    value_range: Annotated[
        str | None, typer.Option("--range", metavar="BLACK,WHITE", help="Raw values that become 0 and 255.")
    ] = None,
    raw_dataset: Annotated[str | None, typer.Option(help="Dataset of raw inside an HDF5 file or N5.")] = None,
    labels_dataset: Annotated[str | None, typer.Option(help="Dataset of the labels inside an HDF5 file or N5.")] = None,
    scale: Annotated[int, typer.Option(min=0, help="Level of a Neuroglancer volume. 0 is the finest.")] = 0,
    raw_format: Annotated[
        str | None,
        typer.Option("--format", help="hdf5, tiff, folder, n5 or precomputed. Without it, the format is guessed."),
    ] = None,
    labels_format: Annotated[str | None, typer.Option(help="The same for the labels.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, but write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a volume and its labels to Zarr.

    The volume is converted block by block, so memory does not grow with its size.
    """
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
    """The file `raw` itself if it is HDF5 and also holds neuron ids, as CREMI's files do; else None."""
    from fgnet_pipeline.datasets.hdf5 import SUFFIXES, has_cremi_labels

    is_hdf5 = raw_format == "hdf5" or (raw_format is None and Path(raw).suffix.lower() in SUFFIXES)
    return raw if is_hdf5 and Path(raw).is_file() and has_cremi_labels(raw) else None


def _numbers(option: str, text: str | None, count: int) -> Any:
    """Parse the numbers of an option, e.g. `4,4,4`.

    Args:
        option: name, for errors.
        text: None if the option was not given.
        count: how many numbers there must be.

    Returns:
        A tuple of floats; None if the option was not given.

    Raises:
        InputError: other text.
    """
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise InputError(option, text, f"{count} numbers separated by commas", "e.g. " + ",".join("4" * count))
    return values
