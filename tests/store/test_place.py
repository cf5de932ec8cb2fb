"""Voxel size and offset: whatever states them is read rightly, in any unit, or refused with one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr_tools import DATA, axes_of, level, pyramid, write_array, write_attributes

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.volume import open_volume

SCALE = [{"type": "scale", "scale": [40, 8, 4]}]
COSEM = {"axes": ["z", "y", "x"], "units": ["nm"] * 3, "scale": [40, 8, 4], "translate": [0, 0, 0]}


def ome(transformations: Any, axes: Any = None, **more: Any) -> dict[str, Any]:
    """A group whose level `a` has these transformations."""
    return pyramid({"path": "a", "coordinateTransformations": transformations}, axes=axes, **more)


def affine(*rows: list[float]) -> list[dict[str, Any]]:
    return [{"type": "affine", "affine": list(rows)}]


def newest(transformation: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A group of OME-Zarr 0.6; `more` belongs to the pyramid."""
    systems = [{"name": "own", "axes": axes_of(unit="micrometer")}]
    joined = {**transformation, "input": {"path": "a"}, "output": {"name": "own"}}
    entry = {"coordinateSystems": systems, "datasets": [{"path": "a", "coordinateTransformations": [joined]}], **more}
    return {"ome": {"version": "0.6", "multiscales": [entry]}}


#: Attributes of the array and of its group -> voxel size, offset in nm, zyx.
READ: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[float, ...], tuple[float, ...]]] = {
    "ours": ({"voxel_size": [40, 8, 4], "offset": [80, 0, 4]}, {}, (40, 8, 4), (80, 0, 4)),
    "ours in um": ({"voxel_size": [0.04, 0.008, 0.004], "offset": [0.08, 0, 0], "units": ["um"] * 3}, {},
                   (40, 8, 4), (80, 0, 0)),
    "one unit as a text": ({"voxel_size": [400, 80, 40], "units": "Å"}, {}, (40, 8, 4), (0, 0, 0)),
    "unit, not units": ({"voxel_size": [0.04, 0.008, 0.004], "unit": "micron"}, {}, (40, 8, 4), (0, 0, 0)),
    "units of each axis": ({"voxel_size": [0.04, 8, 4], "units": ["µm", "nm", ""]}, {}, (40, 8, 4), (0, 0, 0)),
    "cremi": ({"resolution": [40, 8, 4], "offset": [80, 0, 0]}, {}, (40, 8, 4), (80, 0, 0)),
    "paintera": ({"resolution": [4, 8, 40], "offset": [0, 0, 80]}, {"painteraData": {"type": "raw"}},
                 (40, 8, 4), (80, 0, 0)),
    "n5 viewer": ({"pixelResolution": {"dimensions": [0.004, 0.008, 0.04], "unit": "um"}}, {}, (40, 8, 4), (0, 0, 0)),
    "n5 viewer, a level": ({"pixelResolution": {"dimensions": [2, 4, 40], "unit": "nm"},
                            "downsamplingFactors": [2, 2, 1]}, {}, (40, 8, 4), (0, 0, 0)),
    "cosem": ({"transform": {**COSEM, "translate": [0, 80, 0]}}, {}, (40, 8, 4), (0, 80, 0)),
    "cosem in um, fortran order": ({"transform": {"order": "F", "axes": ["x", "y", "z"], "units": ["um"] * 3,
                                    "scale": [0.004, 0.008, 0.04], "translate": [0, 0.08, 0]}}, {},
                                   (40, 8, 4), (0, 80, 0)),
    "cosem, of the group": ({}, {"multiscales": [{"datasets": [{"path": "a", "transform": COSEM}]}]},
                            (40, 8, 4), (0, 0, 0)),
    "tensorstore": ({"dimension_units": ["40 nm", "8nm", [4, "nm"]]}, {}, (40, 8, 4), (0, 0, 0)),
    "tensorstore in um": ({"dimension_units": ["4e-2 um", [0.008, "micrometer"], ".004um"]}, {},
                          (40, 8, 4), (0, 0, 0)),
    "ome": ({}, ome(SCALE), (40, 8, 4), (0, 0, 0)),
    "ome in um": ({}, ome([{"type": "scale", "scale": [0.04, 0.008, 0.004]}], axes_of(unit="micrometer")),
                  (40, 8, 4), (0, 0, 0)),
    "ome without units": ({}, ome(SCALE, axes_of(unit=None)), (40, 8, 4), (0, 0, 0)),
    "ome, translation": ({}, ome([*SCALE, {"type": "translation", "translation": [80, 0, 12]}]),
                         (40, 8, 4), (80, 0, 12)),
    "ome, translation before scale": ({}, ome([{"type": "translation", "translation": [2, 0, 3]}, *SCALE]),
                                      (40, 8, 4), (80, 0, 12)),
    "ome, of the pyramid": ({}, ome([{"type": "scale", "scale": [10, 2, 1]}],
                                    coordinateTransformations=[{"type": "scale", "scale": [4, 4, 4]}]),
                            (40, 8, 4), (0, 0, 0)),
    "ome, sequence": ({}, ome([{"type": "sequence", "transformations": [
        *SCALE, {"type": "identity"}, {"type": "translation", "translation": [80, 0, 0]}]}]), (40, 8, 4), (80, 0, 0)),
    "ome, affine": ({}, ome(affine([40, 0, 0, 80], [0, 8, 0, 0], [0, 0, 4, 12])), (40, 8, 4), (80, 0, 12)),
    "ome, square affine": ({}, ome(affine([40, 0, 0, 80], [0, 8, 0, 0], [0, 0, 4, 12], [0, 0, 0, 1])),
                           (40, 8, 4), (80, 0, 12)),
    "ome 0.6": ({}, newest({"type": "scale", "scale": [0.04, 0.008, 0.004]}), (40, 8, 4), (0, 0, 0)),
    "ome 0.6, sequence": ({}, newest({"type": "sequence", "transformations": [
        {"type": "scale", "scale": [0.04, 0.008, 0.004]}, {"type": "translation", "translation": [0.08, 0, 0]}]}),
                          (40, 8, 4), (80, 0, 0)),
    "ome 0.6, on to the world": ({}, newest({"type": "scale", "scale": [0.04, 0.008, 0.004]},
                                            coordinateTransformations=[{"type": "scale", "scale": [9, 9, 9]}]),
                                 (40, 8, 4), (0, 0, 0)),
    "path with a dot": ({}, pyramid(level("./a/", [40, 8, 4])), (40, 8, 4), (0, 0, 0)),
    "ours beside ome": ({"voxel_size": [40, 8, 4], "offset": [80, 0, 0]}, ome([{"type": "scale", "scale": [9, 9, 9]}]),
                        (40, 8, 4), (80, 0, 0)),
    "cosem beside ome": ({"transform": {**COSEM, "translate": [0, 80, 0]}}, ome(SCALE), (40, 8, 4), (0, 80, 0)),
    "two that agree": ({"dimension_units": ["40 nm", "8 nm", "4 nm"], "transform": COSEM}, ome(SCALE),
                       (40, 8, 4), (0, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_voxel_size_and_offset_are_read_rightly(case: str, tmp_path: Path) -> None:
    attributes, group, size, offset = READ[case]
    write_attributes(tmp_path, group)
    frame = open_volume(write_array(tmp_path / "a", DATA, attributes)).frame
    assert frame is not None
    assert frame.voxel_size == pytest.approx(size, rel=1e-12) and frame.offset == pytest.approx(offset, abs=1e-9)


#: What states no voxel size: never 1 nm.
SILENT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "ome 0.1": {"multiscales": [{"version": "0.1", "datasets": [{"path": "a"}]}]},
    "ome 0.3": {"multiscales": [{"version": "0.3", "axes": ["z", "y", "x"], "datasets": [{"path": "a"}]}]},
    "only a translation": ome([{"type": "translation", "translation": [1, 2, 3]}]),
    "only the identity": ome([{"type": "identity"}]),
    "another array": pyramid(level("b", [40, 8, 4])),
    "dimensionless": {"ome": {"version": "0.5", "multiscales": []}},
}


@pytest.mark.parametrize("case", SILENT)
def test_what_states_no_voxel_size_is_not_taken_as_1_nm(case: str, tmp_path: Path) -> None:
    write_attributes(tmp_path, SILENT[case])
    path = write_array(tmp_path / "a")
    assert open_volume(path).frame is None
    given = open_volume(path, voxel_size=(40, 8, 4)).frame
    assert given is not None and given.voxel_size == (40, 8, 4)
    assert given.offset == ((1, 2, 3) if case == "only a translation" else (0, 0, 0))


#: What cannot be honoured: attributes of the array and of its group, and the word that the sentence holds.
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "text": ({"voxel_size": "40,8,4"}, {}, "voxel_size"),
    "two numbers": ({"voxel_size": [40, 8]}, {}, "voxel_size"),
    "one number": ({"voxel_size": 8}, {}, "voxel_size"),
    "numbers as text": ({"voxel_size": ["40", "8", "4"]}, {}, "voxel_size"),
    "null among numbers": ({"voxel_size": [40, None, 4]}, {}, "voxel_size"),
    "truth values": ({"voxel_size": [True, True, True]}, {}, "voxel_size"),
    "not finite": ({"voxel_size": [float("nan"), 8, 4]}, {}, "voxel_size"),
    "zero": ({"voxel_size": [0, 0, 0]}, {}, "positive"),
    "negative": ({"resolution": [-40, 8, 4]}, {}, "positive"),
    "unknown unit": ({"voxel_size": [40, 8, 4], "units": ["furlong"] * 3}, {}, "furlong"),
    "pixels": ({"voxel_size": [1, 1, 1], "units": "pixel"}, {}, "pixel"),
    "too few units": ({"voxel_size": [40, 8, 4], "units": ["nm", "nm"]}, {}, "units"),
    "two statements about units": ({"voxel_size": [40, 8, 4], "units": ["nm"] * 3, "unit": "um"}, {}, "units"),
    "resolution of another level": ({"resolution": [4, 8, 40], "downsamplingFactors": [2, 2, 1]}, {}, "downsampling"),
    "n5 viewer without a unit": ({"pixelResolution": [4, 8, 40]}, {}, "pixelResolution"),
    "n5 viewer, two numbers": ({"pixelResolution": {"dimensions": [4, 8], "unit": "nm"}}, {}, "dimensions"),
    "n5 viewer, unit": ({"pixelResolution": {"dimensions": [4, 8, 4], "unit": "barn"}}, {}, "barn"),
    "cosem, unit": ({"transform": {**COSEM, "units": ["um", "um", "parsec"]}}, {}, "parsec"),
    "cosem, text": ({"transform": {**COSEM, "scale": "4"}}, {}, "scale"),
    "tensorstore, unit": ({"dimension_units": ["40 s", "8 nm", "4 nm"]}, {}, "'s'"),
    "tensorstore, one null": ({"dimension_units": [None, "8 nm", "4 nm"]}, {}, "dimension_units"),
    "tensorstore, number": ({"dimension_units": [40, 8, 4]}, {}, "dimension_units"),
    "tensorstore, length": ({"dimension_units": ["4 nm"]}, {}, "dimension_units"),
    "two that differ": ({"dimension_units": ["4 nm"] * 3, "transform": COSEM}, {}, "agree"),
    "cosem and ome differ": ({"transform": COSEM}, ome([{"type": "scale", "scale": [9, 8, 4]}]), "agree"),
    "ome, zero": ({}, ome([{"type": "scale", "scale": [0, 8, 4]}]), "scale"),
    "ome, negative": ({}, ome([{"type": "scale", "scale": [40, -8, 4]}]), "scale"),
    "ome, not finite": ({}, ome([{"type": "scale", "scale": [float("inf"), 8, 4]}]), "numbers"),
    "ome, huge": ({}, ome([{"type": "scale", "scale": [10**400, 8, 4]}]), "numbers"),
    "ome, two numbers": ({}, ome([{"type": "scale", "scale": [40, 8]}]), "numbers"),
    "ome, text": ({}, ome([{"type": "scale", "scale": "40"}]), "numbers"),
    "ome, in an array": ({}, ome([{"type": "scale", "path": "scales"}]), "array"),
    "ome, affine in an array": ({}, ome([{"type": "affine", "path": "m"}]), "array"),
    "ome, rotation": ({}, ome([{"type": "rotation", "rotation": [[1, 0, 0], [0, 0, 1], [0, 1, 0]]}]), "rotation"),
    "ome, shear": ({}, ome(affine([40, 1, 0, 0], [0, 8, 0, 0], [0, 0, 4, 0])), "shear"),
    "ome, mirrored": ({}, ome(affine([-40, 0, 0, 0], [0, 8, 0, 0], [0, 0, 4, 0])), "scale"),
    "ome, permuted": ({}, ome([{"type": "mapAxis", "mapAxis": {"z": "x"}}]), "mapAxis"),
    "ome, affine of two rows": ({}, ome(affine([40, 0, 0, 0], [0, 8, 0, 0])), "affine"),
    "ome, sequence of nothing": ({}, ome([{"type": "sequence"}]), "transformations"),
    "ome, no type": ({}, ome([{"scale": [40, 8, 4]}]), "type"),
    "ome, no object": ({}, ome(["scale"]), "scale"),
    "ome, no list": ({}, ome({"type": "scale", "scale": [40, 8, 4]}), "list"),
    "ome, unit": ({}, ome(SCALE, axes_of(unit="lightyear")), "lightyear"),
    "ome, unit a number": ({}, ome(SCALE, axes_of(unit=9)), "9"),  # type: ignore[arg-type]
    "ome 0.6, two transformations": ({}, {"ome": {"multiscales": [{
        "coordinateSystems": [{"name": "own", "axes": axes_of()}],
        "datasets": [{"path": "a", "coordinateTransformations": SCALE * 2}]}]}}, "0.6"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_honoured_is_refused_unless_it_is_overridden(case: str, tmp_path: Path) -> None:
    attributes, group, word = REFUSED[case]
    write_attributes(tmp_path, group)
    path = write_array(tmp_path / "a", DATA, attributes)
    with pytest.raises(InputError) as caught:
        open_volume(path)
    assert caught.value.field == "volume.voxel_size" and word in str(caught.value)
    with pytest.raises(InputError) as caught:
        open_volume(path, "volume.mask")
    assert caught.value.field == "volume.mask" and word in str(caught.value)
    frame = open_volume(path, voxel_size=(5, 6, 7), offset=(1, 2, 3)).frame
    assert frame is not None and (frame.voxel_size, frame.offset) == ((5, 6, 7), (1, 2, 3))


@pytest.mark.parametrize("value", ["0,0,0", [1, 2], [None] * 3, [float("inf"), 0, 0], {}, 5])
def test_an_offset_that_is_none_is_refused_unless_it_is_overridden(value: Any, tmp_path: Path) -> None:
    path = write_array(tmp_path / "a", DATA, {"voxel_size": [40, 8, 4], "offset": value})
    with pytest.raises(InputError) as caught:
        open_volume(path)
    assert caught.value.field == "volume.offset"
    assert open_volume(path, offset=(0, 0, 0)).frame is not None


def test_an_offset_of_0_needs_no_unit_if_the_voxel_size_is_given(tmp_path: Path) -> None:
    """A unit that is unknown is refused only if something depends on it."""
    write_attributes(tmp_path, ome(SCALE, axes_of(unit="pixel")))
    frame = open_volume(write_array(tmp_path / "a"), voxel_size=(5, 6, 7)).frame
    assert frame is not None and (frame.voxel_size, frame.offset) == ((5, 6, 7), (0, 0, 0))
    write_attributes(tmp_path, ome([*SCALE, {"type": "translation", "translation": [9, 0, 0]}], axes_of(unit="pixel")))
    with pytest.raises(InputError) as caught:
        open_volume(str(tmp_path / "a"), voxel_size=(5, 6, 7))
    assert caught.value.field == "volume.offset"


BAD_GROUPS: list[Any] = [
    {"ome": []}, {"ome": "0.5"}, {"ome": {"multiscales": {}}}, {"ome": {"multiscales": "a"}}, {"multiscales": [[]]},
    {"multiscales": [{"datasets": {}}]}, {"multiscales": [{"datasets": [None]}]}, {"multiscales": [None]},
    {"multiscales": [{"datasets": [{"path": 0}]}]}, {"multiscales": [{"datasets": ["a"]}]}, {"multiscales": 3},
    {"multiscales": [{"axes": 3, "datasets": [{"path": "a"}]}]},
    {"multiscales": [{"axes": {"z": 0}, "datasets": [{"path": "a"}]}]},
    {"multiscales": [{"axes": [[], [], []], "datasets": [{"path": "a"}]}]},
    {"multiscales": [{"coordinateSystems": 5, "datasets": [{"path": "a"}]}]},
    {"multiscales": [{"coordinateSystems": [[]], "datasets": [{"path": "a"}]}]},
    {"multiscales": [{"coordinateSystems": [], "datasets": [{"path": "a"}]}]},
]  # fmt: skip


@pytest.mark.parametrize("group", BAD_GROUPS)
@pytest.mark.parametrize("version", [2, 3])
def test_malformed_metadata_of_a_group_are_one_sentence(group: Any, version: int, tmp_path: Path) -> None:
    write_attributes(tmp_path, group, version)
    path = write_array(tmp_path / "a")
    with pytest.raises(InputError) as caught:
        open_volume(path, voxel_size=(1, 1, 1))
    assert caught.value.field == "volume.axes"
    overridden = open_volume(path, voxel_size=(1, 1, 1), offset=(0, 0, 0), axes=("z", "y", "x"))
    assert np.array_equal(overridden.read(overridden.bounds), DATA)


@pytest.mark.parametrize("text", ["{", "\x00", "[" * 100_000], ids=["cut off", "binary", "deep"])
def test_a_group_whose_file_is_no_json_is_one_sentence(text: str, tmp_path: Path) -> None:
    path = write_array(tmp_path / "a")
    (tmp_path / ".zattrs").write_text(text)
    with pytest.raises(InputError, match=r"\.zattrs"):
        open_volume(path)


def test_a_linked_level_has_the_metadata_of_the_folder_that_holds_the_link(tmp_path: Path) -> None:
    """The array itself lies elsewhere, e.g. on a larger disk, and states nothing."""
    write_array(tmp_path / "store" / "x17")
    write_attributes(tmp_path / "image", pyramid(level("a", [40, 8, 4], [80, 0, 0])))
    (tmp_path / "image" / "a").symlink_to(tmp_path / "store" / "x17")
    frame = open_volume(str(tmp_path / "image" / "a")).frame
    assert frame is not None and (frame.voxel_size, frame.offset) == ((40, 8, 4), (80, 0, 0))
