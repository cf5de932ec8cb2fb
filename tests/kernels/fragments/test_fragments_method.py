"""A fragments method from another distribution, and the options of methods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from installed import install

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.kernels.fragments.method import GROUP, FragmentsMethod, methods, segment_fragments

#: Fragments are connected pieces of high affinity in all channels; pieces below a number of voxels are background.
TOY = """
    import numpy as np
    from fgnet_pipeline.kernels.fragments.components import relabel_components
    from fgnet_pipeline.kernels.fragments.method import FragmentsMethod

    def segment(affinities, settings, *, smallest):
        assert len(settings.neighbourhood) == len(affinities)
        inside = affinities.min(0) >= 255 - settings.height_limit
        labels, n = relabel_components(inside.astype(np.uint8), settings.mask)
        return relabel_components(labels * (np.bincount(labels.ravel())[labels] >= smallest))[0]

    METHOD = FragmentsMethod("toy", segment, context=(1, 2, 3), channels=None, options={"smallest": 2})
"""
OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-4, 0, 0), (0, -4, 0), (0, 0, -4))


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FragmentsMethod]:
    """The method `toy`, found as an entry point of an installed distribution."""
    install(tmp_path, monkeypatch, GROUP, {"toy": "toy_method:METHOD"}, {"toy_method": TOY})
    methods.cache_clear()
    yield methods()["toy"]
    methods.cache_clear()


def test_own_methods() -> None:
    contexts = {name: method.context for name, method in methods().items()}
    assert {"sections": (0, 32, 32), "volume": (16, 16, 16), "waterz": (16, 16, 16)}.items() <= contexts.items()


def test_installed_method_sees_all_channels_and_its_option(toy: FragmentsMethod) -> None:
    affinities = np.full((6, 2, 4, 9), 255, np.uint8)
    affinities[5, :, :, 3] = 0  # a plane that only the last channel knows of
    affinities[0, :, :, 8] = 0
    affinities[0, 0, 0, 8] = 255
    affinities[0, 0, 0, 7] = 0
    wall = affinities.min(0) == 0
    got = segment_fragments(affinities, "toy", neighbourhood=OFFSETS)
    assert got.max() == 2 and got[0, 0, 8] == 0
    assert segment_fragments(affinities, "toy", neighbourhood=OFFSETS, smallest=1)[0, 0, 8] > 0
    assert not got[wall].any() and len(np.unique(got[:, :, :3])) == 1
    toy.warm_up()
    with pytest.raises(ValueError, match="6 channels and 3 offsets"):
        segment_fragments(affinities, "toy")


def test_long_range_channels_are_not_given_to_methods_of_three() -> None:
    affinities = np.random.default_rng(0).integers(0, 256, (6, 4, 12, 12), dtype=np.uint8)
    for name in ("sections", "volume", "waterz"):
        six, three = (segment_fragments(x, name, neighbourhood=OFFSETS) for x in (affinities, affinities[:3]))
        assert np.array_equal(six, three)


@pytest.mark.parametrize("options", [{"other": 1}, {"smallest": "two"}, {"smallest": 1.5}, {"smallest": True}])
def test_options_are_checked(toy: FragmentsMethod, options: dict) -> None:
    with pytest.raises(InputError, match=rf"fragments\.{next(iter(options))}"):
        toy.resolve(options)
    assert toy.resolve({}) == {"smallest": 2}
