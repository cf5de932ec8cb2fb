"""Inputs that are no Zarr array, or not the one that was meant: one sentence. What was understood is printed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from PIL import Image
from pipeline_tools import ATTRIBUTES, Command, Refused, cells, read, standard_config, write_config, write_volume
from zarr_tools import axes_of, level, pyramid, write_attributes

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

KEYS = ("volume.path", "volume.mask", "affinities.path", "fragments.path")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Volumes in the formats of others, by a word that names the format."""
    folder = tmp_path_factory.mktemp("foreign")
    with h5py.File(folder / "raw.h5", "w") as file:
        file["volumes/raw"] = np.ones((3, 4, 5), np.uint8)
    Image.fromarray(np.ones((4, 5), np.uint8)).save(folder / "raw.tif")
    (folder / "n5" / "raw").mkdir(parents=True)
    (folder / "n5" / "attributes.json").write_text('{"n5": "2.5.1"}')
    (folder / "n5" / "raw" / "attributes.json").write_text('{"dimensions": [5, 4, 3], "dataType": "uint8"}')
    (folder / "precomputed").mkdir()
    (folder / "precomputed" / "info").write_text('{"@type": "neuroglancer_multiscale_volume", "scales": []}')
    (folder / "sections").mkdir()
    Image.fromarray(np.ones((4, 5), np.uint8)).save(folder / "sections" / "z0.png")
    return {"HDF5": folder / "raw.h5", "HDF5 file": folder / "raw.h5" / "volumes" / "raw", "TIFF": folder / "raw.tif",
            "N5": folder / "n5", "N5 container": folder / "n5" / "raw", "Neuroglancer": folder / "precomputed",
            "pictures": folder / "sections"}  # fmt: skip


@pytest.mark.parametrize("word", ["HDF5", "HDF5 file", "TIFF", "N5", "N5 container", "Neuroglancer", "pictures"])
def test_other_formats_are_refused_with_the_command_that_reads_them(
    word: str, foreign: dict[str, Path], small_raw: str, tmp_path: Path, refused: Refused
) -> None:
    config = standard_config(tmp_path, small_raw)
    for key in KEYS:
        text = refused("run", config, "--dry-run", "--set", f"{key}={foreign[word]}")
        assert text.startswith(f"error: {key}") and word in text and "use fgnet import" in text
    for pair in ((foreign[word], small_raw), (small_raw, foreign[word])):
        assert "use fgnet import" in refused("evaluate", *pair)


@pytest.mark.parametrize("key", KEYS)
def test_paths_that_lead_nowhere_are_one_sentence(key: str, small_raw: str, tmp_path: Path, refused: Refused) -> None:
    config = standard_config(tmp_path, small_raw)
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {"link": "gone", "loop": "link", "x" * 300: key, "a/" * 3000: key, "~no-such-user/raw": "~no-such-user",
             "text.txt": "file", "null\x00byte": key}  # fmt: skip
    for path, word in cases.items():
        (tmp_path / "text.txt").write_text("hello")
        place = path if path.startswith("~") else tmp_path / path
        text = refused("run", config, "--dry-run", "--set", f"{key}={place}")
        assert key in text and word in text


def test_inputs_of_which_nothing_is_stored_are_refused(small_raw: str, tmp_path: Path, refused: Refused) -> None:
    config = standard_config(tmp_path, small_raw)
    shapes = {"volume.path": (30,) * 3, "volume.mask": (30,) * 3, "affinities.path": (3, 30, 30, 30),
              "fragments.path": (30,) * 3}  # fmt: skip
    for key, shape in shapes.items():
        dtype = "u8" if key == "fragments.path" else "u1"
        path = write_volume(tmp_path / key, np.zeros(shape, dtype), None if len(shape) == 3 else {})
        shutil.rmtree(Path(path) / "c")
        text = refused("run", config, "--set", f"{key}={path}")
        assert key in text and "no chunk is stored" in text
        if key == "volume.path":
            assert "LABELS" in refused("evaluate", small_raw, path)
            assert "SEGMENTATION" in refused("evaluate", path, small_raw)
    assert not (tmp_path / "out.zarr").exists()


def test_zarr_v2_of_old_writers_gives_the_same_segmentation(tmp_path: Path) -> None:
    """Nested chunks without `dimension_separator`, big-endian, in Fortran order: also in the workers."""
    data = cells((30, 34, 38))
    plain = write_volume(tmp_path / "plain.zarr", data)
    run(load_config(standard_config(tmp_path, plain)))
    expected = read(tmp_path / "out.zarr", "segmentation")
    old = write_volume(
        tmp_path / "old.zarr", (data.astype(int) * 257).astype(">u2"), zarr_format=2, order="F",
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )  # fmt: skip
    metadata = json.loads((tmp_path / "old.zarr" / ".zarray").read_text())
    assert metadata.pop("dimension_separator") == "/" and metadata["dtype"] == ">u2" and metadata["order"] == "F"
    (tmp_path / "old.zarr" / ".zarray").write_text(json.dumps(metadata))
    options = ["volume.range=[0,65535]", f"output.path={tmp_path / 'two.zarr'}", "schedule.workers=1"]
    run(load_config(standard_config(tmp_path, old), options))
    assert np.array_equal(read(tmp_path / "two.zarr", "segmentation"), expected)


def test_lab_affinities_and_fragments_of_old_writers_are_read_rightly(finished_run: Path, tmp_path: Path) -> None:
    run_ = {"schedule": {"workers": 0, "block_shape": [24, 24, 24]}}
    affinities, fragments = (read(finished_run / "out.zarr", name) for name in ("affinities", "fragments"))
    for name, data, dtype in (("aff", affinities / np.float32(255), ">f4"), ("frag", fragments, ">u8")):
        write_volume(tmp_path / name, data.astype(dtype), {"voxel_size": [10, 10, 10]}, zarr_format=2, order="F")
    config = write_config(
        tmp_path / "c.toml",
        affinities={"path": str(tmp_path / "aff")},
        fragments={"path": str(tmp_path / "frag")},
        output={"path": str(tmp_path / "out.zarr")},
        **run_,
    )
    run(load_config(config))
    assert np.array_equal(read(tmp_path / "out.zarr", "segmentation"), read(finished_run / "out.zarr", "segmentation"))


def test_plan_and_run_print_what_was_understood(tmp_path: Path, command: Command) -> None:
    """A volume of OME-Zarr in um, x first; half of it stored; its mask a level of the same pyramid."""
    data = np.zeros((40, 30, 50), np.uint16)
    data[:20] = cells((20, 30, 50)).astype(np.uint16) * 100
    levels = level("0", [0.01] * 3, [0.1, 0, 0]), level("1", [0.02] * 3, [0.105, 0.005, 0.005])
    write_attributes(tmp_path / "i.zarr", pyramid(*levels, axes=axes_of("xyz", unit="micrometer")))
    raw = write_volume(tmp_path / "i.zarr" / "0", data.transpose(2, 1, 0), {}, chunks=(50, 30, 10))
    mask = write_volume(tmp_path / "i.zarr" / "1", np.ones((25, 15, 20), np.uint8), {})
    config = standard_config(tmp_path, raw)
    options = ("--set", f"volume.mask={mask}", "--set", "volume.range=[0,30000]")
    code, out, _ = command("plan", config, *options)
    line = next(line for line in out.splitlines() if line.startswith("volume.path"))
    assert code == 0 and "warning: only 50% of" in out
    for part in ("40x30x50 voxels", "stored as x,y,z (OME-Zarr metadata)", "uint16", "0 is black and 30000 is white",
                 "10,10,10 nm", "offset 0,0,100 nm", "centres", "2 of 4 chunks stored"):  # fmt: skip
        assert part in line, (part, line)
    code, out, _ = command("plan", config, *options, "--json")
    found = {given["key"]: given for given in json.loads(out)["inputs"]}
    raw_found, mask_found = found["volume.path"], found["volume.mask"]
    assert raw_found["shape"] == [40, 30, 50] and raw_found["axes"] == ["x", "y", "z"]
    assert raw_found["voxel_size"] == [10, 10, 10] and raw_found["offset"] == [0, 0, 100]
    assert raw_found["range"] == [0, 30000] and raw_found["dtype"] == "uint16" and raw_found["stored_share"] == 0.5
    assert raw_found["stored"] == {"kind": "chunks", "total": 4, "looked_at": 4, "found": 2}
    assert mask_found["voxel_size"] == [20, 20, 20] and mask_found["offset"] == [0, 0, 100]
    _, out, _ = command("run", config, *options, "--dry-run")
    assert line in out
    _, out, err = command("run", config, *options)
    assert line in err and not out


@pytest.mark.parametrize(
    "given",
    ["volume.range=[0,inf]", "volume.range=[nan,255]", "volume.offset=[nan,0,0]", "volume.voxel_size=[inf,1,1]"],
)
def test_numbers_that_are_not_finite_are_refused(given: str, small_raw: str, tmp_path: Path, refused: Refused) -> None:
    assert given.partition("=")[0] in refused("run", standard_config(tmp_path, small_raw), "--set", given)


SIGNED = {
    "wrapped": (np.int16, [0, 32767], "signed"),
    "beyond the type": (np.int16, [0, 65535], "values of this type"),
    "bytes": (np.int8, [0, 255], "values of this type"),
    "without a range": (np.int16, None, "volume.range"),
    "floats": (np.float32, [0, 1], "uint8"),
    "truth values": (np.bool_, [0, 1], "uint8"),
}


@pytest.mark.parametrize("case", SIGNED)
def test_raw_values_that_would_turn_black_are_refused(case: str, tmp_path: Path, refused: Refused) -> None:
    """Unsigned values that somebody stored as signed ones; and types that nobody may want as raw."""
    dtype, limits, word = SIGNED[case]
    values = cells((20, 20, 20)).astype(np.uint16) * 257
    raw = write_volume(tmp_path / "raw.zarr", values.astype(dtype))
    given = [] if limits is None else ["--set", f"volume.range={limits}"]
    assert word in refused("run", standard_config(tmp_path, raw), *given)


@pytest.mark.parametrize(("dtype", "pedestal"), [(np.int16, -10000), (np.uint32, 10**9), (np.int64, 10**15)])
def test_raw_values_of_all_integers_are_read_with_their_range(dtype: type, pedestal: int, tmp_path: Path) -> None:
    data = cells((24, 24, 24))
    run(load_config(standard_config(tmp_path, write_volume(tmp_path / "a.zarr", data))))
    raw = write_volume(tmp_path / "b.zarr", (data.astype(np.int64) + pedestal).astype(dtype))
    other = [f"volume.range=[{pedestal},{pedestal + 255}]", f"output.path={tmp_path / 'b-out.zarr'}"]
    run(load_config(standard_config(tmp_path, raw), other))
    one, two = (read(tmp_path / name, "affinities") for name in ("out.zarr", "b-out.zarr"))
    assert np.array_equal(one, two)


def test_evaluate_takes_the_programs_own_output_with_thirds_of_nanometres(tmp_path: Path, command: Command) -> None:
    raw = write_volume(tmp_path / "raw.zarr", cells((24, 24, 24)), dict(ATTRIBUTES, voxel_size=[10 / 3] * 3))
    run(load_config(standard_config(tmp_path, raw)))
    labels = read(tmp_path / "out.zarr", "segmentation")
    exact = write_volume(tmp_path / "labels.zarr", labels, dict(ATTRIBUTES, voxel_size=[10 / 3] * 3))
    code, out, text = command("evaluate", tmp_path / "out.zarr" / "segmentation", exact, "--json")
    assert code == 0, text
    assert json.loads(out)["voi_sum"] == 0


def test_a_linked_level_keeps_the_metadata_beside_the_link(tmp_path: Path) -> None:
    store = write_volume(tmp_path / "disk2" / "x", cells((24, 24, 24)), {})
    write_attributes(tmp_path / "i.zarr", pyramid(level("0", [10, 10, 10])))
    (tmp_path / "i.zarr" / "0").symlink_to(store)
    config = standard_config(tmp_path, str(tmp_path / "elsewhere" / ".." / "i.zarr" / "0"))
    run(load_config(config), ("predict",))
    assert zarr.open_array(tmp_path / "out.zarr" / "affinities").attrs["voxel_size"] == [10, 10, 10]
