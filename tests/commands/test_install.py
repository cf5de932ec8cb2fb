"""What is shipped: configurations that load, a wheel that runs outside the checkout, no torch where none is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from pipeline_tools import CHECKOUT, script

from fgnet_pipeline.stages.configuration import load_config, validate
from fgnet_pipeline.training.config import TrainConfig

CONFIGS = sorted((CHECKOUT / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_configuration_loads(path: Path) -> None:
    if path.name.startswith("train"):
        TrainConfig.load(path, [])
        return
    config = load_config(path)
    assert Path(config.output.path).is_absolute()
    assert config.output.chunk_shape is None and config.output.shard_shape is None


def test_paths_are_relative_to_the_file_and_overrides_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "c.toml").write_text('[volume]\npath = "../raw.zarr"\n[output]\npath = "out.zarr"\n')
    monkeypatch.chdir(tmp_path)
    config = load_config("configs/c.toml", ["output.path=here.zarr", "volume.mask=true"])
    assert config.volume.path == str(tmp_path / "raw.zarr")
    assert config.output.path == str(tmp_path / "here.zarr")
    assert config.volume.mask == str(tmp_path / "true")


def test_the_resolved_configuration_round_trips() -> None:
    config = load_config(CHECKOUT / "configs" / "fib25_nano.toml", ["schedule.block_shape=[64,64,64]"])
    assert validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("name", ["run_predict.py", "run_agglomerate.py"])
def test_help_and_agglomeration_need_no_torch(name: str, tmp_path: Path) -> None:
    blocked = (
        "import sys, runpy; sys.modules['torch'] = None; sys.modules['sam2'] = None\n"
        f"sys.argv = [{name!r}, '--help']; runpy.run_path({str(CHECKOUT / 'workflows' / name)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "--workers" in done.stdout and "--set" in done.stdout and "--dry-run" in done.stdout


def test_tests_of_a_file_stay_in_one_process(request: pytest.FixtureRequest) -> None:
    """Where tests run side by side: conftest.py marks them, and pytest and xdist have to agree on what a mark does."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@test_install")


def test_agglomeration_runs_without_torch(tmp_path: Path) -> None:
    from pipeline_tools import cells, standard_config, write_volume

    raw = write_volume(tmp_path / "raw.zarr", cells((30, 30, 30)))
    config = standard_config(tmp_path, raw)
    script("run_predict.py", config)
    blocked = (
        "import sys; sys.modules['torch'] = None; sys.modules['sam2'] = None\n"
        f"sys.argv = ['run_agglomerate.py', {str(config)!r}]\n"
        "from fgnet_pipeline.commands.cli import run_agglomerate; run_agglomerate()"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_everything_and_runs_elsewhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(CHECKOUT)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wheel = next(tmp_path.glob("*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    for root, package in ((CHECKOUT / "fgnet_pipeline", "fgnet_pipeline"), (CHECKOUT / "model" / "fgnet", "fgnet")):
        for path in root.rglob("*.py"):
            assert f"{package}/{path.relative_to(root)}" in names
    assert {"fgnet/weights/nano-fib25.safetensors", "fgnet/py.typed", "fgnet_pipeline/py.typed"} <= names
    assert any(name.endswith("scripts/run_predict.py") for name in names)
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import fgnet, fgnet_pipeline, fgnet_pipeline.commands.cli as cli, sys\n"
        f"assert fgnet.__file__.startswith({str(site)!r}) and fgnet_pipeline.__file__.startswith({str(site)!r})\n"
        "assert 'torch' not in sys.modules\n"
        "print(fgnet.read_geometry('nano-fib25').tile)\n"
        "sys.argv = ['fgnet', 'run', '--help']; cli.main()"
    )
    environment = {"PYTHONPATH": str(site), "PATH": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr


def test_setup_cfg_lists_every_package() -> None:
    import configparser

    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "setup.cfg")
    listed = set(parser["options"]["packages"].split())
    found = {"fgnet_pipeline", "fgnet"}
    for root, package in ((CHECKOUT / "fgnet_pipeline", "fgnet_pipeline"), (CHECKOUT / "model" / "fgnet", "fgnet")):
        for path in root.rglob("__init__.py"):
            parts = path.parent.relative_to(root).parts
            found.add(".".join((package, *parts)))
    assert listed == found
    assert "packages" not in tomllib.loads((CHECKOUT / "pyproject.toml").read_text()).get("project", {})
