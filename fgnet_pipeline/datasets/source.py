"""What every reader gives: a three-dimensional array that is read box by box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fgnet_pipeline.core.errors import InputError, PipelineError
from fgnet_pipeline.core.geometry import Box, Vector

Size = tuple[float, float, float]


class Source(Protocol):
    """An opened file, folder or URL.

    Attributes:
        path: what the user named, for messages.
        shape: voxels, zyx.
        dtype: of the values as `read` gives them.
        axes: names of the stored axes, in their order.
        by_section: only whole sections can be decoded, so that boxes should span y and x.
        stored: share of the chunks that are stored, 0 to 1; None if the format has no chunks. A source of which nothing
            is stored is refused; a share of 0 means that some chunks are stored, but none that was looked at.
        notes: sentences about what the source states and this program does not use, or reads in a special way.
    """

    path: str
    shape: Vector
    dtype: np.dtype[Any]
    axes: tuple[str, ...]
    by_section: bool
    stored: float | None
    notes: tuple[str, ...]

    @property
    def voxel_size(self) -> Size | None:
        """Voxel size in nm, zyx; None if the source states none.

        Raises:
            InputError: the source states one that cannot be understood, e.g. in an unknown unit.
        """
        ...

    @property
    def offset(self) -> Size | None:
        """Position in nm, zyx, of the corner of the first voxel; None if the source states none.

        Raises:
            InputError: the source states one that cannot be understood.
        """
        ...

    def read(self, box: Box) -> NDArray[Any]:
        """The values (z, y, x) of a box inside the source.

        Raises:
            InputError: they cannot be read or decoded.
        """
        ...


@dataclass(frozen=True)
class Placement:
    """Where a source lies. Both are functions, so that an option can replace what the source states wrongly.

    Attributes:
        voxel_size: gives nm, zyx, or None if none is stated; raises InputError if it cannot be understood.
        offset: gives nm, zyx, of the corner of the first voxel, or None; raises InputError.
    """

    voxel_size: Callable[[], Size | None] = lambda: None
    offset: Callable[[], Size | None] = lambda: None


class Placed:
    """The attributes of a `Source` that most readers leave as they are."""

    placement = Placement()
    axes: tuple[str, ...] = ("z", "y", "x")
    by_section = False
    stored: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def voxel_size(self) -> Size | None:
        """See `Source`."""
        return self.placement.voxel_size()

    @property
    def offset(self) -> Size | None:
        """See `Source`."""
        return self.placement.offset()


@dataclass(frozen=True)
class Request:
    """What to open.

    Attributes:
        path: file, folder or URL.
        field: the option to name in errors: `--raw`, `--labels` or `--affinities`.
        dataset: inside a container (HDF5, N5), or the number of an image in a TIFF file.
        scale: level of a Neuroglancer volume, 0 = full resolution.
        axes: names of the stored axes, in their order; they override what the source states.
    """

    path: str
    field: str
    dataset: str | None = None
    scale: int = 0
    axes: tuple[str, ...] | None = None

    @property
    def is_raw(self) -> bool:
        """Whether grey values are read, so that what a file says about black and white counts."""
        return self.field == "--raw"

    @property
    def channels(self) -> bool:
        """Whether an axis of channels is read besides z, y and x."""
        return self.field == "--affinities"


def local_path(text: str, field: str) -> Path:
    """The path on this machine, with `~` replaced.

    Args:
        text: as the user typed it.
        field: the option to name in errors.

    Raises:
        InputError: nothing is there, a link leads nowhere, or no path can have this name.
    """
    try:
        path = Path(text).expanduser()
        if path.is_symlink() and not path.exists():
            raise InputError(field, text, "a file or a folder", f"the link leads to {path.readlink()}: mend the link")
        if not path.exists():
            raise InputError(field, text, "a file, a folder or a URL", "check the path")
        return path.absolute()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(field, text, "a path that exists", f"check the path ({first_line(error)})") from error


@contextmanager
def foreign(field: str, path: str, expected: str, remedy: str = "check the file, or fetch it anew") -> Iterator[None]:
    """Turn whatever a library raises on the bytes of a file into one sentence.

    Args:
        field: the option to name in errors.
        path: of the file.
        expected: what the file should be.
        remedy: what the user can do.

    Raises:
        InputError: instead of any other error.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:  # every parser and every codec raises its own kinds
        raise InputError(field, path, expected, f"{remedy} ({first_line(error)})") from error


def first_line(error: BaseException) -> str:
    """The first line of what an error says, at most 200 characters; else its name."""
    lines = str(error).split(" [source locations", 1)[0].strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def missing_package(field: str, path: str, package: str) -> InputError:
    """The error of a format whose reader is not installed."""
    remedy = f"pip install {package}, or pip install 'fgnet-pipeline[import]'"
    return InputError(field, path, f"the package {package}, which reads this format", remedy)


def check_three_axes(field: str, path: str, shape: tuple[int, ...]) -> Vector:
    """A shape in voxels, zyx.

    Raises:
        InputError: there are not three axes, or there is no voxel.
    """
    if len(shape) != 3 or 0 in shape:
        raise InputError(field, f"{path} of shape {list(shape)}", "voxels along z, y and x", "extract one grey channel")
    z, y, x = (int(n) for n in shape)
    return z, y, x
