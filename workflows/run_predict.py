#!/usr/bin/env python
"""raw -> affinities: ``run_predict.py CONFIG [--set section.key=value] [--workers N]``, see ``--help``."""

from fgnet_pipeline.commands.entry import run_predict

if __name__ == "__main__":
    run_predict()
