"""`fgnet model describe`: the size and cost of a network."""

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
            help="tiny, small, base_plus, large, nano, nano-sections, the name of shipped weights, a .safetensors file "
            "or a TOML configuration.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Describe a model: parameters, tile, context, receptive shape, and operations per output voxel.

    Operations are given for every mode of inference.
    """
    from fgnet_pipeline.core.user_paths import absolute_path
    from fgnet_pipeline.training.describe_model import describe_model

    absolute_path(name, None, "NAME")  # refuses what can be no file
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
