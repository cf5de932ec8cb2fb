"""FGNet pipeline: raw volume electron microscopy to one global neuron segmentation, block by block.

The names in `__all__` are what scripts may rely on; each is imported when it is first used.

    config = fgnet_pipeline.load_config("my.toml", ["schedule.workers=8"])
    job = fgnet_pipeline.run(config)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgnet_pipeline.core.config import Config
    from fgnet_pipeline.core.errors import BlocksFailedError, DamageError, InputError, PipelineError, StaleError
    from fgnet_pipeline.evaluation.comparison import compare
    from fgnet_pipeline.execution.run import run
    from fgnet_pipeline.execution.status import Watch
    from fgnet_pipeline.stages.configuration import load_config
    from fgnet_pipeline.verification.verify import verify

__version__ = "0.1.0"

#: Public name -> the module that defines it.
_PLACES = {
    "BlocksFailedError": "fgnet_pipeline.core.errors",
    "Config": "fgnet_pipeline.core.config",
    "DamageError": "fgnet_pipeline.core.errors",
    "InputError": "fgnet_pipeline.core.errors",
    "PipelineError": "fgnet_pipeline.core.errors",
    "StaleError": "fgnet_pipeline.core.errors",
    "Watch": "fgnet_pipeline.execution.status",
    "compare": "fgnet_pipeline.evaluation.comparison",
    "load_config": "fgnet_pipeline.stages.configuration",
    "run": "fgnet_pipeline.execution.run",
    "verify": "fgnet_pipeline.verification.verify",
}
__all__ = [
    "BlocksFailedError",
    "Config",
    "DamageError",
    "InputError",
    "PipelineError",
    "StaleError",
    "Watch",
    "compare",
    "load_config",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
