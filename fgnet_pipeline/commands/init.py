"""`fgnet init`: write a configuration that fits a volume."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fgnet_pipeline.commands.options import Json, Overrides, Workers, extra, say
from fgnet_pipeline.core.errors import InputError

if TYPE_CHECKING:
    from fgnet_pipeline.planning.no_volume import ImportNeededError
    from fgnet_pipeline.planning.proposal import Proposal

#: Ends of the names of containers; what comes before is the name of a volume.
CONTAINERS = (".zarr", ".n5", ".h5", ".hdf", ".hdf5", ".tif", ".tiff", ".ome")


def init_command(
    volume: Annotated[
        str, typer.Argument(metavar="VOLUME", help="Zarr array of the raw volume, or its group; folder or URL.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE.toml", help="File to write. Default: the name of the volume, in this folder."
        ),
    ] = None,
    set_: Overrides = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Look at a volume, and write a configuration that fits it, with the reason for every value.

    No file is ever replaced.
    """
    from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas

    forgo_pandas()
    from fgnet_pipeline.core.config import is_url
    from fgnet_pipeline.core.user_paths import absolute_path
    from fgnet_pipeline.planning.no_volume import ImportNeededError
    from fgnet_pipeline.planning.proposal import propose
    from fgnet_pipeline.store.atomic_files import write_new

    path = volume if is_url(volume) else absolute_path(volume, None, "VOLUME", follow_links=False)
    file = _file(to or Path(f"{_name(path)}.toml"))
    given = extra(set_, workers)
    try:
        found = propose(path, file, given)
    except ImportNeededError as error:
        _ask_to_import(volume, error, given)
    try:
        write_new(file, found.text.encode())
    except FileExistsError as error:
        raise _taken(file) from error
    except OSError as error:
        raise InputError("--to", str(file), "a file that can be written", f"check it ({error.strerror})") from error
    _tell(found, file, str(to or file.name), as_json)


def _name(path: str) -> str:
    """The name of a volume: that of the container if there is one, else of the array."""
    parts = [part for part in path.rstrip("/").split("/") if part]
    held = next((part for part in reversed(parts) if part.lower().endswith(CONTAINERS)), parts[-1] if parts else "")
    while held.lower().endswith(CONTAINERS):
        held = held.rpartition(".")[0]
    return held or "volume"


def _file(to: Path) -> Path:
    """The file to write, absolute, after a check that nothing has its name and that it can be written."""
    from fgnet_pipeline.core.user_paths import absolute_path, check_file_to_write

    file = Path(absolute_path(str(to), None, "--to"))
    if os.path.lexists(to) or os.path.lexists(file):
        raise _taken(file)
    check_file_to_write(file, "--to")
    return file


def _taken(file: Path) -> InputError:
    return InputError("--to", str(file), "a new file (something has this name)", "choose another name with --to")


def _ask_to_import(volume: str, error: ImportNeededError, given: list[str]) -> NoReturn:
    """Say by which command the volume becomes Zarr.

    Raises:
        InputError: always.
    """
    from fgnet_pipeline.datasets.import_command import import_remedy
    from fgnet_pipeline.planning.proposal import given_keys

    config = given_keys(volume, Path.cwd() / "any.toml", given)[1]
    name = _name(volume.rstrip("/"))
    output = f"{name}.zarr" if not Path(f"{name}.zarr").exists() else f"{name}_imported.zarr"
    remedy = import_remedy(volume, output, config.volume.voxel_size)
    raise InputError(error.field, f"{volume} ({error.seen})", "a Zarr array of integers", remedy) from error


def _tell(found: Proposal, file: Path, named: str, as_json: bool) -> None:
    from fgnet_pipeline.planning.proposal import warnings_for

    warnings = warnings_for(found)
    if as_json:
        typer.echo(json.dumps({"config": str(file), **found.to_dict()}))
        return
    for given in found.plan.inputs:
        say(str(given))
    if found.model is not None and found.fits:
        say(f"model: {found.model.name} fits these voxels")
    for sentence in warnings:
        say(f"warning: {sentence}")
    say(f"next: fgnet plan {named} --trial; fgnet run {named}")
    typer.echo(file)
