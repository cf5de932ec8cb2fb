"""`fgnet init`: what it writes is planned and run; what is no volume is refused, and nothing is written."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from PIL import Image
from pipeline_tools import ATTRIBUTES, Command, Refused, cells, write_volume
from zarr_tools import level, pyramid, write_array, write_attributes

from fgnet_pipeline.datasets.phantom import Phantom, generate
from fgnet_pipeline.planning.no_volume import looks_like_labels

SHAPE = (40, 72, 72)
#: Attributes of a group of version 2 with one level.
ANISOTROPIC = {
    "multiscales": [
        {
            "version": "0.4",
            "axes": [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"],
            "datasets": [level("0", (40.0, 4.0, 4.0))],
        }
    ]
}


@pytest.fixture(scope="module")
def grey() -> npt.NDArray[np.uint8]:
    """A phantom with the voxels of the shipped model."""
    return generate(Phantom(SHAPE))[0]


def initialised(command: Command, volume: Path | str, folder: Path, *options: object) -> tuple[dict[str, Any], str]:
    """(document, text) of the file that `fgnet init` wrote, after `fgnet plan` has accepted the file."""
    file = folder / "my.toml"
    code, out, said = command("init", volume, "--to", file, "--json", *options)
    assert code == 0, said
    document = json.loads(out)
    assert document["config"] == str(file)
    code, out, said = command("plan", file, "--json")
    assert code == 0, said
    assert json.loads(out)["inputs"][0]["path"] == document["volume"]["path"]
    return document, file.read_text()


def test_a_volume_of_uint8_runs(grey: npt.NDArray[np.uint8], tmp_path: Path, command: Command) -> None:
    """Zarr v3, isotropic, 10 nm: the shipped model fits, and the file runs as it is."""
    raw = write_volume(tmp_path / "raw.zarr", grey)
    document, text = initialised(command, raw, tmp_path)
    written = tomllib.loads(text)
    assert document["model"] == {"name": "nano-fib25", "fits": True} and document["warnings"] == []
    assert document["volume"]["shape"] == list(SHAPE) and document["volume"]["dtype"] == "uint8"
    assert document["volume"]["voxel_size"] == [10, 10, 10] and document["volume"]["chunk_shape"] == [20, 20, 20]
    assert document["volume"]["blank_sections"] == []
    assert written["volume"] == {"path": raw}
    assert written["model"] == {"checkpoint": "nano-fib25"} and written["fragments"] == {"method": "volume"}
    assert written["schedule"]["block_shape"] == [72, 72, 72]
    for key in ("voxel_size = [10, 10, 10]", "threshold = 0.24", "min_seed_distance = 6", "mask = ", "roi = "):
        assert f"\n# {key}" in text
    code, _, said = command("run", tmp_path / "my.toml", "--workers", 0)
    assert code == 0, said
    segments = np.unique(zarr.open_array(tmp_path / "my_segmentation.zarr" / "segmentation", mode="r")[:])
    assert len(segments) > 5
    (tmp_path / "my.toml").unlink()
    _, text = initialised(command, raw, tmp_path)
    assert tomllib.loads(text)["output"]["path"].endswith("my_segmentation_2.zarr"), "the first output is another's"


def test_every_key_has_a_reason(grey: npt.NDArray[np.uint8], tmp_path: Path, command: Command) -> None:
    _, text = initialised(command, write_volume(tmp_path / "raw.zarr", grey), tmp_path)
    for before, line in zip(text.splitlines(), text.splitlines()[1:], strict=False):
        if " = " in line and not line.startswith("# Value"):
            assert before.startswith("# ") and not before.startswith("# #"), line
    assert max(map(len, text.splitlines())) <= 100 + len(str(tmp_path))


def test_ome_zarr_of_version_2_with_thin_sections(
    grey: npt.NDArray[np.uint8], tmp_path: Path, command: Command
) -> None:
    write_attributes(tmp_path / "v.zarr", ANISOTROPIC, version=2)
    write_array(tmp_path / "v.zarr" / "0", grey, zarr_format=2)
    document, text = initialised(command, tmp_path / "v.zarr", tmp_path)
    written = tomllib.loads(text)
    assert document["volume"]["path"] == str(tmp_path / "v.zarr" / "0")
    assert document["volume"]["voxel_size"] == [40, 4, 4]
    assert document["model"] == {"name": "nano-fib25", "fits": False}
    assert written["model"]["any_voxel_size"] is True and written["fragments"] == {"method": "sections"}
    assert "no shipped model was trained on voxels of 40 x 4 x 4 nm" in document["warnings"][0]
    said = " ".join(document["warnings"])
    for page in ("docs/guides/training.md", "docs/guides/own-affinities.md"):
        assert page in said and page in text
        assert (Path(__file__).parents[2] / page).is_file()
    assert "\n# threshold = 0.5" in text, "what the model recommends holds for its own method only"
    code, _, said = command("plan", tmp_path / "my.toml", "--set", "model.any_voxel_size=false")
    assert code == 2 and "volume.voxel_size" in said


def test_a_level_of_a_pyramid_that_fits(grey: npt.NDArray[np.uint8], tmp_path: Path, command: Command) -> None:
    found = pyramid(level("s0", (5, 5, 5)), level("s1", (10, 10, 10)), level("s2", (20, 20, 20)))
    write_attributes(tmp_path / "v.zarr", found)
    for name in ("s0", "s1", "s2"):
        write_array(tmp_path / "v.zarr" / name, grey)
    document, text = initialised(command, tmp_path / "v.zarr", tmp_path)
    assert document["volume"]["path"] == str(tmp_path / "v.zarr" / "s1") and document["model"]["fits"] is True
    assert "level s1 of the pyramid: nano-fib25 was trained on such voxels" in " ".join(text.split("\n# "))


def test_sixteen_bits_get_a_range(grey: npt.NDArray[np.uint8], tmp_path: Path, command: Command) -> None:
    values = grey.astype(np.uint16) * 100 + 3000
    values[:, :40] = 0  # padding, which is no tissue
    document, text = initialised(command, write_volume(tmp_path / "raw.zarr", values), tmp_path)
    low, high = tomllib.loads(text)["volume"]["range"]
    tissue = values[:, 40:]
    assert (tissue < low).mean() < 0.02 and (tissue > high).mean() < 0.02
    assert low > 3000 and high < values.max() + 1 and document["volume"]["grey"] == [low, high]
    assert document["volume"]["values"][0] == 0
    document, text = initialised(command, tmp_path / "raw.zarr", _new(tmp_path), "--set", "volume.range=[0,40000]")
    assert tomllib.loads(text)["volume"]["range"] == [0, 40000] and "As given with --set." in text


def test_a_large_volume_with_few_chunks(tmp_path: Path, command: Command) -> None:
    """The positions at which a run measures grey values hit nothing: the file states what the stored chunks have."""
    array = zarr.create_array(
        str(tmp_path / "raw.zarr"), shape=(20_000, 30_000, 30_000), dtype="uint8", chunks=(64, 64, 64),
        attributes=ATTRIBUTES,
    )  # fmt: skip
    tissue = cells((64, 64, 128))
    array[6400:6464, 12800:12864, 12800:12928] = tissue
    document, text = initialised(command, tmp_path / "raw.zarr", tmp_path)
    shift, scale = tomllib.loads(text)["model"]["normalisation"]
    inner = tissue[(tissue > 0) & (tissue < 250)]
    assert abs(shift - inner.mean()) < 0.15 * inner.mean() and 0 < scale < 2 * inner.std()
    assert "Try this region around chunks that are stored" in text
    line = next(line for line in text.splitlines() if line.startswith("# roi = "))
    begin, end = np.array(json.loads(line.removeprefix("# roi = "))) / 10
    assert (begin <= [6400, 12800, 12800]).all() and (end >= [6464, 12864, 12864]).all()
    block = np.array(document["schedule"]["block_shape"])
    assert (block % 72 == 0).all() and (np.mod(begin, block) == 0).all() and (end - begin <= 2 * block).all()
    assert any("is stored" in warning for warning in document["warnings"])
    code, out, said = command("plan", tmp_path / "my.toml", "--json", "--set", f"volume.roi={line[8:]}")
    assert code == 0 and json.loads(out)["region"]["voxels"][0] == begin.astype(int).tolist(), said


def test_blank_sections_are_named(grey: npt.NDArray[np.uint8], tmp_path: Path, command: Command) -> None:
    holed = grey.copy()
    holed[7] = 0
    holed[20:23] = 255
    holed[30, :50] = 9  # a part of a section is lost: it is not blank
    document, text = initialised(command, write_volume(tmp_path / "raw.zarr", holed), tmp_path)
    assert document["volume"]["blank_sections"] == [7, 20, 21, 22]
    assert "4 of the 40 sections that were looked at have one value (7, 20 to 22)" in " ".join(text.split("\n# "))


def test_a_voxel_size_that_nothing_states(grey: npt.NDArray[np.uint8], tmp_path: Path, command: Command) -> None:
    raw = write_volume(tmp_path / "raw.zarr", grey, attributes={})
    code, out, said = command("init", raw, "--to", tmp_path / "my.toml")
    assert (code, out) == (2, "") and "--set volume.voxel_size=[8,8,8]; it is written to the file" in said
    assert not (tmp_path / "my.toml").exists()
    document, text = initialised(command, raw, tmp_path, "--set", "volume.voxel_size=[9,9,9]", "--workers", "3")
    written = tomllib.loads(text)
    assert written["volume"]["voxel_size"] == [9, 9, 9] and written["schedule"]["workers"] == 3
    assert document["model"]["fits"] is True, "within a fifth"


def _new(folder: Path) -> Path:
    """Another folder beside the one of the first file."""
    other = folder / "other"
    other.mkdir()
    return other


# What is no volume


def _array(data: npt.NDArray[Any], **attributes: Any) -> Any:
    return lambda folder: write_volume(folder / "a.zarr", data, attributes, chunks=data.shape)


def _text(folder: Path) -> str:
    (folder / "notes.zarr").write_text("my notes")
    return str(folder / "notes.zarr")


def _folder(folder: Path) -> str:
    (folder / "empty.zarr").mkdir()
    return str(folder / "empty.zarr")


def _picture(folder: Path) -> str:
    Image.fromarray(NOISE[0]).save(folder / "one.png")
    return str(folder / "one.png")


def _output(folder: Path) -> str:
    write_attributes(folder / "out.zarr", {})
    for name in ("fragments", "segmentation"):
        write_array(folder / "out.zarr" / name, NOISE.astype(np.uint64))
    return str(folder / "out.zarr")


LABELS = np.repeat(np.arange(1, 3201, dtype=np.uint32), 320).reshape(32, 64, 500)
NOISE = np.random.default_rng(0).integers(1, 255, (24, 30, 40), np.uint8)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (_text, "(file)"),
        (_folder, "Zarr array"),
        (_picture, "a single PNG picture"),
        (_output, "the output of a run"),
        (lambda folder: str(folder / "nothing.zarr"), "does not exist"),
        (_array(NOISE[0]), "a single picture"),
        (_array(NOISE[:1]), "a single picture"),
        (_array(np.stack([NOISE[0]] * 3, -1)), "colours (RGB)"),
        (_array(np.stack([NOISE] * 3, -1)), "colours (RGB)"),
        (_array(np.stack([NOISE] * 5).astype(np.float32)), "affinities or channels"),
        (_array(NOISE > 99, voxel_size=[10, 10, 10]), "a mask"),
        (_array((NOISE > 99).astype(np.uint8)[:, :, :1].repeat(40, 2), voxel_size=[10, 10, 10]), "labels"),
        (_array(LABELS, voxel_size=[10, 10, 10]), "labels or a segmentation"),
        (_array(np.full((24, 30, 40), 7, np.uint8), voxel_size=[10, 10, 10]), "sampled voxels have the value 7"),
    ],
)  # fmt: skip
def test_what_is_no_volume(made: Any, said: str, tmp_path: Path, refused: Refused) -> None:
    volume = made(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    text = refused("init", volume, "--to", tmp_path / "my.toml")
    assert said in text and text.startswith("error: VOLUME = ") and len(text.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_grey_values_are_no_labels(grey: npt.NDArray[np.uint8]) -> None:
    assert not looks_like_labels(grey.ravel())
    assert not looks_like_labels((grey // 16).ravel()), "even with 16 values"
    padded = np.zeros((80, 72, 72), np.uint8)
    padded[:20] = grey[:20]
    assert not looks_like_labels(padded.ravel())
    assert looks_like_labels(generate(Phantom(SHAPE))[1].ravel())


def test_a_group_of_several_volumes(tmp_path: Path, refused: Refused, command: Command) -> None:
    for name in ("a", "b"):
        write_volume(tmp_path / "g.zarr" / name, cells((30, 30, 30)))
    write_attributes(tmp_path / "g.zarr", {})
    text = refused("init", tmp_path / "g.zarr", "--to", tmp_path / "my.toml")
    assert "several: a, b" in text and "g.zarr/a" in text
    shutil.move(tmp_path / "g.zarr" / "b", tmp_path / "g.zarr" / "raw")
    assert command("init", tmp_path / "g.zarr", "--to", tmp_path / "my.toml")[0] == 0
    assert tomllib.loads((tmp_path / "my.toml").read_text())["volume"]["path"] == str(tmp_path / "g.zarr" / "raw")


def test_nothing_is_overwritten(small_raw: str, tmp_path: Path, refused: Refused) -> None:
    file = tmp_path / "my.toml"
    file.write_text("mine")
    assert "--to" in refused("init", small_raw, "--to", file) and file.read_text() == "mine"
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "nowhere.toml")
    assert "--to" in refused("init", small_raw, "--to", link) and not (tmp_path / "nowhere.toml").exists()
    assert "--to" in refused("init", small_raw, "--to", tmp_path)


@pytest.mark.parametrize("key", ["volume.path=other.zarr", "schedule.wokers=3", "volume.voxel_size=abc", "volume=1"])
def test_keys_that_do_not_fit(key: str, small_raw: str, tmp_path: Path, refused: Refused) -> None:
    refused("init", small_raw, "--to", tmp_path / "my.toml", "--set", key)
    assert list(tmp_path.iterdir()) == []
