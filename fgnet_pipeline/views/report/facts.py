"""Sections of facts: the volume, the parameters, where results come from, and how long stages took."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.durations import duration
from fgnet_pipeline.core.errors import PipelineError
from fgnet_pipeline.core.version import __version__
from fgnet_pipeline.stages.recommended import of_model
from fgnet_pipeline.store.atomic_files import read_json
from fgnet_pipeline.store.records.latest import Totals
from fgnet_pipeline.views.report import numbers
from fgnet_pipeline.views.report.html import Section, how, lacking, paragraph, table
from fgnet_pipeline.views.report.result import Result

#: Packages that compute, read or write results.
PACKAGES = ("torch", "sam2", "numpy", "numba", "scipy", "zarr", "zarrs", "funlib.persistence", "pyarrow", "daisy")
#: Keys of the configuration that say how work is divided, not what is computed.
_SCHEDULE = "schedule"


def volume_section(result: Result) -> Section:
    """Shape, voxel size, place, region and mask."""
    section, config, frame = Section("volume", "Volume"), result.config, result.frame
    rows: list[tuple[str, str]] = [("raw", numbers.plain(config.volume.path)), ("output", result.output.path)]
    if config.affinities.path is not None:
        rows.append(("affinities", config.affinities.path))
    if config.fragments.path is not None:
        rows.append(("fragments", config.fragments.path))
    if result.bounds:
        shape = result.bounds.shape
        rows.append(("shape", f"{numbers.plain(shape)} voxels (z, y, x), {numbers.short(result.bounds.size / 1e6)} "
                     "million in all"))  # fmt: skip
    if frame is not None:
        rows += [("voxel size", f"{_sizes(frame.voxel_size)} nm"), ("offset of voxel 0", f"{_sizes(frame.offset)} nm")]
    if result.roi:
        begin, end = result.roi.begin, result.roi.end
        part = (
            "the whole volume" if result.roi == result.bounds else f"{result.roi.size / result.bounds.size:.1%} of it"
        )
        rows.append(("region", f"voxels {numbers.plain(begin)} to {numbers.plain(end)} ({part})"))
        if frame is not None:
            low, high = (np.asarray(frame.offset) + np.multiply(v, frame.voxel_size) for v in (begin, end))
            rows.append(("region in nm", f"{_sizes(low)} to {_sizes(high)}"))
            rows.append(("extent", " x ".join(f"{v / 1000:.4g}" for v in high - low) + " \u00b5m"))
    rows.append(("mask", config.volume.mask or "none: everything is tissue"))
    if not result.bounds:
        section.add(lacking(["no array of the output can be opened, so shape and voxel size are unknown"]))
    return section.add(table("Volume", ("what", "value"), rows))


def _sizes(values: Any) -> str:
    return ", ".join(f"{float(v):.10g}" for v in values)


def parameters_section(result: Result) -> Section:
    """The resolved configuration, and which values are defaults or the model's."""
    section = Section("parameters", "Parameters")
    section.add(how("The configuration with all values. The last column says whether a value is the default of the "
                    "project, or what the model recommends."))  # fmt: skip
    advised, defaults = _advised(result.config), Config.model_construct()
    rows: list[tuple[str, str, str]] = []
    divided: list[tuple[str, str, str]] = []
    for key, value in _flat(result.config.model_dump(mode="json")):
        table_name, _, name = key.partition(".")
        origin = (result.job.origins if result.job is not None else {}).get(key, "")
        if not origin and key in advised:
            origin = "as the model recommends" if advised[key] == value else f"the model recommends {advised[key]}"
        fields = getattr(type(getattr(defaults, table_name, None)), "model_fields", {})
        if not origin and name in fields and fields[name].default == _as_tuple(value):
            origin = "the default"
        (divided if table_name == _SCHEDULE else rows).append((key, numbers.plain(value), origin))
    section.add(table("What is computed", ("key", "value", "origin"), rows))
    return section.add(table("How the work is divided", ("key", "value", "origin"), divided))


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list) else value


def _advised(config: Config) -> dict[str, Any]:
    try:
        return {f"{table}.{key}": value for table, found in of_model(config).items() for key, value in found.items()}
    except PipelineError:
        return {}


def _flat(tables: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def provenance_section(result: Result) -> Section:
    """Inputs, settings and versions that made a result (from its fingerprints), and versions that write the page."""
    section = Section("provenance", "Provenance")
    section.add(how("The fingerprints say what stored results were made with. Versions are those of the installation "
                    "that wrote this report; a run does not record its own."))  # fmt: skip
    rows: list[tuple[str, str]] = []
    for name in result.tasks:
        made = result.output.progress.fingerprint(name) or {}
        for key in ("model", "implementation", "mode", "normalisation", "volume", "affinities", "fragments"):
            if made.get(key) is not None:
                label = {"model": "SHA-256 of the model", "volume": "identity of the raw volume"}.get(key, key)
                rows.append((f"{name}: {label}", _stated(made[key])))
        rows.append((f"{name}: format", _stated(made.get("format"))))
    section.add(table("Recorded with the results", ("what", "value"), rows))
    section.add(table("Runs", ("run", "first block begun", "last block finished", "blocks of"), _runs(result)))
    versions = [("fgnet-pipeline", f"{__version__}{_commit()}"), ("Python", platform.python_version())]
    versions += [(name, _version(name)) for name in PACKAGES]
    return section.add(table("Versions that wrote this report", ("package", "version"), versions))


def _stated(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {numbers.plain(v)}" for key, v in value.items())
    return numbers.plain(value)


def _runs(result: Result) -> list[tuple[str, str, str, str]]:
    spans: dict[int, list[tuple[float, float, str]]] = {}
    for name, state in result.tasks.items():
        for run, span in state.totals.runs.items():
            spans.setdefault(run, []).append((span.begin, span.end, name))
    rows = []
    for run, found in sorted(spans.items()):
        begin, end = min(b for b, _, _ in found), max(e for _, e, _ in found)
        rows.append((str(run), numbers.date(begin), numbers.date(end), ", ".join(name for _, _, name in found)))
    driver = read_json(result.output.progress.root / "driver.json")
    if isinstance(driver, dict) and driver.get("run") not in spans and isinstance(driver.get("started"), int | float):
        rows.append((str(driver.get("run")), f"started {numbers.date(driver['started'])}", "-", "no block recorded"))
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit of a checkout; nothing for an installed package."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    try:
        asked = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return f", commit {done.stdout.strip()}" if done.returncode == 0 else ""


def stages_section(result: Result) -> Section:
    """Blocks, times, throughput and memory of every stage, from the done records."""
    section = Section("stages", "Stages: time and throughput")
    missing = result.missing(result.tasks)
    if missing:
        section.warnings.append("The run is not finished: " + "; ".join(missing) + ".")
    section.add(
        how("From the done records. Time of blocks adds up over workers; wall time is from the begin of the first "
            "block to the end of the last, summed over runs. Voxels per second are those of wall time."),
    )  # fmt: skip
    if not result.tasks:
        return section.add(lacking(["no record can be read"]))
    rows = [_stage_row(result, stage) for stage in dict.fromkeys(state.stage for state in result.tasks.values())]
    columns = ("stage", "done", "blocks", "failed", "time of blocks", "per block", "wall time", "voxels/s",
               "peak memory", "machines")  # fmt: skip
    section.add(table("Stages", columns, rows))
    failed = [(name, state.failed) for name, state in result.tasks.items() if state.failed]
    if failed:
        section.add(paragraph("`fgnet status` names the failed blocks and their logs."))
    return section


def _stage_row(result: Result, stage: str) -> list[str]:
    states = [state for state in result.tasks.values() if state.stage == stage]
    totals = [state.totals for state in states]
    blocks, spent = sum(t.blocks for t in totals), sum(t.seconds for t in totals)
    wall, voxels = _wall(totals), sum(t.voxels for t in totals)
    active = "-" if any(state.active is None for state in states) else str(sum(s.active or 0 for s in states))
    peak, hosts = max(t.peak_memory for t in totals), set().union(*(t.hosts for t in totals))
    return [
        stage, str(sum(state.done for state in states)), active, str(sum(state.failed for state in states)),
        duration(spent), f"{spent / blocks:.3g} s" if blocks else "-", duration(wall),
        numbers.whole(voxels / wall) if wall > 0 else "-", numbers.memory(peak) if peak else "-",
        ", ".join(sorted(hosts)) or "-",
    ]  # fmt: skip


def _wall(totals: list[Totals]) -> float:
    """Seconds of wall time, summed over runs; tasks of one stage may overlap."""
    spans: dict[int, tuple[float, float]] = {}
    for total in totals:
        for run, span in total.runs.items():
            begin, end = spans.get(run, (np.inf, -np.inf))
            spans[run] = (min(begin, span.begin), max(end, span.end))
    return sum(end - begin for begin, end in spans.values())
