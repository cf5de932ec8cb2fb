"""FGNet pipeline: raw volume electron microscopy to one global neuron segmentation, block by block.

The names in `__all__` are what scripts may rely on; each is imported when it is first used.

    import fgnet_pipeline as fp

    result = fp.run("my.toml", workers=8)           # or the tables of a configuration
    result = fp.open("my_output.zarr")              # a result that exists, finished or not
    result.segmentation[100].compute()              # arrays as dask: one section as numpy
    result.table("edges").to_table().to_pandas()    # tables as Arrow
    fp.evaluate(result, "my_labels.zarr/labels")["voi_sum"]
    fp.view(result).url                             # Neuroglancer, served until `stop`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgnet_pipeline.commands.python import Viewing, evaluate, plan, report, run, view
    from fgnet_pipeline.core.config import Config
    from fgnet_pipeline.core.errors import BlocksFailedError, DamageError, InputError, PipelineError, StaleError
    from fgnet_pipeline.core.version import __version__ as __version__
    from fgnet_pipeline.evaluation.comparison import compare
    from fgnet_pipeline.evaluation.skeleton_scores import score_skeletons
    from fgnet_pipeline.execution.status import Watch
    from fgnet_pipeline.stages.configuration import load_config
    from fgnet_pipeline.verification.verify import verify
    from fgnet_pipeline.views.result import Result
    from fgnet_pipeline.views.result import open_result as open

#: Public name -> the module that defines it, with the name there if it is another one.
_PLACES = {
    "BlocksFailedError": "fgnet_pipeline.core.errors",
    "Config": "fgnet_pipeline.core.config",
    "DamageError": "fgnet_pipeline.core.errors",
    "InputError": "fgnet_pipeline.core.errors",
    "PipelineError": "fgnet_pipeline.core.errors",
    "Result": "fgnet_pipeline.views.result",
    "StaleError": "fgnet_pipeline.core.errors",
    "Viewing": "fgnet_pipeline.commands.python",
    "Watch": "fgnet_pipeline.execution.status",
    "__version__": "fgnet_pipeline.core.version",
    "compare": "fgnet_pipeline.evaluation.comparison",
    "evaluate": "fgnet_pipeline.commands.python",
    "load_config": "fgnet_pipeline.stages.configuration",
    "open": "fgnet_pipeline.views.result:open_result",
    "plan": "fgnet_pipeline.commands.python",
    "report": "fgnet_pipeline.commands.python",
    "run": "fgnet_pipeline.commands.python",
    "score_skeletons": "fgnet_pipeline.evaluation.skeleton_scores",
    "verify": "fgnet_pipeline.verification.verify",
    "view": "fgnet_pipeline.commands.python",
}
__all__ = [
    "BlocksFailedError",
    "Config",
    "DamageError",
    "InputError",
    "PipelineError",
    "Result",
    "StaleError",
    "Viewing",
    "Watch",
    "compare",
    "evaluate",
    "load_config",
    "open",
    "plan",
    "report",
    "run",
    "score_skeletons",
    "verify",
    "view",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, defined = _PLACES[name].partition(":")
    return getattr(import_module(module), defined or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
