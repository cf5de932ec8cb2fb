"""The demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fgnet_pipeline.commands.options import ConfigFile, Overrides, Workers, extra


def demo_command(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    folder: Annotated[Path, typer.Option(help="Where the demo writes.")] = Path("demo"),
) -> None:
    """Segment the real sample with the shipped weights, score it, and draw an overlay."""
    from fgnet_pipeline.commands.demo import demo

    demo(config, folder, extra(set_, workers), typer.echo)
