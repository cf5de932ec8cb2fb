"""model describe: what a network is and what it costs."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from fgnet_pipeline.commands.options import Json


def describe_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="tiny, small, base_plus, large, nano, a shipped name, a .safetensors file or a TOML configuration.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Parameters, operations an output voxel in every mode, tile, context and receptive shape of a model."""
    from fgnet_pipeline.training.describe_model import describe_model

    found = describe_model(name)
    typer.echo(json.dumps(found) if as_json else _table(found))


def _table(found: dict[str, Any]) -> str:
    size = "x".join(f"{v:g}" for v in found["voxel_size"])
    lines = [
        f"{found['name']}: {found['architecture']}, guidance {found['guidance']}, voxels of {size} nm",
        f"parameters       {found['parameters'] / 1e6:.2f} M",
        f"of the encoder   {found['encoder_parameters'] / 1e6:.2f} M",
    ]
    lines += [f"{key.replace('_', ' '):16s} {found[key]}" for key in ("tile", "context", "receptive_shape")]
    for mode, values in found["modes"].items():
        flop = f"{values['flop_per_output_voxel'] / 1e6:.3f} MFLOP/voxel"
        lines.append(f"mode {mode:11s} {flop}, tile {values['tile']}, stride {values['stride']}")
    return "\n".join(lines)
