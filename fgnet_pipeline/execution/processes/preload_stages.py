"""What every worker of a run needs, imported once by the process that workers are forked from.

Like `fgnet_pipeline.execution.processes.preload`, it does its work at import. It finds all stages. What is loaded is
left out of garbage collection, which would copy it in every worker.
"""

from __future__ import annotations

import gc
from contextlib import suppress

import pyarrow.parquet

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas
from fgnet_pipeline.stages.configuration import choices

__all__ = ["pyarrow"]

forgo_pandas()
with suppress(InputError):  # the driver reports a stage of another distribution that does not fit
    choices()
gc.freeze()
