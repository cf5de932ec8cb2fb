"""Sizes of a network as frozen data, and the presets. Importing this module does not import torch."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fgnet.errors import ModelError, did_you_mean
from fgnet.geometry import NEAREST, Triple

Padding = Literal["zeros", "replicate"]
#: Channels of local shape descriptors.
DESCRIPTORS = 10
GUIDANCE = ("fga", "none", "se", "cbam", "eca", "cross_attention")


@dataclass(frozen=True)
class EncoderConfig:
    """Arguments of sam2's Hiera and FpnNeck, named as in sam2; the defaults are those of the large encoder."""

    embed_dim: int = 144
    num_heads: int = 2
    stages: tuple[int, ...] = (2, 6, 36, 4)
    global_att_blocks: tuple[int, ...] = (23, 33, 43)
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (7, 7)
    window_spec: tuple[int, ...] = (8, 4, 16, 8)
    dim_mul: float = 2.0
    head_mul: float = 2.0
    d_model: int = 256
    imagenet: bool = True
    """Subtract ImageNet's mean and divide by its deviation after the normalisation, as the authors' code does."""


@dataclass(frozen=True)
class FineConfig:
    """The fine-grained encoder and the refined decoder: one entry per level, finest first; kernels and strides zyx.

    Attributes:
        filters: channels.
        strides: of the convolution that leads to the level.
        kernels: of that convolution.
        stem: kernels of the convolutions before the first level, with `filters[0]` channels each.
        block: a name of `fgnet.blocks.BLOCKS`.
        block_kernel: kernel of the blocks, and of the decoder's convolutions.
        expansion: of the channels inside of a `convnext` block.
        blocks: number of blocks.
        decoder_convs: number of convolutions on the way up; the entry of the coarsest level is not used.
        head_kernel: kernel of the last convolution.
    """

    filters: tuple[int, ...] = (16, 64, 64, 64, 64)
    strides: tuple[Triple, ...] = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    kernels: tuple[Triple, ...] = ((1, 3, 3), (1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))
    stem: tuple[Triple, ...] = ((1, 3, 3), (1, 3, 3))
    block: str = "convnext"
    block_kernel: Triple = (3, 7, 7)
    expansion: int = 4
    blocks: tuple[int, ...] = (1, 1, 1, 1, 1)
    decoder_convs: tuple[int, ...] = (0, 0, 0, 0, 0)
    head_kernel: Triple = (1, 5, 5)


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that shapes a network's parameters.

    Attributes:
        name: of the preset.
        encoder: the section encoder.
        fine: the fine-grained encoder and the refined decoder.
        guide_channels: channels of a guide.
        guided_levels: levels of the fine encoder that take a guide, 0 = finest; level n takes guide n - 1.
        guidance: how they take it, one of `GUIDANCE`.
        coarse_channels: channels of the coarse head.
        coarse_convs: number of its convolutions.
        groups: of every norm at most; 0: norms have constant statistics (`fgnet.frozen`).
        neighbourhood: one zyx offset in voxels per channel of the affinities.
        auxiliary: further offsets, predicted in training only.
        descriptors: whether local shape descriptors are predicted, in training only.
    """

    name: str = "large"
    encoder: EncoderConfig = EncoderConfig()
    fine: FineConfig = FineConfig()
    guide_channels: int = 64
    guided_levels: tuple[int, ...] = (1, 2, 3)
    guidance: str = "fga"
    pool_guides: bool = False
    """Average guides over z for a level that is coarser in z, instead of interpolating between sections."""
    align_corners: bool = True
    """True: a coarse map is stretched until its corner voxels meet those of the finer one, as in the authors' code; how
    far depends on the size of the tile. False: a coarse voxel covers the same finer voxels in tiles of any size."""
    coarse_channels: int = 64
    coarse_convs: int = 4
    coarse_padding: Padding = "zeros"
    """`padding_mode` of the coarse head, as torch names it; the authors' code repeats the edge (`replicate`)."""
    groups: int = 8
    neighbourhood: tuple[Triple, ...] = NEAREST
    auxiliary: tuple[Triple, ...] = ()
    descriptors: bool = False

    def __post_init__(self) -> None:
        if self.guidance not in GUIDANCE:
            raise ModelError("guidance", self.guidance, f"one of {GUIDANCE}", "choose one of these")
        if self.coarse_padding not in get_args(Padding):
            raise ModelError(
                "coarse_padding", self.coarse_padding, f"one of {get_args(Padding)}", "choose one of these"
            )

    def to_json(self) -> str:
        """The configuration as text, keys sorted. Earlier versions read it, unless it has what they lack."""
        fields = dataclasses.asdict(self)
        if not self.descriptors:
            del fields["descriptors"]
        return json.dumps(fields, sort_keys=True)

    def without_training(self) -> NetworkConfig:
        """The network without its outputs that only help in training."""
        return dataclasses.replace(self, auxiliary=(), descriptors=False)

    @classmethod
    def from_json(cls, text: str) -> NetworkConfig:
        """The inverse of `to_json`; a field that the text lacks has its default.

        Raises:
            ModelError: a field is unknown, or the text is no JSON object.
        """
        try:
            fields = {name: _tuples(value) for name, value in json.loads(text).items()}
            fields["encoder"] = EncoderConfig(**fields["encoder"])
            fields["fine"] = FineConfig(**fields["fine"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            remedy = "it was written by another version: export it again"
            raise ModelError("checkpoint", text[:80], "the architecture of an FGNet", remedy) from error


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    if isinstance(value, dict):
        return {name: _tuples(v) for name, v in value.items()}
    return value


_ISOTROPIC = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))
_NANO = NetworkConfig(
    name="nano",
    encoder=EncoderConfig(
        embed_dim=32,
        num_heads=1,
        head_mul=1.0,
        dim_mul=1.5,
        stages=(1, 2, 3, 1),
        global_att_blocks=(4,),
        window_spec=(8, 4, 6, 3),
        d_model=48,
        imagenet=False,
    ),
    fine=FineConfig(
        filters=(16, 32, 64, 80, 80),
        strides=_ISOTROPIC,
        kernels=((3, 3, 3),) * 5,
        stem=((3, 3, 3),),
        block="dense",
        block_kernel=(3, 3, 3),
        blocks=(0, 2, 1, 1, 1),
        decoder_convs=(1, 1, 1, 0, 0),
        head_kernel=(3, 3, 3),
    ),
    guide_channels=32,
    pool_guides=True,
    align_corners=False,
    coarse_channels=24,
    coarse_convs=3,
    auxiliary=((-3, 0, 0), (0, -3, 0), (0, 0, -3), (-9, 0, 0), (0, -9, 0), (0, 0, -9)),
)
#: The parameters of `nano` have the same shapes, so weights of one begin a training of the other. The first two levels
#: keep all sections, because a section is some times thicker than a pixel is wide.
_NANO_SECTIONS = dataclasses.replace(
    _NANO,
    name="nano-sections",
    fine=dataclasses.replace(_NANO.fine, strides=((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))),
    auxiliary=((-2, 0, 0), (0, -3, 0), (0, 0, -3), (0, -9, 0), (0, 0, -9)),
)
_SAM = {
    "tiny": EncoderConfig(96, 1, (1, 2, 7, 2), (5, 7, 9), (7, 7), (8, 4, 14, 7)),
    "small": EncoderConfig(96, 1, (1, 2, 11, 2), (7, 10, 13), (7, 7), (8, 4, 14, 7)),
    "base_plus": EncoderConfig(112, 2, (2, 3, 16, 3), (12, 16, 20), (14, 14), (8, 4, 14, 7)),
    "large": EncoderConfig(),
}
_NANOS = {"nano": _NANO, "nano-sections": _NANO_SECTIONS}
PRESETS = (*_NANOS, *_SAM)


def preset(name: str) -> NetworkConfig:
    """The configuration of one of `PRESETS`.

    Raises:
        ModelError: another name.
    """
    if name in _NANOS:
        return _NANOS[name]
    if name not in _SAM:
        raise ModelError("architecture", name, f"one of {PRESETS}", did_you_mean(name, PRESETS, "choose one of these"))
    return NetworkConfig(name=name, encoder=_SAM[name], coarse_padding="replicate")
