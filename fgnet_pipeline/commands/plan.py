"""`fgnet plan`: estimate what a run needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_pipeline.commands.options import ConfigFile, Json, Overrides, Workers, Yes, configured
from fgnet_pipeline.commands.quiet import is_told
from fgnet_pipeline.commands.tables import flowing, table, terminal_columns
from fgnet_pipeline.core.durations import duration

if TYPE_CHECKING:
    from fgnet_pipeline.planning.document import Estimate, StageEstimate

#: Of the table. Each source stands after the number that it is the source of.
TITLES = ("task", "blocks", "empty", "done", "left", "block", "read", "GiB", "GiB from", "s/block", "time", "time from")


def plan_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    trial: Annotated[
        bool, typer.Option("--trial", help="Compute one block of every stage in a temporary folder, and measure it.")
    ] = False,
    gpu: Annotated[
        str | None,
        typer.Option(help="Model of GPU for the affinities, e.g. H200: take its measured rate for their time."),
    ] = None,
    gpu_price: Annotated[
        float | None, typer.Option(help="Price of an hour of one GPU, in any currency, for the cost.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Estimate blocks, memory, disk and hours of a run, and check that it can work.

    Nothing is written to the output.
    """
    from fgnet_pipeline.planning.estimate import estimate

    found = estimate(configured(config, set_, workers), trial, yes, gpu, gpu_price)
    typer.echo(json.dumps(found.to_dict()) if as_json else "\n".join(_lines_of(found)))


def _lines_of(found: Estimate) -> list[str]:
    rows = table(TITLES, [_row(stage) for stage in found.stages], columns=terminal_columns())
    explained = filter(is_told, [*map(str, found.inputs), found.region.sentence])
    said = [*_storage(found), *_bounds(found), *filter(is_told, _settings(found)),
            *(f"warning: {warning}" for warning in found.warnings)]  # fmt: skip
    return [*map(flowing, explained), *rows, *map(flowing, said)]


def _settings(found: Estimate) -> list[str]:
    return [f"values that the configuration leaves open: {', '.join(found.settings)}"] if found.settings else []


def _row(s: StageEstimate) -> list[str]:
    seconds = "-" if s.seconds_per_block is None else f"{s.seconds_per_block:.3g}"
    return [s.task, *map(str, (s.blocks, s.empty, s.done, s.left)), _shape(s.block_shape), _shape(s.read_shape),
            f"{s.memory_bytes / 2**30:.2f}", s.memory_from, seconds, _time(s.worker_hours), s.seconds_from]  # fmt: skip


def _time(hours: float | None, unknown: str = "-") -> str:
    return unknown if hours is None else duration(3600 * hours)


def _storage(found: Estimate) -> list[str]:
    from fgnet_pipeline.planning.readable import readable

    lines = []
    for a in found.arrays:
        # An array without shards has one file per chunk.
        shards = "" if a.shard_shape == a.chunk_shape else f"{a.shards} shards of {_shape(a.shard_shape)}, "
        lines.append(
            f"{a.name}: {a.dtype} {_shape(a.shape)}, {shards}{a.chunks} chunks of {_shape(a.chunk_shape)}, "
            f"{readable(a.bytes)} ({a.bytes_from}), at most {readable(a.bytes_bound)}"
        )
    files, size = sum(t.files for t in found.tables), sum(t.bytes for t in found.tables)
    lines.append(f"tables and records: {files} files, {readable(size)}, at {found.density.fragments:.0f} fragments and "
                 f"{found.density.edges:.0f} edges per million voxels ({found.density.source})")  # fmt: skip
    free = "unknown" if found.free_disk_bytes is None else readable(found.free_disk_bytes)
    lines.append(
        f"disk: {readable(found.disk_bytes)} in all, {readable(found.disk_bytes_left)} to be written, {free} free"
    )
    lines.append(f"inodes: up to {found.inodes} in all, {found.free_inodes or 'unknown'} free")
    return lines


def _bounds(found: Estimate) -> list[str]:
    ids, lines = found.ids, []
    if ids["packed"]:
        lines.append(
            f"ids: {_shape(ids['blocks_per_axis'])} blocks, at most {ids['max_blocks_per_axis']} per axis; "
            f"{ids['voxels_per_block']} voxels per block, at most {ids['max_fragments_per_block']} fragments"
        )
    if found.tiles is not None:
        t = found.tiles
        lines.append(f"tiles: {t['computed']} computed, {t['needed']} needed; {_shape(t['shape'])} voxels each, "
                     f"{_shape(t['stride'])} voxels apart")  # fmt: skip
    wall = _time(found.wall_hours, "unknown: --trial measures it")
    lines.append(f"octree: {found.octree_levels} levels")
    lines.append(f"time: {_time(found.worker_hours)} of one worker; with {found.workers} workers: {wall}")
    return [*lines, *_gpu_lines(found)]


def _gpu_lines(found: Estimate) -> list[str]:
    gpu = found.gpu
    if gpu is None:
        return []
    side = f"; {_time(gpu.hours)} with {gpu.workers} of them" if gpu.workers > 1 else ""
    energy = "" if gpu.kwh is None else f", {gpu.kwh:.3g} kWh"
    cost = "" if gpu.cost is None else f", cost {gpu.cost:.2f}"
    return [
        f"GPU: the affinities take one {gpu.gpu} {_time(gpu.gpu_hours)}{side}{energy}{cost}, by "
        f"{gpu.voxels_per_second / 1e6:g} Mvoxel/s ({gpu.architecture}, {gpu.mode}: tiles alone, without reading and "
        f"writing, measured {gpu.measured})"
    ]


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape))
