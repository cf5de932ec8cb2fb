"""``fgnet model describe``: every way to name a model, and what is printed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from fgnet.config import preset
from fgnet.describing import shape_only
from pipeline_tools import CHECKOUT, Command, fgnet

from fgnet_pipeline.commands.model_describe import describe_command
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.describe_model import describe_model

CONFIGS = CHECKOUT / "configs"


def test_a_configuration_is_described_with_its_own_tile_and_guidance(tmp_path: Path) -> None:
    text = (CONFIGS / "train_fib25_nano.toml").read_text()
    text = text.replace('preset = "nano"', 'preset = "nano"\nguidance = "none"').replace("[96, 96, 96]", "[32, 96, 96]")
    text = text.replace("margin = [12", "margin = [0").replace("stride = [72", "stride = [24")
    (tmp_path / "t.toml").write_text(text)
    found = describe_model(str(tmp_path / "t.toml"))
    expected = shape_only(dataclasses.replace(preset("nano"), guidance="none", auxiliary=()))
    assert found["parameters"] == sum(p.numel() for p in expected.parameters())
    assert found["guidance"] == "none" and found["tile"] == found["receptive_shape"] == [32, 96, 96]
    assert found["context"] == [31, 83, 83]
    run = describe_model(str(CONFIGS / "fib25_nano.toml"))
    assert run["parameters"] > found["parameters"] and run["tile"] == [96, 96, 96]


def test_standard_output_is_one_document() -> None:
    document = json.loads(fgnet("model", "describe", "nano", "--json").stdout)
    assert document == json.loads(json.dumps(describe_model("nano")))
    assert document["encoder_parameters"] < document["parameters"]


@pytest.mark.parametrize("name", ["identity", "huge", "missing.safetensors", "missing.toml"])
def test_what_has_no_network_is_one_sentence(name: str) -> None:
    with pytest.raises(InputError) as caught:
        describe_model(name)
    assert name in str(caught.value)


def test_people_get_a_table_and_an_unknown_name_one_sentence(
    capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    describe_command("nano-fib25")
    table = capsys.readouterr().out
    assert all(word in table for word in ("parameters", "tile", "context", "receptive shape", "mode fast", "FLOP"))
    code, said, told = command("model", "describe", "huge")
    assert code == 2 and told.count("\n") == 1 and "large" in told and not said
