#!/usr/bin/env python
"""affinities -> segmentation: ``run_agglomerate.py CONFIG [--set section.key=value] [--workers N]``, see ``--help``."""

from fgnet_pipeline.commands.entry import run_agglomerate

if __name__ == "__main__":
    run_agglomerate()
