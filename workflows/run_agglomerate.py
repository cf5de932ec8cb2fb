#!/usr/bin/env python
"""Segment stored affinities: `run_agglomerate.py CONFIG [--set section.key=value] [--workers N]`.

`run_agglomerate.py --help` lists all options. `fgnet agglomerate` does the same.
"""

from fgnet_pipeline.commands.entry import run_agglomerate

if __name__ == "__main__":
    run_agglomerate()
