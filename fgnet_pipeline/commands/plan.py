"""`fgnet plan`: estimate what a run needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from fgnet_pipeline.commands.options import ConfigFile, Json, Overrides, Workers, Yes, configured

if TYPE_CHECKING:
    from fgnet_pipeline.planning.document import Estimate, StageEstimate


def plan_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    trial: Annotated[
        bool, typer.Option("--trial", help="Compute one block of every stage in a temporary folder, and measure it.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Estimate blocks, memory, disk and hours of a run, and check that it can work.

    Nothing is written to the output.
    """
    from fgnet_pipeline.planning.estimate import estimate

    found = estimate(configured(config, set_, workers), trial, small_region=yes)
    typer.echo(json.dumps(found.to_dict()) if as_json else "\n".join(_lines_of(found)))


def _lines_of(found: Estimate) -> list[str]:
    lines = [
        found.region.sentence,
        f"{'task':14s} {'blocks':>9s} {'empty':>9s} {'done':>9s} {'left':>9s} {'block':>15s} {'read':>15s} "
        f"{'GiB':>6s} {'s/block':>8s} {'hours':>8s}  memory; seconds from",
    ]
    return [*map(str, found.inputs), *lines, *map(_stage, found.stages), *_storage(found), *_bounds(found),
            *_settings(found),
            *(f"warning: {warning}" for warning in found.warnings)]  # fmt: skip


def _settings(found: Estimate) -> list[str]:
    return [f"values that the configuration leaves open: {', '.join(found.settings)}"] if found.settings else []


def _stage(s: StageEstimate) -> str:
    seconds = "-" if s.seconds_per_block is None else f"{s.seconds_per_block:.3g}"
    hours = "-" if s.worker_hours is None else f"{s.worker_hours:.3g}"
    return (
        f"{s.task:14s} {s.blocks:9d} {s.empty:9d} {s.done:9d} {s.left:9d} {_shape(s.block_shape):>15s} "
        f"{_shape(s.read_shape):>15s} {s.memory_bytes / 2**30:6.2f} {seconds:>8s} {hours:>8s}  "
        f"{s.memory_from}; {s.seconds_from}"
    )


def _storage(found: Estimate) -> list[str]:
    from fgnet_pipeline.planning.readable import readable

    lines = []
    for a in found.arrays:
        lines.append(
            f"{a.name}: {a.dtype} {_shape(a.shape)}, {a.shards} shards of {_shape(a.shard_shape)}, "
            f"{a.chunks} chunks of {_shape(a.chunk_shape)}, {readable(a.bytes)} ({a.bytes_from}), "
            f"at most {readable(a.bytes_bound)}"
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
    hours = "-" if found.worker_hours is None else f"{found.worker_hours:.3g}"
    wall = "unknown: --trial measures it" if found.wall_hours is None else f"{found.wall_hours:.3g} hours"
    lines.append(f"octree: {found.octree_levels} levels")
    lines.append(f"time: {hours} worker-hours; with {found.workers} workers: {wall}")
    return lines


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape))
