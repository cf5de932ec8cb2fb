"""The picture of a sweep: the scores as curves over the threshold."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.evaluation.sweep import PLATEAU_SHARE, Sweep
from fgnet_pipeline.store.atomic_files import write_atomic


def save_curve(result: Sweep, path: Path, title: str) -> None:
    """Draw VOI (bits) and adapted Rand error over the threshold, with the best point and the plateau.

    Args:
        result: the curve.
        path: of the PNG, which is written whole or not at all.
        title: above the curves.

    Raises:
        InputError: `path` cannot be written.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    at = [point.threshold for point in result.curve]
    marker = "." if len(at) < 40 else ""
    for name, colour in (("voi_sum", "black"), ("voi_split", "tab:blue"), ("voi_merge", "tab:red")):
        axes.plot(at, [getattr(point, name) for point in result.curve], color=colour, marker=marker, label=name)
    axes.axvspan(*result.plateau, color="tab:green", alpha=0.15, label=f"within {PLATEAU_SHARE:.0%} of the best")
    axes.axvline(result.best.threshold, color="tab:green", label=f"best: {result.best.threshold:g}")
    axes.set(xlabel="threshold on the mean affinity", ylabel="bits", title=title, ylim=(0, None))
    rand = axes.twinx()
    errors = [point.adapted_rand_error for point in result.curve]
    rand.plot(at, errors, color="tab:orange", marker=marker, linestyle="--", label="adapted Rand error")
    rand.set(ylabel="adapted Rand error", ylim=(0, 1))
    handles = [*axes.get_legend_handles_labels()[0], *rand.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    try:
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        raise InputError("--png", str(path), "a file that can be written", f"check it ({error.strerror})") from error
