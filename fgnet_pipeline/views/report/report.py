"""Make the report: open the result, write every section, and put the files beside tables and records."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fgnet_pipeline.core.config import Config, is_url
from fgnet_pipeline.core.errors import InputError, PipelineError
from fgnet_pipeline.core.user_paths import absolute_path, check_file_to_write
from fgnet_pipeline.core.version import __version__
from fgnet_pipeline.store.arrays import READ_ERRORS
from fgnet_pipeline.store.atomic_files import write_atomic
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.views.report import numbers
from fgnet_pipeline.views.report.doubt import QUEUE_HEADER, doubt_section, doubtful, queue_text
from fgnet_pipeline.views.report.facts import parameters_section, provenance_section, stages_section, volume_section
from fgnet_pipeline.views.report.html import GENERATOR, Html, Section, box, lacking, page, paragraph
from fgnet_pipeline.views.report.open_result import open_result
from fgnet_pipeline.views.report.percolation import percolation_section
from fgnet_pipeline.views.report.pictures import pictures_section
from fgnet_pipeline.views.report.result import Result
from fgnet_pipeline.views.report.sample import missing_for_sample, read_sample
from fgnet_pipeline.views.report.scores import Scores, scores_section
from fgnet_pipeline.views.report.seams import seams_section
from fgnet_pipeline.views.report.segments import segments_section

NAME, QUEUE = "report.html", "doubt.csv"
#: Said of a finished result without fragments.
EMPTY = "No voxel of the region lies in a fragment, so there is no segment."
#: A path with another suffix names a folder.
SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        path: of the page.
        queue: of the table of doubtful decisions; None if there is none.
        warnings: what stands out.
        missing: what is not there or cannot be read.
    """

    path: Path
    queue: Path | None
    warnings: tuple[str, ...]
    missing: tuple[str, ...]


def report_places(output: Output, to: Path | None) -> tuple[Path, Path]:
    """Where the page and the table of doubtful decisions are written.

    Args:
        output: of the run.
        to: a file whose name ends with .html, or a folder, which is made if it does not exist; None: among tables and
            records. In outputs of earlier versions these lie in the Zarr group itself, and the report among the logs.

    Raises:
        InputError: a file cannot be written there, a file that is no report has that name, or it would lie among the
            arrays of the output.
    """
    if to is None:
        is_group = output.state == output.root and not is_url(output.path)
        page_path = (output.logs if is_group else output.state) / NAME
    else:
        page_path = to if to.suffix.lower() in SUFFIXES and not to.is_dir() else to / NAME
        _check_apart(output, page_path)
    queue = page_path.with_name(QUEUE)
    for path, mark in ((page_path, GENERATOR), (queue, QUEUE_HEADER)):
        check_file_to_write(path, "--to")
        if path.is_file() and not _begins_with(path, mark):
            raise InputError("--to", str(path), "a new file, or an earlier report", "choose another place")
    return page_path, queue


def _check_apart(output: Output, page: Path) -> None:
    """Check that a report does not lie among arrays: programs that list them would find files that are no arrays.

    Raises:
        InputError: it lies there.
    """
    if is_url(output.path):
        return
    found = Path(absolute_path(str(page), None, "--to"))
    own = output.logs if output.state == output.root else output.state
    if found.is_relative_to(Path(output.path).resolve()) and not found.is_relative_to(own.resolve()):
        expected = "a place outside the output, whose folder holds only arrays and their records"
        raise InputError("--to", str(page), expected, "choose another place, or leave it out")


def _begins_with(path: Path, mark: str) -> bool:
    """Whether the begin of a file holds a text."""
    try:
        with path.open("rb") as stream:
            return mark.encode() in stream.read(1024)
    except OSError:
        return False


def write_report(config: Config, to: Path | None = None, scores: Scores | None = None) -> Report:
    """Write the report of an output, however far its run is.

    Args:
        config: of the run.
        to: see `report_places`.
        scores: against labels, if there are any.

    Raises:
        InputError: no run has begun, the configuration is not that of the output, or the place cannot be written.
    """
    result = open_result(config)
    path, queue = report_places(result.output, to)
    sections, rows = _sections(result, scores)
    warnings = [sentence for section in sections for sentence in section.warnings]
    summary = [_summary(result)]
    summary += [box("warn", warnings)] if warnings else []
    summary += [lacking(result.notes)] if result.notes else []
    name = PurePosixPath(result.output.path.rstrip("/")).name
    end = f"Written by fgnet {__version__} on {numbers.date(time.time())}."
    document = page(f"Report of {name}", summary, sections, end)
    try:
        write_atomic(path, document.encode())
        if rows is not None:
            write_atomic(queue, rows.encode())
        else:
            queue.unlink(missing_ok=True)  # of an earlier report, which said something else
    except OSError as error:
        raise InputError("--to", str(path), "a place that can be written", f"check it ({error.strerror})") from error
    return Report(path, queue if rows is not None else None, tuple(warnings), tuple(result.notes))


def _summary(result: Result) -> Html:
    done, stages = [s for s in result.tasks.values() if s.is_finished], result.tasks
    state = "finished" if len(done) == len(stages) else "not finished"
    where = numbers.plain(result.roi.shape) if result.roi else "unknown"
    return paragraph(f"Region of {where} voxels (z, y, x), threshold {result.threshold:g}; the run is {state}. "
                     "All positions are z, y, x.")  # fmt: skip


def _sections(result: Result, scores: Scores | None) -> tuple[list[Section], str | None]:
    """All sections, and the text of the table of doubtful decisions; None if there is none."""
    sections = [
        _made("volume", "Volume", lambda: volume_section(result)),
        _made("stages", "Stages: time and throughput", lambda: stages_section(result)),
        _made("pictures", "Pictures", lambda: pictures_section(result)),
    ]
    more, queue = _tables_sections(result)
    sections += [*more, _seams(result)]
    if scores is not None:
        sections.append(_made("scores", "Scores against labels", lambda: scores_section(result, scores)))
    sections += [
        _made("parameters", "Parameters", lambda: parameters_section(result)),
        _made("provenance", "Provenance", lambda: provenance_section(result)),
    ]
    return sections, queue


def _tables_sections(result: Result) -> tuple[list[Section], str | None]:
    """The sections that are made of tables, and the text of the queue."""
    titles = {"segments": "Segments", "percolation": "Percolation", "doubt": "Doubt"}
    missing = missing_for_sample(result)
    sample = None if missing else read_sample(result)
    if sample is None:
        is_empty = not missing and not (result.tasks["fragments"].nonzero & (result.tasks["fragments"].keys != 0)).any()
        why = missing or [EMPTY if is_empty else "a damaged table of fragments or merges"]
        sections = [Section(key, title).add(lacking(why)) for key, title in titles.items()]
        sections[0].warnings += [EMPTY] if is_empty else []
        return sections, None
    queue: list[str] = []

    def doubt() -> Section:
        edges = result.missing(["edges"])
        if edges:
            return Section("doubt", titles["doubt"]).add(lacking(edges))
        decisions = doubtful(result, sample)
        queue.append(queue_text(result, decisions))
        return doubt_section(result, sample, decisions, QUEUE)

    sections = [
        _made("segments", titles["segments"], lambda: segments_section(result, sample)),
        _made("percolation", titles["percolation"], lambda: percolation_section(result, sample)),
        _made("doubt", titles["doubt"], doubt),
    ]
    return sections, queue[0] if queue else None


def _seams(result: Result) -> Section:
    missing = [name for name in ("predict", "relabel") if name in result.tasks and not result.tasks[name].done]
    if missing or "relabel" not in result.tasks:
        return Section("seams", "Seams").add(lacking(result.missing([*missing, "relabel"])))
    return _made("seams", "Seams", lambda: seams_section(result))


def _made(key: str, title: str, make: Callable[[], Section]) -> Section:
    """A section; if its data are damaged, a section that says so."""
    try:
        return make()
    except (PipelineError, *READ_ERRORS) as error:
        return Section(key, title).add(lacking([f"this section cannot be made: {error}"]))
