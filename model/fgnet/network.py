"""FGNet (arXiv 2511.13063): a SAM 2 encoder per section guides a 3D fine-grained encoder, which predicts affinities.

Coarse logits come from the guides alone and help in training only; the refined logits are the prediction.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fgnet.blocks import BLOCKS, ChannelNorm, Conv3d, conv_norm_elu, resize, same
from fgnet.config import DESCRIPTORS, NetworkConfig
from fgnet.encoder import SectionEncoder
from fgnet.fusion import FusionPyramid
from fgnet.guidance import build_guidance


@dataclass
class Logits:
    """Logits of affinities; a sigmoid gives probabilities of the same object.

    Attributes:
        refined: (B, C, z, y, x), one channel per offset of the neighbourhood.
        coarse: the same shape, in training only.
        auxiliary: (B, C', z, y, x), one channel per auxiliary offset, in training only.
        descriptors: (B, 10, z, y, x), of local shape descriptors (`fgnet.training.descriptors`), in training only.
    """

    refined: Tensor
    coarse: Tensor | None = None
    auxiliary: Tensor | None = None
    descriptors: Tensor | None = None


class FineEncoder(nn.Module):
    """(B, 1, z, y, x) and three guides -> features (B, filters, z/sz, y/sy, x/sx) of every level, finest first."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        fine, groups = config.fine, config.groups
        widths = (1, *(fine.filters[0] for _ in fine.stem))
        self.stem = nn.Sequential(
            *(conv_norm_elu(a, b, k, groups) for a, b, k in zip(widths, widths[1:], fine.stem, strict=False))
        )
        inputs = (widths[-1], *fine.filters)
        self.down = nn.ModuleList(
            conv_norm_elu(a, b, k, groups, s)
            for a, b, k, s in zip(inputs, fine.filters, fine.kernels, fine.strides, strict=False)
        )
        self.guide = nn.ModuleDict(
            {
                str(level): build_guidance(
                    config.guidance,
                    config.guide_channels,
                    fine.filters[level],
                    groups,
                    config.pool_guides,
                    config.align_corners,
                )
                for level in config.guided_levels
            }
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(BLOCKS[fine.block](width, fine.block_kernel, fine.expansion, groups) for _ in range(count)))
            for width, count in zip(fine.filters, fine.blocks, strict=True)
        )

    def forward(self, x: Tensor, guides: list[Tensor]) -> list[Tensor]:
        x = self.stem(x)
        levels = []
        for level, (down, block) in enumerate(zip(self.down, self.blocks, strict=True)):
            x = down(x)
            if str(level) in self.guide:
                x = self.guide[str(level)](x, guides[level - 1])
            x = block(x)
            levels.append(x)
        return levels


class RefinedDecoder(nn.Module):
    """Features of every level -> (B, filters[0], z, y, x): 1x1x1, upsample, add the skip, channel norm.

    The list of levels is emptied on the way, so that a level is freed as soon as it was added.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        fine = config.fine
        self.corners = config.align_corners
        pairs = list(itertools.pairwise(fine.filters))
        self.lateral = nn.ModuleList(Conv3d(below, above, 1) for above, below in pairs)
        self.norm = nn.ModuleList(ChannelNorm(above) for above, _ in pairs)
        self.convs = nn.ModuleList(
            nn.Sequential(*(conv_norm_elu(width, width, fine.block_kernel, config.groups) for _ in range(count)))
            for (width, _), count in zip(pairs, fine.decoder_convs, strict=False)
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        x = levels.pop()
        for level in reversed(range(len(levels))):
            skip = levels.pop()
            x = skip + resize(self.lateral[level](x), skip.shape[2:], self.corners)
            del skip
            x = self.norm[level](x)
            x = self.convs[level](x)
        return x


class FGNet(nn.Module):
    """(B, 1, z, y, x) normalised raw -> `Logits`; y and x multiples of 32, z of the product of the z strides."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        fine, outputs = config.fine, len(config.neighbourhood)
        self.encoder = SectionEncoder(config.encoder)
        self.fusion = FusionPyramid(config.encoder.d_model, config.guide_channels)
        widths = (config.guide_channels, *(config.coarse_channels for _ in range(config.coarse_convs)))
        self.coarse = nn.Sequential(
            *(
                conv_norm_elu(a, b, (3, 3, 3), config.groups, padding=config.coarse_padding)
                for a, b in itertools.pairwise(widths)
            ),
            Conv3d(widths[-1], outputs, 1),
        )
        self.fine = FineEncoder(config)
        self.decoder = RefinedDecoder(config)
        self.head = Conv3d(fine.filters[0], outputs, fine.head_kernel, padding=same(fine.head_kernel))
        extra = len(config.auxiliary)
        self.auxiliary = Conv3d(fine.filters[0], extra, 1) if extra else None
        self.descriptors = Conv3d(fine.filters[0], DESCRIPTORS, 1) if config.descriptors else None

    def guides(self, x: Tensor) -> list[Tensor]:
        """(B, 1, z, y, x) -> three guides (B, C, z, y/s, x/s), s = 4, 8, 16.

        No operation mixes sections, so that the guides of a section can be cached.
        """
        batch, _, depth, height, width = x.shape
        maps = self.encoder(x.reshape(batch * depth, 1, height, width))
        guides = self.fusion(maps)
        volumes = (g.unflatten(0, (batch, depth)).transpose(1, 2) for g in guides)
        return [v.contiguous(memory_format=torch.channels_last_3d) for v in volumes]

    def coarse_logits(self, guides: list[Tensor], shape: tuple[int, ...]) -> Tensor:
        """Coarse logits (B, C, *shape) from the guides alone."""
        return resize(self.coarse(guides[0]), shape, self.config.align_corners)

    def refine(self, x: Tensor, guides: list[Tensor]) -> Tensor:
        """Refined logits (B, C, z, y, x) from the input and its guides: all that inference needs."""
        result: Tensor = self.head(self.decoder(self.fine(x, guides)))
        return result

    def forward(self, x: Tensor) -> Logits:
        """Refined logits, and in training mode all others that the network has."""
        guides = self.guides(x)
        features = self.decoder(self.fine(x, guides))
        refined = self.head(features)
        if not self.training:
            return Logits(refined)
        coarse = self.coarse_logits(guides, x.shape[2:])
        others = (None if head is None else head(features) for head in (self.auxiliary, self.descriptors))
        return Logits(refined, coarse, *others)


def channels_last(network: FGNet) -> FGNet:
    """The same network, with the weights of its 3D convolutions in the memory layout channels last: faster on CPUs."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            weight = module.weight.data
            module.weight.data = weight.contiguous(memory_format=torch.channels_last_3d)
    return network
