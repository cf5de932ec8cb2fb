"""An output is not written among another program's arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.output import Output


def test_an_array_of_another_program_is_refused_if_a_stage_writes_one_of_that_name(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "out.zarr"))
    output.create()
    zarr.open_group(tmp_path / "out.zarr", mode="r+").create_array("outlines", data=np.zeros(3, np.uint8))
    output.check(["affinities", "segmentation"])
    with pytest.raises(InputError, match=r"no array 'outlines' that another program wrote"):
        output.check(["affinities", "outlines"])
