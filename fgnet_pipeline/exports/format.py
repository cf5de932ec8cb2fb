"""The description of an export format: everything that is true of it, in its one file.

A format is one subclass of `Format` and one object of it, called `FORMAT`. It lies in a file of this folder, or in an
installed package that names it in the entry-point group `fgnet_pipeline.exports`. Its stages are stages like those of a
run (`fgnet_pipeline.stages.stage.Stage`): their blocks are computed by the same workers, recorded in the same way, and
continued after a kill.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fgnet_pipeline.core.config import is_url
from fgnet_pipeline.core.task import Task
from fgnet_pipeline.stages.stage import Stage

if TYPE_CHECKING:
    from fgnet_pipeline.exports.job import ExportJob


@dataclass(frozen=True)
class Options:
    """The options of an export. A format takes some of them (`Format.options`).

    Attributes:
        arrays: names of arrays; empty: those that the format writes by default.
        levels: number of levels of a pyramid; None: as many as the format finds useful.
        compact_ids: whether ids become 1, 2, 3, ... in the order of the stored ids.
        segments: ids of the segments to export; empty: all.
        min_voxels: smallest size of a segment that is exported.
    """

    arrays: tuple[str, ...] = ()
    levels: int | None = None
    compact_ids: bool = False
    segments: tuple[int, ...] = ()
    min_voxels: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The options as a JSON document. Ids are texts."""
        return {**asdict(self), "arrays": list(self.arrays), "segments": [str(id_) for id_ in self.segments]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Options:
        """The options that `to_dict` wrote."""
        segments = tuple(int(id_) for id_ in document["segments"])
        return cls(**{**document, "arrays": tuple(document["arrays"]), "segments": segments})

    def given(self) -> list[str]:
        """Names of the options that differ from their default."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]


class Format(ABC):
    """One export format.

    Attributes:
        name: FORMAT of `fgnet export`.
        summary: one sentence for `--help` and documents.
        is_folder: whether the target is a folder. Otherwise it is a file, and the last task alone writes it.
        takes_urls: whether the target may be a URL, e.g. of a database.
        options: names of the `Options` that the format takes.
        always_compact: whether ids are compact, whatever the options say.
        packages: optional packages that it needs, import name -> extra of this package that installs it.
        stages: the stages, in the order of the data flow. Their names are unique over all formats.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    is_folder: ClassVar[bool] = True
    takes_urls: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ()
    always_compact: ClassVar[bool] = False
    packages: ClassVar[Mapping[str, str]] = {}
    stages: ClassVar[tuple[Stage, ...]] = ()

    def plan(self, job: ExportJob) -> Sequence[Task]:
        """The tasks of this export, upstream tasks first. They may name tasks of the run as upstream.

        Raises:
            InputError: the options do not fit the result.
        """
        return [task for stage in self.stages for task in stage.plan(job)]

    def check(self, job: ExportJob) -> None:  # noqa: B027 (most formats have nothing more to check)
        """Check what the plan does not, e.g. that a database answers. Nothing is written.

        Raises:
            InputError: the export cannot be made.
        """

    def paths(self, job: ExportJob) -> Sequence[Path]:
        """All files and folders that the export writes for the user, the target first; none of a URL."""
        return [] if is_url(job.to) else [job.target]

    def is_written(self, job: ExportJob) -> bool:
        """Whether what the export has written for the user is still there. It may be unfinished."""
        paths = self.paths(job)
        return paths[0].exists() if self.is_folder else all(path.exists() for path in paths)

    @abstractmethod
    def begin(self, job: ExportJob) -> None:
        """Make the target ready for the blocks, e.g. write its metadata. It is called at the start of every run.

        What a former run of the same export has written must stay.
        """

    @abstractmethod
    def finish(self, job: ExportJob) -> list[str]:
        """Complete the target after all blocks, and return the lines to tell the user.

        It is called at the end of every run, also if no block was left to compute.
        """
