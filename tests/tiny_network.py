"""A network small enough for tests, untrained."""

from __future__ import annotations

from pathlib import Path

import torch
from fgnet import Geometry
from fgnet.config import EncoderConfig, FineConfig, NetworkConfig
from fgnet.network import FGNet
from fgnet.training.checkpoints import export

SMALL = NetworkConfig(
    name="test",
    encoder=EncoderConfig(
        embed_dim=8,
        num_heads=1,
        head_mul=1.0,
        stages=(1, 1, 2, 1),
        global_att_blocks=(3,),
        window_spec=(8, 4, 2, 1),
        d_model=16,
        imagenet=False,
    ),
    fine=FineConfig(
        filters=(4, 8, 8, 8, 8),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        kernels=((3, 3, 3),) * 5,
        stem=((3, 3, 3),),
        block="dense",
        block_kernel=(3, 3, 3),
        head_kernel=(3, 3, 3),
    ),
    guide_channels=8,
    pool_guides=True,
    coarse_channels=8,
    auxiliary=((-3, 0, 0),),
)
GEOMETRY = Geometry((32, 32, 32), (16, 16, 16), (4, 4, 4), (10.0, 10.0, 10.0), architecture="test")
#: The processor, and a GPU if torch sees one.
DEVICES = ("cpu", *(["cuda"] if torch.cuda.is_available() else []))


def write_checkpoint(folder: Path, geometry: Geometry = GEOMETRY) -> Path:
    """Export the weights of an untrained network; returns the path of the file."""
    torch.manual_seed(0)
    network = FGNet(SMALL)
    path = folder / "test.safetensors"
    export(path, network, network.state_dict(), geometry, half=False)
    return path
