"""The predict stage beside padding: the same affinities for every division, as if the padding were not there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import fgnet
import numpy as np
import pytest
from numpy.typing import NDArray
from pipeline_tools import Command, read, state_of, write_config, write_volume
from tiny_network import GEOMETRY, write_checkpoint

from fgnet_pipeline.kernels import cpu_steps
from fgnet_pipeline.stages.tile_network import IMPLEMENTATION, TileNetwork, padding_runs
from fgnet_pipeline.training.validation import predict_alone

SHAPE = (24, 48, 56)
NORMALISATION = (120.0, 40.0)
#: How `load_predictor` is called for the number of an implementation.
ARITHMETIC: dict[int, dict[str, Any]] = {
    1: {"definition": True},
    2: {"definition": True},
    3: {},
    4: {"kernels": cpu_steps},
    5: {"kernels": cpu_steps},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained network with a margin of four voxels."""
    return write_checkpoint(tmp_path_factory.mktemp("weights"))


def network_of(
    predictor: Any, number: int = IMPLEMENTATION, constants: tuple[float, float] = NORMALISATION
) -> TileNetwork:
    """The network as stage predict makes it for the number of an implementation."""
    margin = predictor.geometry.margin
    return TileNetwork(
        predictor, lambda tiles: fgnet.normalise.apply(tiles, *constants), margin, 3, padding_runs(number, margin)
    )


def tissue(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    """Odd values, which no padding of these tests has."""
    return (2 * np.random.default_rng(0).integers(0, 126, shape) + 1).astype(np.uint8)


class Counted:
    """A predictor that keeps the tiles it is given."""

    def __init__(self, predictor: fgnet.predictor.Predictor) -> None:
        self.predictor, self.geometry = predictor, predictor.geometry
        self.tiles: list[NDArray[np.float32]] = []

    def __call__(self, tiles: NDArray[np.float32]) -> NDArray[np.float32]:
        self.tiles += list(tiles)
        return self.predictor(tiles)


def test_a_tile_of_tissue_is_predicted_as_it_is(checkpoint: Path) -> None:
    predictor = fgnet.load_predictor(str(checkpoint))
    tile = tissue(GEOMETRY.tile)[None]
    expected = predictor(fgnet.normalise.apply(tile, *NORMALISATION))
    assert (network_of(predictor)(tile) == expected).all()


def test_a_tile_of_padding_costs_nothing_and_has_no_affinity(checkpoint: Path) -> None:
    counted = Counted(fgnet.load_predictor(str(checkpoint)))
    found = network_of(counted)(np.full((1, *GEOMETRY.tile), 255, np.uint8))
    assert found.shape == (1, 3, *GEOMETRY.output) and not found.any() and not counted.tiles


@pytest.mark.parametrize("value", [0, 128, 255])
def test_the_network_sees_mirrored_tissue_and_nothing_of_the_value(checkpoint: Path, value: int) -> None:
    counted = Counted(fgnet.load_predictor(str(checkpoint)))
    tile = tissue(GEOMETRY.tile)
    tile[:, :, 20:] = value
    found = network_of(counted)(tile[None])[0]
    (seen,) = counted.tiles
    mirrored = np.concatenate([tile[..., :20], tile[..., 18:6:-1]], axis=-1)
    assert (seen == fgnet.normalise.apply(mirrored, *NORMALISATION)).all()
    assert not found[..., 20:].any() and found[..., :20].all(), "0 from a margin beyond the tissue on"


def configured(folder: Path, checkpoint: Path, raw: NDArray[np.uint8], name: str, block: list[int]) -> Path:
    """A configuration of stage predict whose output is `name`."""
    path = folder / "raw.zarr"
    if not path.exists():
        write_volume(path, raw)
    return write_config(
        folder / f"{name}.toml",
        volume={"path": str(path)},
        output={"path": str(folder / name), "shard_shape": [8, 16, 16], "chunk_shape": [8, 16, 16]},
        model={"checkpoint": str(checkpoint)},
        schedule={"workers": 0, "block_shape": block},
    )


@pytest.mark.parametrize("value", [0, 255])
def test_every_division_gives_the_same_bytes(tmp_path: Path, checkpoint: Path, command: Command, value: int) -> None:
    raw = tissue()
    raw[:, 20:] = value
    raw[7] = value
    for name, block in (("small", [16, 16, 16]), ("large", [24, 48, 64])):
        assert command("predict", configured(tmp_path, checkpoint, raw, name, block))[0] == 0
    affinities = read(tmp_path / "small", "affinities")
    assert (affinities == read(tmp_path / "large", "affinities")).all()
    assert not affinities[:, :, 28:].any() and affinities[:, :, :20].any()


def begun_by(number: int, folder: Path, checkpoint: Path, raw: NDArray[np.uint8], command: Command) -> tuple[Path, Any]:
    """A configuration whose output holds one block and says another implementation, and its normalisation."""
    config = configured(folder, checkpoint, raw, "out", [16, 16, 16])
    assert command("predict", config, "--set", "volume.roi=[[0,0,0],[160,160,160]]", "--yes")[0] == 0
    stored = state_of(folder / "out") / "progress" / "predict" / "fingerprint.json"
    fingerprint = json.loads(stored.read_text())
    assert fingerprint.pop("implementation") == IMPLEMENTATION
    if number > 1:  # the first one stated no number
        fingerprint["implementation"] = number
    stored.write_text(json.dumps(fingerprint))
    return config, fingerprint["normalisation"]


@pytest.mark.parametrize("number", range(1, IMPLEMENTATION))
def test_an_output_of_an_earlier_implementation_is_completed_by_it(
    tmp_path: Path, checkpoint: Path, command: Command, number: int
) -> None:
    raw = tissue()
    raw[:, 20:] = 255
    raw[17:23, 2:18, 30:44] = 101  # longer than the margins, so padding for numbers 2 to 4
    config, constants = begun_by(number, tmp_path, checkpoint, raw, command)
    assert command("predict", config)[0] == 0
    assert command("verify", config)[0] == 0
    found = read(tmp_path / "out", "affinities")[:, 16:]
    former, present = (
        predict_alone(raw, GEOMETRY, network_of(fgnet.load_predictor(str(checkpoint), **ARITHMETIC[by]), by, constants))
        for by in (number, IMPLEMENTATION)
    )
    assert (found == former[:, 16:]).all() and found[:, :, 30:].any() == (number == 1)
    assert (former[:, 16:] != present[:, 16:]).any()


@pytest.mark.parametrize("margin", [0, 1])
def test_tissue_is_not_padding_however_small_the_margins_are(tmp_path: Path, command: Command, margin: int) -> None:
    """With no margin, a run of a single voxel once was longer than the margins, and every affinity was 0."""
    geometry = dataclasses.replace(GEOMETRY, stride=(16, 16, 16), margin=(margin,) * 3)
    thin = write_checkpoint(tmp_path, geometry)
    raw = tissue()
    raw[:, 4:6, 8:20] = 255  # a bright organelle
    config = configured(tmp_path, thin, raw, "out", [24, 48, 64])
    assert command("predict", config)[0] == 0
    constants = json.loads((state_of(tmp_path / "out") / "progress" / "predict" / "fingerprint.json").read_text())
    predictor = fgnet.load_predictor(str(thin), kernels=cpu_steps)
    normalised = fgnet.normalise.apply(raw, *constants["normalisation"])
    found = read(tmp_path / "out", "affinities")
    assert (found == predict_alone(normalised, geometry, predictor)).all() and found.min() > 0


def test_affinities_of_tissue_taken_for_padding_are_not_completed(tmp_path: Path, command: Command) -> None:
    geometry = dataclasses.replace(GEOMETRY, stride=(16, 16, 16), margin=(4, 0, 0))
    config, _ = begun_by(4, tmp_path, write_checkpoint(tmp_path, geometry), tissue(), command)
    code, _, error = command("predict", config)
    assert code == 2 and "--redo predict" in error and f"implementation: 4 -> {IMPLEMENTATION}" in error
    assert command("predict", config, "--redo", "predict", "--yes")[0] == 0
    assert read(tmp_path / "out", "affinities").min() > 0


def test_new_affinities_are_of_the_newest_implementation(tmp_path: Path, checkpoint: Path, command: Command) -> None:
    config = configured(tmp_path, checkpoint, tissue(), "out", [24, 48, 64])
    assert command("predict", config)[0] == 0
    stored = json.loads((state_of(tmp_path / "out") / "progress" / "predict" / "fingerprint.json").read_text())
    network = network_of(fgnet.load_predictor(str(checkpoint), **ARITHMETIC[5]), 5, stored["normalisation"])
    assert stored["implementation"] == 5
    assert (read(tmp_path / "out", "affinities") == predict_alone(tissue(), GEOMETRY, network)).all()


def test_an_output_of_a_later_implementation_is_refused(tmp_path: Path, checkpoint: Path, command: Command) -> None:
    config, _ = begun_by(IMPLEMENTATION + 1, tmp_path, checkpoint, tissue(), command)
    before = read(tmp_path / "out", "affinities")
    code, _, error = command("predict", config)
    assert code == 2 and "--redo predict" in error
    assert f"implementation: {IMPLEMENTATION + 1} -> {IMPLEMENTATION}" in error
    assert (read(tmp_path / "out", "affinities") == before).all()
