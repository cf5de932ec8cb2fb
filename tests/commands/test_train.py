"""`fgnet train`: exit codes, and the sample by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_tissue import configuration, tissue, write
from pipeline_tools import CHECKOUT, fgnet

from fgnet_pipeline.commands.train import with_samples
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.training.config import TrainConfig


def test_faulty_data_end_the_command_with_one_sentence(tmp_path: Path) -> None:
    raw, labels = tissue()
    write(tmp_path, raw, np.roll(labels, 5, 2))
    done = fgnet("train", configuration(tmp_path), check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert [
        line for line in done.stderr.splitlines() if line.startswith("error: data.volumes.0.labels = 'labels that fit")
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["train_fib25_nano.toml", "train_fib25_nano_cpu.toml"])
def test_shipped_configurations_read_the_sample_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write(tmp_path, *tissue(), "fib25.zarr")
    monkeypatch.setenv("FGNET_DATA", str(tmp_path))
    config = with_samples(TrainConfig.load(CHECKOUT / "configs" / name), tmp_path / "demo")
    for volume in (*config.data.volumes, *config.data.validation):
        assert (volume.raw, volume.labels) == tuple(str(tmp_path / "fib25.zarr" / n) for n in ("raw", "labels"))
    assert str(tmp_path / "fib25.zarr") in capsys.readouterr().err and not (tmp_path / "demo").exists()
    assert config.model_dump(exclude={"data"}) == TrainConfig.load(CHECKOUT / "configs" / name).model_dump(
        exclude={"data"}
    )


def test_a_phantom_is_no_sample_to_train_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGNET_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("FGNET_SAMPLE_URL", "")
    monkeypatch.chdir(tmp_path)
    config = TrainConfig.load(CHECKOUT / "configs" / "train_fib25_nano.toml")
    with pytest.raises(InputError, match=r"FGNET_DATA.*expected the sample fib25\.zarr"):
        with_samples(config)
    assert not any((tmp_path / "demo").glob("*"))


def test_another_sample_is_refused_and_paths_stay(tmp_path: Path) -> None:
    write(tmp_path, *tissue())
    file = configuration(tmp_path)
    config = TrainConfig.load(file)
    assert with_samples(config) is config
    file.write_text(file.read_text().replace("t.zarr/raw", "sample:fib52/raw"))
    with pytest.raises(InputError, match=r"data\.volumes\.0\.raw.*expected one of sample:fib25/raw"):
        with_samples(TrainConfig.load(file))
