"""The one rule about voxels without a label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.convert import to_ids
from fgnet_pipeline.kernels.labels import known_labels

RESERVED = {
    "int8": (-1, -2, -3), "int16": (-1, -2, -3), "int32": (-1, -2, -3), "int64": (-1, -2, -3), "uint8": (),
    "uint16": (), "uint32": (2**32 - 1, 2**32 - 2, 2**32 - 3), "uint64": (2**64 - 1, 2**64 - 2, 2**64 - 3),
}  # fmt: skip


@pytest.mark.parametrize("dtype", RESERVED)
@given(data=st.data())
def test_every_type_has_its_reserved_ids(dtype: str, data: st.DataObject) -> None:
    limits = np.iinfo(dtype)
    edges = [*RESERVED[dtype], 0, 1, limits.max, limits.max - 3]
    ids = st.integers(0, int(limits.max)) | st.sampled_from(edges)
    values = np.array(data.draw(st.lists(ids, max_size=20)), dtype)
    found = known_labels(values, "LABELS")
    assert found.dtype == np.uint64
    assert found.tolist() == [0 if v in RESERVED[dtype] else v for v in values.tolist()]
    assert to_ids(values, "path").tolist() == found.tolist()


@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_lower_ids_are_refused(dtype: str) -> None:
    with pytest.raises(InputError, match="id -4") as caught:
        known_labels(np.array([5, -4, -1], dtype), "LABELS", "some.zarr")
    assert caught.value.field == "LABELS" and "some.zarr" in str(caught.value)


def test_big_endian_labels() -> None:
    assert known_labels(np.array([-1, 7], ">i8"), "LABELS").tolist() == [0, 7]
    assert known_labels(np.array([2**64 - 1, 7], ">u8"), "LABELS").tolist() == [0, 7]
