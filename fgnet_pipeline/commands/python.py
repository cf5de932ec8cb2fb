"""The commands as functions: what `import fgnet_pipeline as fp` offers beside reading a result.

Each function checks its input as the command of its name does, with the same sentences, and prints no result. Only a
region that is smaller than the context of the model is accepted here, as by the commands with `--yes`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fgnet_pipeline.commands.evaluate import Scoring, score
from fgnet_pipeline.commands.python_arguments import (
    Configuration,
    Overrides,
    check_number,
    config_of,
    configured,
    segmentation_of,
    text_of,
    typed,
)
from fgnet_pipeline.commands.quiet import WARNING
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.views.report.report import Report
from fgnet_pipeline.views.result import Result
from fgnet_pipeline.views.server import ViewServer


def run(
    config: Configuration,
    stages: tuple[str, ...] | None = None,
    *,
    set: Overrides = None,
    workers: int | None = None,
    redo: str | None = None,
) -> Result:
    """Compute everything that is not done yet, as `fgnet run` does.

    On a terminal progress bars are drawn on standard error. Elsewhere only warnings are printed there.

    Args:
        config: path of a TOML file, or its tables as a mapping; relative paths in a mapping are relative to the working
            directory.
        stages: names of the stages to compute; None: all.
        set: overrides: `section.key=value` texts, or a mapping of section.key to value.
        workers: number of worker processes; 0 computes in this process. None: what the configuration says.
        redo: replace the results of this stage and of all later stages.

    Returns:
        The result, as `fgnet_pipeline.open` gives it.

    Raises:
        InputError: bad input; nothing has been written.
        BlocksFailedError: some blocks failed, which the message lists; all others are done.
        KeyboardInterrupt: Ctrl-C; the workers have ended, and a second call goes on.
    """
    from fgnet_pipeline.commands.progress_bars import Bars, is_shown
    from fgnet_pipeline.execution import run as runner

    resolved = configured(config, set, workers)
    shown = is_shown()
    with Bars() as bars:

        def tell(sentence: str) -> None:
            if shown or sentence.startswith(WARNING):
                bars.say(sentence)

        try:
            job = runner.run(resolved, stages, redo, bars, tell)
        except KeyboardInterrupt:
            # The last line of a traceback is what a reader of a script's output sees.
            raise KeyboardInterrupt("stopped; finished blocks are kept: call fp.run again to go on") from None
    return Result(job.config)


def plan(config: Configuration, *, set: Overrides = None, workers: int | None = None) -> dict[str, Any]:
    """Estimate blocks, memory, disk and hours of a run, as `fgnet plan --json` does. Nothing is written.

    Args:
        config: as for `run`.
        set: as for `run`.
        workers: as for `run`.

    Returns:
        The document of `fgnet plan --json`.

    Raises:
        InputError: the run cannot work.
    """
    from fgnet_pipeline.planning.estimate import estimate

    return estimate(configured(config, set, workers)).to_dict()


def evaluate(
    result: Configuration | Result,
    labels: str | Path | None = None,
    *,
    skeletons: str | Path | None = None,
    begin: Sequence[int] | None = None,
    end: Sequence[int] | None = None,
    protocol: str = "fgnet",
    workers: int = 1,
    worst: int = 5,
    fragments: str | Path | None = None,
    oracle: bool = True,
    skeleton_unit: str = "nm",
    skeletons_from_labels: bool = False,
    merge_nodes: int = 1,
) -> dict[str, Any]:
    """Score a segmentation against labels, against skeletons, or both, as `fgnet evaluate --json` does.

    Args:
        result: what `run` or `open` returned, a configuration, an output, or an array of segment ids.
        labels: path or URL of a Zarr array of ground truth; voxels with 0 are ignored.
        skeletons: folder of SWC files in nm, or of precomputed skeletons.
        begin: first voxel of the labels to score, zyx.
        end: voxel after the last one to score, zyx.
        protocol: fgnet, cremi or snemi.
        workers: number of threads.
        worst: how many splits, and how many mergers, to list with their positions at most; 0 for no list.
        fragments: path or URL of the fragments that were merged; None: those of the output that holds the segmentation.
        oracle: whether to score the fragments as if they were merged without an error, too.
        skeleton_unit: unit of SWC files that state none.
        skeletons_from_labels: make the skeletons from `labels`.
        merge_nodes: a segment holds a skeleton if it holds so many of its nodes.

    Returns:
        The document of `fgnet evaluate --json`: the scores; `oracle`, if the fragments are known; `worst`, with
        `splits` and `mergers`; `skeletons`, if there are some.

    Raises:
        InputError: bad input, or nothing to score against.
    """
    check_number("workers", workers, 1)
    check_number("worst", worst, 0)
    check_number("merge_nodes", merge_nodes, 1)
    scoring = Scoring(
        skeleton_unit, skeletons_from_labels, merge_nodes, typed(begin), typed(end), workers, protocol, worst,
        text_of(fragments), oracle,
    )  # fmt: skip
    document, _ = score(segmentation_of(result), text_of(labels), text_of(skeletons), scoring)
    return document


def report(result: Configuration | Result, to: str | Path | None = None, *, labels: str | Path | None = None) -> Report:
    """Write one page about a result that opens without a network, as `fgnet report` does.

    Args:
        result: what `run` or `open` returned, a configuration, or an output.
        to: file or folder for the page; None: among tables and records.
        labels: path or URL of a Zarr array of labels to score against.

    Returns:
        What was written (`path`, `queue`), with `warnings` and what is `missing`.

    Raises:
        InputError: bad input; nothing has been written.
    """
    from fgnet_pipeline.commands.report import report as write

    return write(config_of(result), None if to is None else Path(to), text_of(labels))


class Viewing:
    """A view that is served on 127.0.0.1 until `stop`, the end of its `with` statement, or the end of Python.

    Attributes:
        url: address of the view on this machine; who knows it can read the arrays of the view, but change nothing.
        state: state of Neuroglancer, as it would be written in JSON.
    """

    def __init__(self, server: ViewServer) -> None:
        self._server, self.url, self.state = server, server.url, server.state

    def stop(self) -> None:
        """End the server. A second call does nothing."""
        if not self._server.closing.is_set():
            self._server.server_close()

    def __enter__(self) -> Viewing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Viewing({self.url!r})"

    def _repr_html_(self) -> str:
        """A link, which a notebook shows."""
        address = html.escape(self.url, quote=True)
        return f'<a href="{address}" target="_blank" rel="noopener noreferrer">{address}</a>'


def view(
    result: Configuration | Result,
    *,
    at: Sequence[int] | None = None,
    segment: int | str | None = None,
    labels: str | Path | None = None,
    port: int = 0,
) -> Viewing:
    """Show a result in Neuroglancer, as `fgnet view` does, but return at once and open no browser.

    Args:
        result: what `run` or `open` returned, a configuration, or an output; the run may be unfinished.
        at: voxel to centre on, zyx.
        segment: id of the segment to select, and to centre on unless `at` says otherwise.
        labels: path or URL of a Zarr array of labels to show, too.
        port: of 127.0.0.1; 0 takes a free one.

    Returns:
        The view, which is served already.

    Raises:
        InputError: an argument that does not fit, or an output that holds no array.
    """
    from fgnet_pipeline.views.server import view_server
    from fgnet_pipeline.views.view import open_view

    if not 0 <= port <= 65535:
        raise InputError("port", port, "a number from 0 to 65535", "change it, or leave it out")
    shown = open_view(config_of(result), text_of(labels), typed(at), None if segment is None else str(segment))
    server = view_server(shown, port)
    server.start()
    return Viewing(server)
