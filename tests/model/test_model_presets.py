"""The presets against the published counts, the official encoder's loading path, and the guidance variants."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import fgnet
import pytest
import torch
from fgnet import ModelError
from fgnet.blocks import resize
from fgnet.config import GUIDANCE, PRESETS, EncoderConfig, NetworkConfig, preset
from fgnet.describing import LinspaceOnCpu, shape_only
from fgnet.encoder import SectionEncoder, load_official
from fgnet.guidance import build_guidance
from fgnet.network import FGNet
from tiny_network import SMALL

MILLIONS = {"large": 212.70, "base_plus": 69.11, "small": 34.32, "tiny": 27.22}
#: MFLOP an output voxel of the authors' code, added up by hand over its layers (2 x multiply-add).
REFERENCE = {"large": 13.6, "base_plus": 6.7, "small": 3.9, "tiny": 3.2}
OFFICIAL = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


@pytest.mark.parametrize("name", MILLIONS)
def test_encoders_have_the_published_number_of_parameters(name: str) -> None:
    found = fgnet.describe(name)
    assert found["encoder_parameters"] == pytest.approx(MILLIONS[name] * 1e6, rel=1e-3)
    rest = found["parameters"] - found["encoder_parameters"]
    assert 1.5e6 < rest < 1.7e6
    modes = {mode: values["flop_per_output_voxel"] for mode, values in found["modes"].items()}
    assert modes["reference"] == pytest.approx(REFERENCE[name] * 1e6, rel=0.09)
    assert modes["exact"] <= 0.53 * modes["reference"] and modes["fast"] < 0.5 * modes["exact"]


def test_describe_counts_nano_and_refuses_what_has_no_network() -> None:
    found = fgnet.describe("nano")
    assert found["parameters"] == sum(
        p.numel() for p in FGNet(dataclasses.replace(preset("nano"), auxiliary=())).parameters()
    )
    assert found["modes"]["reference"]["flop_per_output_voxel"] > 3 * found["modes"]["exact"]["flop_per_output_voxel"]
    for name in ("identity", "nothing"):
        with pytest.raises(ModelError):
            fgnet.describe(name)


def official_names(name: str) -> dict[str, torch.Tensor]:
    """Keys and shapes of the whole official model, from sam2's own builder, on the meta device."""
    from sam2.build_sam import build_sam2

    with torch.device("meta"), LinspaceOnCpu():
        model = build_sam2(f"configs/sam2.1/sam2.1_hiera_{OFFICIAL[name]}.yaml", None, device="meta")
    return dict(model.state_dict())


def write_official(path: Path, keys: dict[str, torch.Tensor], value: float = 0.5) -> None:
    """A file of the official layout; one number stands for each tensor, so that it stays small."""
    torch.save({"model": {k: torch.tensor(value).expand(v.shape) for k, v in keys.items()}}, path)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_key_set_fits_the_preset(name: str) -> None:
    keys = official_names(name)
    ours = shape_only(preset(name)).encoder.image_encoder.state_dict()
    prefix = "image_encoder."
    theirs = {k.removeprefix(prefix): v.shape for k, v in keys.items() if k.startswith(prefix)}
    assert theirs == {k: v.shape for k, v in ours.items()} and len(keys) > len(theirs)


def test_an_official_checkpoint_loads_strictly(tmp_path: Path) -> None:
    keys = official_names("tiny")
    encoder = SectionEncoder(preset("tiny").encoder)
    write_official(tmp_path / "whole.pt", keys)
    load_official(encoder, tmp_path / "whole.pt")
    assert all(bool((p == 0.5).all()) for p in encoder.parameters())
    first = "image_encoder.trunk.patch_embed.proj.weight"
    broken = {k: v for k, v in keys.items() if k != first}
    broken["image_encoder.trunk.extra"] = torch.zeros(1)
    broken["image_encoder.neck.convs.0.conv.bias"] = torch.zeros(3)
    write_official(tmp_path / "broken.pt", broken, 0.25)
    with pytest.raises(ModelError) as caught:
        load_official(encoder, tmp_path / "broken.pt")
    message = str(caught.value)
    assert "missing: trunk.patch_embed.proj.weight" in message and "extra: trunk.extra" in message
    assert "neck.convs.0.conv.bias (3,) instead of (256,)" in message
    assert all(bool((p == 0.5).all()) for p in encoder.parameters())


def test_a_checkpoint_of_another_size_or_kind_is_refused(tmp_path: Path) -> None:
    write_official(tmp_path / "small.pt", official_names("small"))
    encoder = SectionEncoder(preset("tiny").encoder)
    with pytest.raises(ModelError, match=r"extra: trunk\.blocks"):
        load_official(encoder, tmp_path / "small.pt")
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name in ("other.pt", "text.pt"):
        with pytest.raises(ModelError, match="checkpoint"):
            load_official(encoder, tmp_path / name)


@pytest.mark.parametrize("kind", GUIDANCE)
def test_every_guidance_trains(kind: str) -> None:
    torch.manual_seed(0)
    network = FGNet(dataclasses.replace(SMALL, guidance=kind))
    logits = network(torch.randn(1, 1, 16, 32, 32))
    assert logits.refined.shape == (1, 3, 16, 32, 32)
    logits.refined.square().mean().backward()
    reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.encoder.parameters()]
    assert any(reached) == (kind != "none")


@pytest.mark.parametrize("name", ["nano", "large"])
def test_cross_attention_has_as_many_parameters_as_fga(name: str) -> None:
    config = preset(name)
    counts = [
        sum(p.numel() for p in shape_only(dataclasses.replace(config, guidance=kind)).parameters())
        for kind in ("fga", "cross_attention")
    ]
    assert abs(counts[1] / counts[0] - 1) < 0.02
    for width in config.fine.filters[1:4]:
        fga, cross = (
            sum(p.numel() for p in build_guidance(k, config.guide_channels, width, 8, True, True).parameters())
            for k in ("fga", "cross_attention")
        )
        assert abs(cross / fga - 1) < 0.02


def test_cross_attention_windows_are_undone_exactly() -> None:
    attention = build_guidance("cross_attention", 8, 16, 4, True, True)
    x = torch.randn(2, attention.heads * 16, 3, 8, 16)
    assert torch.equal(attention.volume(attention.windows(x, 4), x.shape, 4), x)


def test_without_stretching_a_coarse_voxel_lies_where_it_lies_in_a_larger_tile() -> None:
    small = torch.randn(1, 2, 4, 4, 4)
    large = torch.cat([small, torch.randn(1, 2, 4, 4, 4)], dim=4)
    inner = slice(0, 7)  # the last voxel looks beyond the end of the small map
    for corners in (False, True):
        a, b = resize(small, (8, 8, 8), corners), resize(large, (8, 8, 16), corners)
        assert torch.allclose(a[..., inner], b[..., inner], atol=1e-6) != corners
    assert not preset("nano").align_corners and preset("tiny").align_corners  # the paper's presets stay the authors'


def test_guides_do_not_mix_sections() -> None:
    torch.manual_seed(0)
    network = FGNet(SMALL).eval()
    x = torch.randn(1, 1, 4, 32, 32)
    other = x.clone()
    other[:, :, 2] += 1
    with torch.inference_mode():
        for a, b in zip(network.guides(x), network.guides(other), strict=True):
            assert torch.equal(a[:, :, [0, 1, 3]], b[:, :, [0, 1, 3]]) and not torch.equal(a[:, :, 2], b[:, :, 2])


def test_configurations_survive_json() -> None:
    for name in PRESETS:
        assert NetworkConfig.from_json(preset(name).to_json()) == preset(name)
    with pytest.raises(ModelError):
        NetworkConfig.from_json('{"name": "x", "encoder": {"wings": 2}}')
    with pytest.raises(ModelError, match="guidance"):
        dataclasses.replace(SMALL, guidance="gradients")
    assert EncoderConfig().embed_dim == 144
