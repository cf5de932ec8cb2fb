"""`fgnet upgrade`: give the arrays of an output of an earlier version the metadata that arrays get today."""

from __future__ import annotations

from fgnet_pipeline.core.config import Config, is_url
from fgnet_pipeline.core.errors import InputError, StoreError
from fgnet_pipeline.stages.registry import array_names
from fgnet_pipeline.store.disk_errors import disk_errors
from fgnet_pipeline.store.driver_lock import DriverLock
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.store.ownership import unreachable


def upgrade(config: Config) -> dict[str, tuple[str, ...]]:
    """Add names and units of axes to the arrays that lack them. No voxel, record or table is touched.

    Args:
        config: of the run that made the output.

    Returns:
        Name of an array -> what was added to its metadata; empty if it lacked nothing.

    Raises:
        InputError: there is no output, a run works on it, or the metadata of an array cannot be read or written.
        DiskFullError: the disk is full.
    """
    output = Output(config.output.path, config.output.state)
    output.check(array_names())
    if not output.progress.root.is_dir():
        raise InputError("CONFIG|OUTPUT", output.path, "an output that `fgnet run` has begun", "name another")
    try:
        with disk_errors(output.root), DriverLock(output.progress.root / "lock", output.path):
            # All arrays are read before one is changed.
            found = {name: output.with_axes(name) for name in array_names() if _exists(output, name)}
            for name, (added, data) in found.items():
                if added:
                    _replace(output, name, data)
    except StoreError as error:
        raise unreachable(output.path, error) from error
    return {name: added for name, (added, _) in found.items()}


def _exists(output: Output, name: str) -> bool:
    if output.has_array(name):
        return True
    if output.has_chunks(name):
        remedy = "restore them from a copy" if is_url(output.path) else "`fgnet verify CONFIG --repair` restores them"
        expected = "an array with readable metadata (zarr.json)"
        raise InputError("CONFIG|OUTPUT", f"{output.path}/{name}", expected, remedy)
    return False


def _replace(output: Output, name: str, data: bytes) -> None:
    try:
        output.replace_metadata(name, data)
    except PermissionError as error:
        expected = f"an array whose metadata you may write ({error.strerror})"
        remedy = "have its owner run `chmod -R g+w` on the output"
        raise InputError("CONFIG|OUTPUT", f"{output.path}/{name}", expected, remedy) from error
