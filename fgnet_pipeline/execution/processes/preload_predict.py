"""Kernels of stage predict, compiled or loaded once by the process that workers are forked from.

Like `fgnet_pipeline.execution.processes.preload`, it does its work at import. Runs without a network do without it.
"""

from __future__ import annotations

from fgnet_pipeline.kernels.cpu_steps import warm_up

warm_up()
