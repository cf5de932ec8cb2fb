"""Values that the configuration leaves open come from the output, the model or the default, in this order."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fgnet
import numpy as np
import pytest
from fgnet.weights import SHIPPED
from pipeline_tools import CHECKOUT, Command, Refused, read, standard_config, state_of

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.stages.configuration import load_config, validate
from fgnet_pipeline.stages.job import open_job
from fgnet_pipeline.stages.recommended import BEGUN, DEFAULT, check_recommended, resolve, settings_in
from fgnet_pipeline.training.config import TrainConfig

MODEL = "recommended by the model nano-fib25"
BASE: dict[str, Any] = {"volume": {"path": "raw"}, "output": {"path": "out"}}


def resolved(begun: dict[str, Any] | None = None, **tables: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """(threshold, boundary threshold, seed distance) and origins."""
    config, origins = resolve(validate({**BASE, **tables}), begun or {})
    found = config.agglomerate.threshold, config.fragments.boundary_threshold, config.fragments.min_seed_distance
    return dict(zip(("threshold", "boundary", "distance"), found, strict=True)), origins


def test_the_shipped_weights_bring_what_their_card_says() -> None:
    """docs/reference/model-card-nano.md; the README's configuration sets only a threshold of the same value."""
    assert fgnet.read_recommended("nano-fib25") == {
        "fragments": {"min_seed_distance": 6},
        "agglomerate": {"threshold": 0.24},
    }
    values, origins = resolved()
    assert values == {"threshold": 0.24, "boundary": 0.5, "distance": 6}
    assert origins == {
        "agglomerate.threshold": MODEL, "fragments.boundary_threshold": DEFAULT, "fragments.min_seed_distance": MODEL,
    }  # fmt: skip


def test_a_copy_of_the_shipped_weights_brings_the_same(tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "nano-fib25.safetensors", tmp_path / "mine.safetensors")
    assert fgnet.read_recommended(str(tmp_path / "mine.safetensors")) == fgnet.read_recommended("nano-fib25")


def test_the_configuration_comes_first_then_the_output_then_the_model() -> None:
    begun = {"fragments": {"min_seed_distance": 5, "boundary_threshold": 0.5}, "agglomerate": {"threshold": 0.5}}
    values, origins = resolved(begun, agglomerate={"threshold": 0.7})
    assert values == {"threshold": 0.7, "boundary": 0.5, "distance": 5}
    assert origins == {"fragments.boundary_threshold": BEGUN, "fragments.min_seed_distance": BEGUN}
    assert resolved(begun)[0] == {"threshold": 0.5, "boundary": 0.5, "distance": 5}


def test_a_model_without_values_leaves_the_defaults() -> None:
    values, origins = resolved(model={"checkpoint": "identity"})
    assert values == {"threshold": 0.5, "boundary": 0.5, "distance": 5} and set(origins.values()) == {DEFAULT}


def test_given_affinities_ask_a_model_only_if_one_is_named() -> None:
    values, _ = resolved(affinities={"path": "theirs"})
    assert values == {"threshold": 0.5, "boundary": 0.5, "distance": 5}
    values, _ = resolved(affinities={"path": "theirs"}, model={"checkpoint": "nano-fib25"})
    assert values == {"threshold": 0.24, "boundary": 0.5, "distance": 6}


def test_values_of_another_method_or_score_do_not_hold() -> None:
    values, _ = resolved(fragments={"method": "sections"}, agglomerate={"score": "quantile"})
    assert values == {"threshold": 0.5, "boundary": 0.5, "distance": 5}
    begun = {
        "fragments": {"method": "sections", "min_seed_distance": 3},
        "agglomerate": {"score": "quantile", "quantile": 0.5},
    }
    values, _ = resolved(begun, fragments={"method": "volume"}, agglomerate={"score": "mean"})
    assert values == {"threshold": 0.24, "boundary": 0.5, "distance": 6}
    config = resolve(validate(BASE), begun)[0]
    assert (config.fragments.method, config.agglomerate.score, config.agglomerate.quantile) == (
        "sections",
        "quantile",
        0.5,
    )


def test_a_resolved_configuration_is_taken_as_it_is() -> None:
    config = resolve(validate(BASE), {})[0]
    again = validate(config.model_dump(mode="json"))
    assert resolve(again, {"agglomerate": {"threshold": 0.9}}) == (again, {})


def weights_with(path: Path, entry: str) -> str:
    """The shipped weights with another header."""
    import struct

    data = (SHIPPED / "nano-fib25.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["recommended"] = entry
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return str(path)


def test_the_header_of_weights_may_hold_any_value_of_a_model(tmp_path: Path) -> None:
    tables = {
        "fragments": {"method": "sections", "context": [0, 8, 8], "min_seed_distance": 9},
        "agglomerate": {"min_contact": 3},
    }
    path = weights_with(tmp_path / "w.safetensors", json.dumps(tables))
    config, origins = resolve(validate({**BASE, "model": {"checkpoint": path}}), {})
    assert config.fragments.method == "sections" and config.fragments.context == (0, 8, 8)
    assert config.fragments.min_seed_distance == 9 and config.agglomerate.min_contact == 3
    assert origins["fragments.method"].endswith(path) and origins["agglomerate.threshold"] == DEFAULT


NO_VALUES = [
    "[]", "{", '{"fragments": 3}', '{"fragments": {"path": "x"}}', '{"volume": {"roi": 1}}',
    '{"agglomerate": {"threshold": 2}}', '{"agglomerate": {"leaf_blocks": 2}}', '{"fragments": {"colour": 1}}',
]  # fmt: skip


@pytest.mark.parametrize("entry", NO_VALUES)
def test_a_header_that_recommends_what_is_no_value_is_refused(tmp_path: Path, entry: str) -> None:
    path = weights_with(tmp_path / "w.safetensors", entry)
    with pytest.raises(InputError) as caught:
        resolve(validate({**BASE, "model": {"checkpoint": path}}), {})
    assert caught.value.field == "model.checkpoint"


def test_training_exports_what_its_configuration_recommends(tmp_path: Path) -> None:
    import torch
    from fgnet.config import preset
    from fgnet.describing import shape_only
    from fgnet.geometry import Geometry
    from fgnet.training.checkpoints import export

    base = json.loads(json.dumps(MINIMAL_TRAINING))
    base["export"] = {"fragments": {"min_seed_distance": 4}, "agglomerate": {"threshold": 0.3}}
    config = TrainConfig.validated(base)
    network = shape_only(preset("nano"))
    weights = {"head.bias": torch.zeros(3)}
    geometry = Geometry((96, 96, 96), (72, 72, 72), (12, 12, 12), (10.0, 10.0, 10.0), architecture="nano")
    path = tmp_path / "w.safetensors"
    export(path, network, weights, geometry, recommended=config.export.recommended)
    assert fgnet.read_recommended(str(path)) == base["export"]
    plain = tmp_path / "plain.safetensors"
    export(
        plain,
        network,
        weights,
        geometry,
        recommended=TrainConfig.validated(MINIMAL_TRAINING).export.recommended,
    )
    assert fgnet.read_recommended(str(plain)) == {}
    base["export"]["agglomerate"] = {"threshold": 3}
    with pytest.raises(InputError, match=r"export\.agglomerate\.threshold"):
        TrainConfig.validated(base)


MINIMAL_TRAINING: dict[str, Any] = {
    "data": {"volumes": [{"raw": "r", "labels": "l"}]},
    "optimise": {"cycles": [10], "phases": [{"begin": 0, "patch": [64, 64, 64], "batch": 1}]},
    "output": {"path": "o"},
}


def test_check_recommended_takes_what_a_run_takes() -> None:
    check_recommended({})
    check_recommended({"fragments": {"method": "waterz"}, "agglomerate": {"score": "quantile", "quantile": 0.5}})


def test_an_output_keeps_the_values_it_was_begun_with(finished_run: Path, tmp_path: Path, command: Command) -> None:
    """Whatever the model recommends now: an older version began the output with the defaults, and saved no `begun`."""
    shutil.copytree(finished_run / "out.zarr", tmp_path / "out.zarr")
    saved = json.loads((state_of(tmp_path / "out.zarr") / "config.json").read_text())
    del saved["begun"]
    (state_of(tmp_path / "out.zarr") / "config.json").write_text(json.dumps(saved))
    path = weights_with(tmp_path / "w.safetensors", '{"fragments": {"min_seed_distance": 9}}')
    config = standard_config(tmp_path, str(finished_run / "raw.zarr"), leaf_blocks=2)
    job = open_job(load_config(config, [f"model.checkpoint={path}"]))
    assert job.config.fragments.min_seed_distance == 5
    assert job.origins["fragments.min_seed_distance"] == BEGUN
    before = read(tmp_path / "out.zarr", "segmentation")
    code, _, text = command("run", config)
    assert code == 0 and f"agglomerate.threshold = 0.5 ({BEGUN})" in text
    assert np.array_equal(read(tmp_path / "out.zarr", "segmentation"), before)
    saved = json.loads((state_of(tmp_path / "out.zarr") / "config.json").read_text())
    assert saved["begun"]["agglomerate"]["threshold"] == 0.5


def test_a_redo_begins_with_new_values(copied_run: tuple[Path, Path], command: Command, refused: Refused) -> None:
    config, _ = copied_run
    other = ["--set", "fragments.min_seed_distance=3"]
    assert "min_seed_distance: 5 -> 3" in refused("run", config, *other)
    assert command("run", config, *other, "--redo", "fragments")[0] == 0
    code, _, text = command("run", config)
    assert code == 0 and f"fragments.min_seed_distance = 3 ({BEGUN})" in text and "blocks to do: predict 0 of" in text


def test_a_redo_keeps_no_values(copied_run: tuple[Path, Path], command: Command) -> None:
    """An output that was begun with the defaults takes the model's values when its stages are begun anew."""
    config, out = copied_run
    weights = weights_with(out.parent / "w.safetensors", '{"agglomerate": {"threshold": 0.3, "min_contact": 2}}')
    given = ["--set", f"affinities.path={out / 'affinities'}", "--set", f"model.checkpoint={weights}"]
    other = ["--set", f"output.path={out.parent / 'other.zarr'}"]
    config.write_text(config.read_text().replace('[model]\ncheckpoint = "identity"\n', ""))
    assert command("run", config, *given[:2], *other)[0] == 0
    text = command("run", config, *given, *other)[2]
    assert f"agglomerate.threshold = 0.5 ({BEGUN})" in text
    text = command("run", config, *given, *other, "--redo", "agglomerate")[2]
    assert "agglomerate.min_contact = 2 (recommended" in text and "agglomerate.threshold = 0.3 (recommended" in text
    assert f"fragments.min_seed_distance = 5 ({BEGUN})" in text
    text = command("run", config, *given, *other)[2]
    assert f"agglomerate.min_contact = 2 ({BEGUN})" in text and f"agglomerate.threshold = 0.3 ({BEGUN})" in text


def test_a_first_run_of_later_stages_settles_their_values(tmp_path: Path, small_raw: str, command: Command) -> None:
    config = standard_config(tmp_path, small_raw)
    assert command("predict", config)[0] == 0
    assert command("agglomerate", config, "--set", "fragments.min_seed_distance=3")[0] == 0
    code, _, text = command("run", config)
    assert code == 0 and f"fragments.min_seed_distance = 3 ({BEGUN})" in text


def test_agglomeration_reads_the_values_without_torch(tmp_path: Path, small_raw: str) -> None:
    config = standard_config(tmp_path, small_raw)
    code = f"""
import sys
sys.modules["torch"] = None
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.job import open_job
job = open_job(load_config({str(config)!r}, ["model.checkpoint=nano-fib25"]))
print(job.config.agglomerate.threshold, job.config.fragments.min_seed_distance)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.24", "6"]


def test_plan_says_where_values_come_from(tmp_path: Path, small_raw: str, command: Command) -> None:
    config = standard_config(tmp_path, small_raw)
    found = json.loads(command("plan", config, "--set", "model.checkpoint=nano-fib25", "--json")[1])
    assert f"agglomerate.threshold = 0.24 ({MODEL})" in found["settings"]
    shown = command("plan", config, "--set", "model.checkpoint=nano-fib25")[1]
    assert f"fragments.min_seed_distance = 6 ({MODEL})" in shown


def test_the_shipped_configuration_is_what_the_model_recommends() -> None:
    """It sets the values, so that its results stay as they are whatever a model says."""
    config = load_config(CHECKOUT / "configs" / "fib25_nano.toml")
    open_values = validate({**BASE})
    recommended = resolve(open_values, {})[0]
    assert settings_in(config.model_dump(mode="json")) == settings_in(recommended.model_dump(mode="json"))
