"""What the workers of an export need, imported once by the process that they are forked from.

This module does work at import, so it does not lie among the formats, which every process imports.
"""

from __future__ import annotations

import gc
from contextlib import suppress

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution import local_workers
from fgnet_pipeline.execution.processes import preload_stages
from fgnet_pipeline.exports.registry import formats
from fgnet_pipeline.store import shard_codec

__all__ = ["local_workers", "preload_stages", "shard_codec"]

with suppress(InputError):  # the driver reports a format of another distribution that does not fit
    formats()
gc.freeze()
