"""`fgnet import`: convert other formats to Zarr."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fgnet_pipeline.commands.options import Json, say
from fgnet_pipeline.core.errors import InputError


def import_command(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Zarr group to create. It must not exist yet.")],
    raw: Annotated[
        str | None,
        typer.Option(help="HDF5 or TIFF file, folder of PNG or TIFF files, N5, Zarr, or Neuroglancer precomputed."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="The same for the ground truth. Voxels with 0 are unlabelled.")
    ] = None,
    affinities: Annotated[
        str | None, typer.Option(help="Affinities of another program instead of raw: HDF5, Zarr, N5 or precomputed.")
    ] = None,
    neighbourhood: Annotated[
        str | None,
        typer.Option(
            "--neighbourhood",
            "--offsets",
            metavar="[[Z,Y,X],...]",
            help="Per channel of the affinities, the neighbour in voxels. It overrides that of the source.",
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Published volume: cremi_a, cremi_b, cremi_c, ac3, ac4, snemi3d or wafer4.")
    ] = None,
    voxel_size: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in nm. It overrides that of the source.")
    ] = None,
    offset: Annotated[
        str | None,
        typer.Option(metavar="Z,Y,X", help="Offset of raw or affinities in nm. It overrides that of the source."),
    ] = None,
    labels_offset: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Offset of the labels in nm. It overrides that of the source.")
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Stored axes of raw or affinities, e.g. x,y,z. They override the source."),
    ] = None,
    labels_axes: Annotated[str | None, typer.Option(metavar="NAMES", help="The same for the labels.")] = None,
    value_range: Annotated[
        str | None, typer.Option("--range", metavar="BLACK,WHITE", help="Raw values that become 0 and 255.")
    ] = None,
    unsigned: Annotated[
        bool | None,
        typer.Option("--unsigned/--signed", help="How to read signed integers of raw. --unsigned keeps their bits."),
    ] = None,
    raw_dataset: Annotated[
        str | None, typer.Option(help="Dataset of raw inside HDF5, N5 or Zarr, or the number of a TIFF image.")
    ] = None,
    labels_dataset: Annotated[str | None, typer.Option(help="The same for the labels.")] = None,
    affinities_dataset: Annotated[str | None, typer.Option(help="The same for the affinities.")] = None,
    scale: Annotated[int, typer.Option(min=0, help="Level of a Neuroglancer volume. 0 is the finest.")] = 0,
    raw_format: Annotated[
        str | None,
        typer.Option("--format", help="hdf5, tiff, folder, n5, zarr or precomputed. Without it, it is guessed."),
    ] = None,
    labels_format: Annotated[str | None, typer.Option(help="The same for the labels.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, but write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a volume and its labels, or affinities, to Zarr.

    The volume is converted block by block, so memory does not grow with its size.
    """
    from fgnet_pipeline.datasets.convert import convert, plan
    from fgnet_pipeline.datasets.open_source import open_source
    from fgnet_pipeline.datasets.source import Request
    from fgnet_pipeline.store.group_writer import check_free

    _check_choice(raw, labels, affinities)
    sizes = {"voxel_size": _numbers("--voxel-size", voxel_size, 3), "offset": _numbers("--offset", offset, 3)}
    names = _names("--axes", axes)
    if affinities is not None:
        request = Request(affinities, "--affinities", affinities_dataset, scale, names)
        job, write = _affinity_job(request, raw_format, neighbourhood, sizes)
    else:
        assert raw is not None
        labels = labels or _labels_beside(raw, raw_format)
        opened = open_source(Request(raw, "--raw", raw_dataset, scale, names), raw_format)
        truth = None
        if labels:
            of_labels = _names("--labels-axes", labels_axes)
            truth = open_source(Request(labels, "--labels", labels_dataset, scale, of_labels), labels_format)
        job = plan(
            opened,
            truth,
            **sizes,
            labels_offset=_numbers("--labels-offset", labels_offset, 3),
            value_range=_numbers("--range", value_range, 2),
            preset=preset,
            unsigned=unsigned,
        )
        write = convert
    check_free(output)
    summary = {**job.describe(), "output": str(output), "dry_run": dry_run}
    if not dry_run:
        summary |= _with_bar(write, job, output)
    if as_json:
        typer.echo(json.dumps(summary))
        return
    _tell(summary)


def _check_choice(raw: str | None, labels: str | None, affinities: str | None) -> None:
    """Check that there is raw, or there are affinities alone."""
    if raw is None and affinities is None:
        raise InputError("--raw", "not given", "a volume to import", "give --raw, or --affinities")
    if affinities is not None and (raw is not None or labels is not None):
        expected = "affinities alone: raw and labels get a group of their own"
        raise InputError("--affinities", affinities, expected, "import them one after the other")


def _affinity_job(request: Any, kind: str | None, neighbourhood: str | None, sizes: dict[str, Any]) -> tuple[Any, Any]:
    """A checked import of affinities, and the function that writes it."""
    from fgnet_pipeline.datasets.affinities import (
        convert_affinities,
        open_affinities,
        parse_neighbourhood,
        plan_affinities,
    )

    steps = parse_neighbourhood(neighbourhood, "--neighbourhood") if neighbourhood is not None else None
    return plan_affinities(open_affinities(request, kind, steps), steps, **sizes), convert_affinities


def _with_bar(write: Callable[..., dict[str, Any]], job: Any, output: Path) -> dict[str, Any]:
    """Write the output; on a terminal a bar shows the progress."""
    from rich.progress import TaskProgressColumn

    from fgnet_pipeline.commands.progress_bars import progress

    with progress(TaskProgressColumn()) as bar:  # in percent: there are many voxels
        task = bar.add_task("import", total=None, note="")
        return write(job, output, lambda done, total: bar.update(task, completed=done, total=total))


def _tell(summary: dict[str, Any]) -> None:
    for name, found in summary["understood"].items():
        _tell_source(name, found)
    say(f"{'would write' if summary['dry_run'] else 'wrote'} {summary['output']}: {summary['shape']} voxels of "
        f"{summary['voxel_size_nm']} nm")  # fmt: skip
    if summary.get("neighbourhood"):
        say(f"neighbourhood: {summary['neighbourhood']}")
    if summary.get("labelled"):
        say(f"labels cover voxels {summary['labelled'][0]} to {summary['labelled'][1]}")
    if summary.get("nan_voxels"):
        say(f"{summary['nan_voxels']} voxels were NaN and became 0")
    for name, (begin, end) in summary.get("splits", {}).items():
        say(f"{name}: begin = {begin}, end = {end}")


def _tell_source(name: str, found: dict[str, Any]) -> None:
    low, high = found["values"]
    share = found["stored_share"]
    say(f"{name}: {found['path']}, axes {', '.join(found['axes'])}; read as z, y, x: {found['shape']} voxels of "
        f"{found['voxel_size_nm']} nm at {found['offset_nm']} nm")  # fmt: skip
    nan = f", {found['nan_share']:.2%} NaN" if found["nan_share"] else ""
    stored = f"; {share:.4g} of its chunks are stored" if share is not None and share < 1 else ""
    stored = "; all of its chunks are stored" if share == 1 else stored
    say(f"{name}: {found['dtype']}, values {low} to {high} in a sample{nan}{stored}")
    for note in found["notes"]:
        say(f"{name}: {note}")


def _labels_beside(raw: str, raw_format: str | None) -> str | None:
    """The file `raw` itself if it is HDF5 and also holds neuron ids, as CREMI's files do; else None."""
    from fgnet_pipeline.datasets.hdf5 import SUFFIXES, has_cremi_labels
    from fgnet_pipeline.datasets.source import local_path

    is_hdf5 = raw_format == "hdf5" or (raw_format is None and Path(raw).suffix.lower() in SUFFIXES)
    if not is_hdf5 or "://" in raw or not local_path(raw, "--raw").is_file():
        return None
    return raw if has_cremi_labels(raw) else None


def _names(option: str, text: str | None) -> tuple[str, ...] | None:
    """Parse the names of axes, e.g. `x,y,z` or `xyz`.

    Args:
        option: name, for errors.
        text: None if the option was not given.

    Raises:
        InputError: an empty or doubled name.
    """
    if text is None:
        return None
    names = tuple(part.strip().lower() for part in (text.split(",") if "," in text else text.strip()))
    if not all(names) or len(set(names)) != len(names):
        raise InputError(option, text, "one name per stored axis, in its order", "e.g. z,y,x")
    return names


def _numbers(option: str, text: str | None, count: int) -> Any:
    """Parse the numbers of an option, e.g. `4,4,4`.

    Args:
        option: name, for errors.
        text: None if the option was not given.
        count: how many numbers there must be.

    Returns:
        A tuple of finite floats; None if the option was not given.

    Raises:
        InputError: other text.
    """
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise InputError(option, text, f"{count} finite numbers separated by commas", "e.g. " + ",".join("4" * count))
    return values
