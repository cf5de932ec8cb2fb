"""The model as a pipeline sees it: geometry, tiles in, affinities out, weights on disk."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import fgnet
import numpy as np
import pytest
import torch
from fgnet import ModelError
from fgnet.network import FGNet, channels_last
from fgnet.training.checkpoints import export, sharpened
from tiny_network import GEOMETRY, SMALL


def tiles(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, size, size, size)).astype(np.float32)


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, fgnet, fgnet.normalise; fgnet.read_geometry('identity'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_identity_gives_raw_over_255_exactly_after_rounding() -> None:
    geometry = fgnet.read_geometry("identity")
    raw = np.random.default_rng(0).integers(0, 256, (2, *geometry.tile)).astype(np.uint8)
    shift, scale = fgnet.normalise.constants(raw, geometry.normalisation)
    found = fgnet.load_predictor("identity")(fgnet.normalise.apply(raw, shift, scale))
    assert found.dtype == np.float32 and found.shape == (2, 3, *geometry.output)
    inner = raw[:, 2:-2, 2:-2, 2:-2]
    for channel in range(3):
        assert np.array_equal(np.round(found[:, channel] * 255), inner)


def test_shift_is_the_local_mean() -> None:
    values = np.random.default_rng(1).random((1, 16, 16, 16)).astype(np.float32)
    found = fgnet.load_predictor("shift")(values * 2 - 1)
    assert found[0, 1, 0, 4, 5] == pytest.approx(values[0, 1:4, 5:8, 6:9].mean(), abs=1e-6)


def test_a_tile_does_not_depend_on_its_batch_mates(checkpoint: Path) -> None:
    predictor = fgnet.load_predictor(str(checkpoint))
    several = tiles(3)
    together = predictor(several)
    assert together.shape == (3, 3, *GEOMETRY.output) and together.dtype == np.float32
    for i in range(3):
        assert np.array_equal(predictor(several[i : i + 1])[0], together[i])
    assert together.min() >= 0 and together.max() <= 1 and together.std() > 0


def test_every_mode_agrees_on_small_weights(checkpoint: Path) -> None:
    one = tiles(1)
    exact, reference, fast = (fgnet.load_predictor(str(checkpoint), m)(one) for m in ("exact", "reference", "fast"))
    assert np.abs(exact - reference).max() < 1e-4
    assert np.abs(fast - exact).max() < 0.05


def test_exported_weights_come_back(checkpoint: Path) -> None:
    torch.manual_seed(0)
    network = channels_last(FGNet(SMALL)).eval()
    x = torch.from_numpy(tiles(1))[:, None]
    with torch.inference_mode():
        expected = network(x).refined.sigmoid().numpy()[..., 4:-4, 4:-4, 4:-4]
    assert np.allclose(fgnet.load_predictor(str(checkpoint))(tiles(1)), expected, atol=1e-5)
    assert fgnet.read_geometry(str(checkpoint)) == GEOMETRY


def test_sharpened_weights_sharpen_the_logits(checkpoint: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FGNet(SMALL)
    export(tmp_path / "s.safetensors", network, sharpened(network.state_dict(), 2.0, 0.5), GEOMETRY, half=False)
    plain, sharp = (fgnet.load_predictor(str(p))(tiles(1)) for p in (checkpoint, tmp_path / "s.safetensors"))
    logits = np.log(plain / (1 - plain))
    assert np.allclose(sharp, 1 / (1 + np.exp(-2 * (logits - 0.5))), atol=1e-4)


def test_the_geometry_is_read_without_torch(checkpoint: Path) -> None:
    code = "import sys, fgnet; fgnet.read_geometry(sys.argv[1]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(checkpoint)], check=True)


def test_wrong_keys_are_listed(tmp_path: Path) -> None:
    network = FGNet(SMALL)
    state = dict(network.state_dict())
    state["stray.weight"] = torch.zeros(2)
    state["head.bias"] = torch.zeros(7)
    del state["head.weight"]
    export(tmp_path / "bad.safetensors", network, state, GEOMETRY)
    with pytest.raises(ModelError) as caught:
        fgnet.load_predictor(str(tmp_path / "bad.safetensors"))
    message = str(caught.value)
    assert "missing: head.weight" in message and "extra: stray.weight" in message
    assert "head.bias (7,) instead of (3,)" in message


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\xff" * 64])
def test_a_file_that_is_no_checkpoint_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    for call in (fgnet.read_geometry, fgnet.load_predictor):
        with pytest.raises(ModelError, match=r"model\.checkpoint"):
            call(str(path))


def test_unknown_names_modes_and_digests_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ModelError, match="identity"):
        fgnet.read_geometry("no-such-model")
    with pytest.raises(ModelError, match=r"model\.mode"):
        fgnet.load_predictor(str(checkpoint), mode="quick")
    with pytest.raises(ModelError, match="SHA-256"):
        fgnet.load_predictor(str(checkpoint), expect_sha256="0" * 64)
    assert fgnet.load_predictor(str(checkpoint), expect_sha256=fgnet.checkpoint_digest(str(checkpoint)))


def test_tiles_of_another_shape_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ModelError, match="tiles"):
        fgnet.load_predictor(str(checkpoint))(tiles(1, 16))


def test_geometry_refuses_what_cannot_cover_a_volume() -> None:
    with pytest.raises(ModelError, match="stride"):
        dataclasses.replace(GEOMETRY, stride=(25, 16, 16))
    with pytest.raises(ModelError, match="neighbourhood"):
        dataclasses.replace(GEOMETRY, neighbourhood=((0, 0, -1), (0, -1, 0), (-1, 0, 0)))


def test_normalisation_ignores_contrast_brightness_padding_and_outliers() -> None:
    rng = np.random.default_rng(5)
    raw = rng.normal(100, 10, 50_000)
    base = fgnet.normalise.apply(raw, *fgnet.normalise.constants(raw))
    bent = 2 * raw + 30
    bent_result = fgnet.normalise.apply(bent, *fgnet.normalise.constants(np.append(bent, np.zeros(9000))))
    assert np.allclose(base, bent_result, atol=1e-4)
    assert fgnet.normalise.constants(np.zeros(10)) == (0.0, 1.0)
    assert fgnet.normalise.constants(np.full(10, 7))[1] == 1.0


def test_the_shipped_weights_load_and_predict() -> None:
    geometry = fgnet.read_geometry("nano-fib25")
    assert geometry.architecture == "nano" and geometry.voxel_size == (10.0, 10.0, 10.0)
    noise = np.random.default_rng(2).normal(size=(1, *geometry.tile)).astype(np.float32)
    found = fgnet.load_predictor("nano-fib25", threads=1)(noise)
    assert found.shape == (1, 3, *geometry.output) and 0 <= found.min() < found.max() <= 1


def test_the_shipped_file_is_small() -> None:
    assert (Path(fgnet.__file__).parent / "weights" / "nano-fib25.safetensors").stat().st_size <= 5_000_000
