"""What the workers of an export need, imported once by the process that they are forked from.

This module does work at import, so it does not lie among the formats, which every process imports. It is
`fgnet_pipeline.execution.processes.preload` without the kernels of a run, which take longer to load than a small export
takes to write.
"""

from __future__ import annotations

import gc
from contextlib import suppress

import pyarrow.parquet

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution import local_workers
from fgnet_pipeline.execution.processes.without_pandas import forgo_pandas
from fgnet_pipeline.exports.registry import formats
from fgnet_pipeline.stages.configuration import choices
from fgnet_pipeline.store import shard_codec

__all__ = ["local_workers", "pyarrow", "shard_codec"]

forgo_pandas()
with suppress(InputError):  # the driver reports a stage or a format of another distribution that does not fit
    choices()
    formats()
gc.freeze()
