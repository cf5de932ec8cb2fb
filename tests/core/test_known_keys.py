"""The key that was meant by one that does not exist."""

from __future__ import annotations

import pytest

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.known_keys import keys_at, meant_key
from fgnet_pipeline.training.config import TrainConfig


def test_the_keys_of_a_table() -> None:
    assert keys_at(Config, ("output",)) == ("path", "state", "chunk_shape", "shard_shape")
    assert keys_at(Config, ("schedule", "fragments")) == ("workers", "block_shape")
    assert keys_at(TrainConfig, ("data", "volumes", 0)) == ("raw", "labels", "begin", "end", "weight", "mask")
    assert keys_at(Config, ("volume", "path")) == () == keys_at(Config, ("nothing",))


@pytest.mark.parametrize(
    ("location", "meant"),
    [
        (("output", "chunkshape"), "output.chunk_shape"),
        (("volume", "Path"), "volume.path"),
        (("threshold",), "agglomerate.threshold"),  # a key that stands above all tables
        (("fragments", "leaf_block"), "agglomerate.leaf_blocks"),
        (("schedule", "slurm", "edges", "memroy"), "schedule.slurm.edges.memory"),
        (("volume", "quux"), None),
    ],
)
def test_what_was_meant(location: tuple[str, ...], meant: str | None) -> None:
    assert meant_key(Config, location) == meant


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("optimise.learnig_rate=1", "optimise.learning_rate"),
        ("optimise.augment.wrp={a=1}", "optimise.augment.warp"),
        ("model.presett='nano'", "model.preset"),
        ("data.normalisation=robst", "robust"),
        ("model.preset=nno", "nano"),
    ],
)
def test_keys_of_a_training(override: str, meant: str) -> None:
    with pytest.raises(InputError) as refused:
        TrainConfig.load("configs/train_fib25_nano.toml", [override])
    assert refused.value.remedy == f"did you mean {meant}?"
