"""Which modules the process that workers are forked from loads for the stages of a run."""

from __future__ import annotations

from collections.abc import Sequence

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.execution.processes.fork_server import KERNELS
from fgnet_pipeline.stages.stage import Stage
from fgnet_pipeline.store.object_store import packages_of


def modules_of(stages: Sequence[Stage], config: Config) -> list[str]:
    """The modules to load besides those that every worker needs.

    Args:
        stages: that have blocks to compute.
        config: of the run.

    Returns:
        The kernels of a run if a stage computes with the results of another one, then what the stages name, then the
        packages that read and write remote stores.
    """
    kernels = [] if all(stage.reads_inputs_only for stage in stages) else [KERNELS]
    own = [module for stage in stages for module in stage.preload(config)]
    return [*kernels, *own, *packages_of(config.model_dump(mode="json"))]
