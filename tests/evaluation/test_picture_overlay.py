"""Pictures: one colour an id, boundaries of one pixel, a PNG of all panels."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.evaluation.overlay import Panels, save_overlay
from fgnet_pipeline.kernels.colours import affinity_colours, boundaries, colours, grey, overlay

IDS = npst.arrays(np.uint64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 2**63 - 1))


@settings(deadline=None)
@given(IDS)
def test_a_colour_depends_on_the_id_alone(ids: npt.NDArray[np.uint64]) -> None:
    picture = colours(ids)
    for at in np.ndindex(ids.shape):
        assert tuple(picture[at]) == tuple(colours(ids[at][None])[0])
        assert (picture[at].max() == 0) == (ids[at] == 0)
        assert ids[at] == 0 or picture[at].max() >= 178


def test_neighbouring_ids_look_different() -> None:
    picture = colours(np.arange(1, 2001, dtype=np.uint64)).astype(int)
    apart = np.abs(np.diff(picture, axis=0)).sum(axis=1)
    assert (apart > 30).mean() > 0.9
    assert len(np.unique(picture, axis=0)) > 1900


@settings(deadline=None)
@given(IDS)
def test_boundaries_equal_loops(ids: npt.NDArray[np.uint64]) -> None:
    lines = boundaries(ids)
    height, width = ids.shape
    for y, x in np.ndindex(ids.shape):
        below = y + 1 < height and ids[y, x] != ids[y + 1, x]
        right = x + 1 < width and ids[y, x] != ids[y, x + 1]
        assert lines[y, x] == (below or right)


def test_overlay_keeps_background_grey_and_draws_full_lines() -> None:
    raw = np.tile(np.arange(8, dtype=np.uint8) * 30, (8, 1))
    ids = np.zeros((8, 8), np.uint64)
    ids[:, 2:5], ids[:, 5:] = 7, 9
    picture = overlay(raw, ids, opacity=0.5)
    np.testing.assert_array_equal(picture[:, :2], grey(raw)[:, :2])
    np.testing.assert_array_equal(picture[:, 4], colours(ids[:, 4]))
    mixed = (grey(raw)[:, 3].astype(float) + colours(ids[:, 3])) / 2
    np.testing.assert_allclose(picture[:, 3], mixed, atol=0.5)


def test_blank_sections_have_a_picture() -> None:
    assert not grey(np.full((3, 4), 17, np.uint8)).any()


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_affinities_of_any_number_of_channels(channels: int) -> None:
    affinities = np.arange(channels, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    picture = affinity_colours(affinities)
    assert picture[0, 0].tolist() == [min(c, channels - 1) for c in range(3)]


def volume(shape: tuple[int, int, int] = (6, 20, 30)) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "raw": rng.integers(0, 255, shape).astype(np.uint8),
        "affinities": rng.integers(0, 255, (3, *shape)).astype(np.uint8),
        "fragments": rng.integers(0, 9, shape).astype(np.uint64),
        "segmentation": rng.integers(0, 5, shape).astype(np.uint64),
        "labels": rng.integers(0, 5, shape).astype(np.uint64),
    }


class Lazy:
    """An array that notes how many elements are read of it."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.array, self.shape, self.read = array, array.shape, 0

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        piece = self.array[index]
        self.read += piece.size
        return piece


def test_the_same_data_give_the_same_png(tmp_path: Path) -> None:
    panels = Panels(**volume(), voxel_size=(40, 4, 4))
    save_overlay(tmp_path / "new" / "one.png", panels, title="a title")
    save_overlay(tmp_path / "two.png", panels, title="a title")
    assert (tmp_path / "new" / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "two.png") as picture:
        assert picture.format == "PNG" and picture.width > 5 * 300 and picture.height > 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "two.png"]


def test_only_two_sections_are_read(tmp_path: Path) -> None:
    lazy: dict[str, Any] = {name: Lazy(array) for name, array in volume().items()}
    save_overlay(tmp_path / "picture.png", Panels(**lazy))
    assert lazy["segmentation"].read == 20 * 30 + 6 * 30
    assert lazy["affinities"].read == 3 * (20 * 30 + 6 * 30)


def test_panels_may_be_missing(tmp_path: Path) -> None:
    save_overlay(tmp_path / "raw.png", Panels(volume()["raw"]), z=0, y=19)
    with Image.open(tmp_path / "raw.png") as alone:
        save_overlay(tmp_path / "both.png", Panels(volume()["raw"], labels=volume()["labels"]))
        with Image.open(tmp_path / "both.png") as both:
            assert both.width == pytest.approx(2 * alone.width, abs=2)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("z", {"z": 6}),
        ("y", {"y": -1}),
        ("labels", {"labels": np.zeros((6, 20, 31), np.uint64)}),
        ("affinities", {"affinities": np.zeros((6, 20, 30), np.uint8)}),
        ("raw", {"raw": np.zeros((20, 30), np.uint8)}),
    ],
)
def test_bad_input_is_refused_by_name(tmp_path: Path, field: str, changed: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        sections = {name: changed[name] for name in ("z", "y") if name in changed}
        arrays = {name: array for name, array in changed.items() if name not in sections}
        save_overlay(tmp_path / "picture.png", Panels(**{**volume(), **arrays}), **sections)
    assert caught.value.field == field
    assert not list(tmp_path.iterdir())
