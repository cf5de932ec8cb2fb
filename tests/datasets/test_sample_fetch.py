"""The demo's sample: found, fetched over real HTTP from a synthetic source, or generated."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from PIL import Image
from web_server import web_server

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.datasets.demo_sample import find_sample, shipped_registry
from fgnet_pipeline.store.group_writer import write_sample

DEPTH, CUBE = 5, 8


@dataclass
class Source:
    """A public source in small, served on loopback."""

    folder: Path
    url: str
    registry: dict[str, str]
    raw: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint64]
    asked: list[str] = field(default_factory=list)


def _files(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """Pictures and ground truth as the source has them, and the arrays of its recipe, by loops."""
    rng = np.random.default_rng(0)
    pictures = folder / "training_sample2" / "grayscale_maps"
    pictures.mkdir(parents=True)
    raw = rng.integers(0, 256, (DEPTH, CUBE, CUBE)).astype(np.uint8)
    for z, section in enumerate(raw):
        Image.fromarray(section).save(pictures / f"iso.{2600 + z}.png")
    stack = rng.integers(0, 12, (CUBE, CUBE, CUBE)).astype(np.uint32)
    stack[:DEPTH][stack[:DEPTH] == 3] = 4
    body = {0: 0, **{s: 900 - 100 * (s // 2) for s in range(1, 12)}}
    with h5py.File(folder / "truth.h5", "w") as file:
        file["stack"] = stack
        file["transforms"] = np.array(list(body.items()), np.uint64)
    packed = folder / "training_sample2" / "groundtruth.h5.gz"
    packed.write_bytes(gzip.compress((folder / "truth.h5").read_bytes()))
    (folder / "truth.h5").unlink()
    names = {b: n for n, b in enumerate(sorted({body[s] for s in stack.ravel().tolist()} - {0}), 1)} | {0: 0}
    labels = np.array([names[body[s]] for s in stack.ravel().tolist()], np.uint64).reshape(stack.shape)
    return raw, labels[:DEPTH]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    folder = tmp_path / "source"
    raw, labels = _files(folder)
    registry = {
        str(path.relative_to(folder)): "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }
    monkeypatch.delenv("FGNET_DATA", raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with web_server(folder) as (url, asked):
        monkeypatch.setenv("FGNET_SAMPLE_URL", url)
        yield Source(folder, url, registry, raw, labels, asked)


def test_a_fetched_sample_follows_the_recipe(source: Source, tmp_path: Path) -> None:
    sample = find_sample(tmp_path / "cache", None, source.registry)
    group = zarr.open_group(sample.path, mode="r")
    raw, labels = group["raw"], group["labels"]
    assert isinstance(raw, zarr.Array) and isinstance(labels, zarr.Array)
    np.testing.assert_array_equal(raw[:], source.raw)
    np.testing.assert_array_equal(labels[:], source.labels)
    assert (raw.dtype, labels.dtype, raw.metadata.zarr_format) == (np.uint8, np.uint64, 3)
    assert dict(labels.attrs) == {
        "offset": [0, 0, 0],
        "voxel_size": [10, 10, 10],
        "axis_names": ["z", "y", "x"],
        "units": ["nm", "nm", "nm"],
        "types": ["space", "space", "space"],
        "dimension_units": ["10 nm", "10 nm", "10 nm"],
    }
    assert labels.metadata.dimension_names == ("z", "y", "x")
    assert sample.origin == "downloaded" and "FIB-25" in sample.sentence


def test_a_finished_sample_is_not_fetched_again(source: Source, tmp_path: Path) -> None:
    first = find_sample(tmp_path / "cache", None, source.registry)
    source.asked.clear()
    assert find_sample(tmp_path / "cache", None, source.registry) == first
    assert source.asked == []


def test_an_interrupted_fetch_goes_on(source: Source, tmp_path: Path) -> None:
    truth = source.folder / "training_sample2" / "groundtruth.h5.gz"
    content = truth.read_bytes()
    truth.write_bytes(content[:-1])
    with pytest.raises(InputError) as caught:
        find_sample(tmp_path / "cache", None, source.registry)
    assert str(caught.value.value).endswith("groundtruth.h5.gz")
    assert source.registry["training_sample2/groundtruth.h5.gz"] in caught.value.expected
    assert not (tmp_path / "cache" / "fib25.zarr").exists()
    truth.write_bytes(content)
    kept = {path.name for path in (tmp_path / "cache").rglob("iso.*.png")}
    assert kept
    source.asked.clear()
    assert find_sample(tmp_path / "cache", None, source.registry).origin == "downloaded"
    probed = sorted(source.registry)[0]
    again = {path.rsplit("/", 1)[1] for path in source.asked} - {probed.rsplit("/", 1)[1]}
    assert not again & kept


def test_a_damaged_file_in_the_cache_is_fetched_again(source: Source, tmp_path: Path) -> None:
    picture = tmp_path / "cache" / "download" / "training_sample2" / "grayscale_maps" / "iso.2602.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"torn")
    sample = find_sample(tmp_path / "cache", None, source.registry)
    raw = zarr.open_array(sample.path / "raw", mode="r")
    np.testing.assert_array_equal(raw[:], source.raw)


def test_a_supervoxel_without_a_body_is_refused(source: Source, tmp_path: Path) -> None:
    truth = source.folder / "training_sample2" / "groundtruth.h5.gz"
    with h5py.File(tmp_path / "truth.h5", "w") as file:
        file["stack"] = np.full((CUBE, CUBE, CUBE), 7, np.uint32)
        file["transforms"] = np.array([[6, 1]], np.uint64)
    truth.write_bytes(gzip.compress((tmp_path / "truth.h5").read_bytes()))
    digest = "sha256:" + hashlib.sha256(truth.read_bytes()).hexdigest()
    with pytest.raises(InputError, match="supervoxel 7"):
        find_sample(tmp_path / "cache", None, {**source.registry, "training_sample2/groundtruth.h5.gz": digest})


def test_a_source_without_the_files_leads_to_a_phantom(source: Source, tmp_path: Path) -> None:
    sample = find_sample(tmp_path / "cache", None, {"nothing/here.png": "sha256:00"})
    assert sample.origin == "phantom" and "404" in sample.sentence and "NOT real EM" in sample.sentence
    labels = zarr.open_array(sample.path / "labels", mode="r")
    raw = zarr.open_array(sample.path / "raw", mode="r")
    assert labels.shape == raw.shape == (180, 250, 250)


def test_no_connection_leads_to_a_phantom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FGNET_DATA", raising=False)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("FGNET_SAMPLE_URL", "http://127.0.0.1:9/")
    _tiny(tmp_path / "cache" / "phantom1.zarr")
    sample = find_sample(tmp_path / "cache", None)
    assert (sample.origin, sample.path.name) == ("phantom", "phantom1.zarr")
    assert "cannot be reached" in sample.sentence
    monkeypatch.setenv("FGNET_SAMPLE_URL", "")
    assert find_sample(tmp_path / "cache", None).origin == "phantom"


def _tiny(path: Path) -> None:
    write_sample(path, np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), np.uint64), (10, 10, 10), {})


def test_what_is_on_the_machine_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shared = tmp_path / "shared" / "data" / "fib25.zarr"
    _tiny(shared)
    monkeypatch.setenv("FGNET_SAMPLE_URL", "")
    monkeypatch.delenv("FGNET_DATA", raising=False)
    assert find_sample(tmp_path / "cache", checkout).path == shared
    own = tmp_path / "own" / "fib25.zarr"
    _tiny(own)
    for given in (own, own.parent):
        monkeypatch.setenv("FGNET_DATA", str(given))
        sample = find_sample(tmp_path / "cache", checkout)
        assert (sample.path, sample.origin) == (own, "local")
    monkeypatch.setenv("FGNET_DATA", str(tmp_path / "nowhere"))
    assert find_sample(tmp_path / "cache", checkout).path == shared


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FGNET_DATA", raising=False)
    monkeypatch.setenv("FGNET_SAMPLE_URL", "")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError) as caught:
        find_sample(tmp_path / "cache", None)
    assert caught.value.field == "cache"


def test_a_second_writer_leaves_the_first_copy(tmp_path: Path) -> None:
    _tiny(tmp_path / "s.zarr")
    _tiny(tmp_path / "s.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]


def test_the_shipped_registry_lists_the_whole_sample() -> None:
    registry = shipped_registry()
    sections = [f"training_sample2/grayscale_maps/iso.{2600 + z}.png" for z in range(180)]
    assert sorted(registry) == sorted([*sections, "training_sample2/groundtruth.h5.gz"])
    assert all(len(bytes.fromhex(digest.removeprefix("sha256:"))) == 32 for digest in registry.values())
