"""The SAM 2 image encoder, section by section, built from sam2's own classes without Hydra."""

from __future__ import annotations

from pathlib import Path

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from torch import Tensor, nn

from fgnet.config import EncoderConfig
from fgnet.errors import ModelError
from fgnet.tensors import compare_keys, read_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
#: What the names of the image encoder's parameters begin with in an official checkpoint.
OFFICIAL_PREFIX = "image_encoder."


class SectionTrunk(Hiera):
    """Hiera that keeps the position embedding of one shape until its weights change or a gradient is wanted.

    If sections are small and come one by one, interpolating the embedding in every call takes a share of the time that
    can be measured.
    """

    def _get_pos_embed(self, hw: tuple[int, int]) -> Tensor:
        if torch.is_grad_enabled():
            return self._interpolated(hw)
        sources = (self.pos_embed, self.pos_embed_window)
        key = (tuple(hw), *((id(p), 0 if p.is_inference() else p._version, p.dtype, p.device) for p in sources))
        held: tuple[object, Tensor] | None = getattr(self, "_position", None)
        if held is None or held[0] != key:
            held = self._position = (key, self._interpolated(hw))
        return held[1]

    def _interpolated(self, hw: tuple[int, int]) -> Tensor:
        embedding: Tensor = super()._get_pos_embed(hw)
        return embedding


class NoPosition(nn.Module):
    """Replaces sam2's position encoding, which has no parameters and which FGNet does not read."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:0]


def build_image_encoder(config: EncoderConfig) -> ImageEncoder:
    """sam2's ImageEncoder; its parameters have the official names without the prefix `image_encoder.`."""
    trunk = SectionTrunk(
        embed_dim=config.embed_dim,
        num_heads=config.num_heads,
        stages=config.stages,
        global_att_blocks=config.global_att_blocks,
        window_pos_embed_bkg_spatial_size=config.window_pos_embed_bkg_spatial_size,
        window_spec=config.window_spec,
        dim_mul=config.dim_mul,
        head_mul=config.head_mul,
    )
    neck = FpnNeck(
        NoPosition(),
        d_model=config.d_model,
        backbone_channel_list=trunk.channel_list,
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return ImageEncoder(trunk, neck, scalp=1)


class SectionEncoder(nn.Module):
    """Normalised sections (N, 1, y, x), multiples of 32 -> three maps (N, d_model, y/s, x/s), s = 4, 8, 16."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.image_encoder = build_image_encoder(config)
        self.imagenet = config.imagenet
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, sections: Tensor) -> list[Tensor]:
        rgb: Tensor = sections.expand(-1, 3, -1, -1)
        if self.imagenet:
            rgb = (rgb - self.mean) / self.deviation
        maps: list[Tensor] = self.image_encoder(rgb)["backbone_fpn"]
        return maps


def load_official(encoder: SectionEncoder, path: Path) -> None:
    """Put the image encoder of an official checkpoint into `encoder`, in place.

    The other parts of the file (memory, prompts, mask decoder) are left out.

    Args:
        encoder: of the same size.
        path: of a file `sam2.1_hiera_*.pt`.

    Raises:
        ModelError: another kind of file, or keys that are missing, extra or of another shape (all listed).
    """
    loaded = read_weights(path)
    state = loaded.get("model", loaded)
    if not isinstance(state, dict) or not any(str(k).startswith(OFFICIAL_PREFIX) for k in state):
        remedy = "download sam2.1_hiera_{tiny,small,base_plus,large}.pt from Meta"
        raise ModelError("model.encoder_checkpoint", str(path), "an official SAM 2.1 checkpoint", remedy)
    found = {k.removeprefix(OFFICIAL_PREFIX): v for k, v in state.items() if k.startswith(OFFICIAL_PREFIX)}
    compare_keys(found, encoder.image_encoder.state_dict(), str(path), "model.encoder_checkpoint")
    encoder.image_encoder.load_state_dict(found)
