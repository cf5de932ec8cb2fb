#!/usr/bin/env python
"""Predict affinities from raw: `run_predict.py CONFIG [--set section.key=value] [--workers N]`.

`run_predict.py --help` lists all options. `fgnet predict` does the same.
"""

from fgnet_pipeline.commands.entry import run_predict

if __name__ == "__main__":
    run_predict()
