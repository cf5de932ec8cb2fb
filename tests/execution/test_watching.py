"""Looking at a job while it runs, when it has failed, and when nobody works on it any more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pipeline_tools import CHECKOUT, Command, cells, fgnet, standard_config, state_of, write_volume

from fgnet_pipeline.core.errors import BlocksFailedError
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.execution.status import Watch
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.driver_lock import DriverLock, is_held


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return standard_config(tmp_path, write_volume(tmp_path / "raw", cells((48, 48, 48))))


def test_following_ends_with_the_job(config: Path, tmp_path: Path) -> None:
    code = "from fgnet_pipeline.commands.cli import main; main()"
    driver = subprocess.Popen([sys.executable, "-c", code, "run", str(config)], stderr=subprocess.DEVNULL)
    try:
        while not is_held(str(state_of(tmp_path / "out.zarr") / "progress" / "lock")):
            assert driver.poll() is None
            time.sleep(0.05)
        lines = fgnet("status", config, "--follow", "--interval", "0.2").stdout.splitlines()
    finally:
        driver.kill()
        driver.wait()
    header = next(i for i, line in enumerate(lines) if line.startswith("stage "))
    assert all("relabel" in line and "/8" in line for line in lines[:header])
    table = [line.split() for line in lines if line.startswith(("predict", "relabel")) and "/" not in line]
    assert [row[1:5] for row in table] == [["8", "8", "0", "0"]] * 2


def test_following_what_nobody_works_on_ends_at_once(config: Path, command: Command) -> None:
    run(load_config(config), ("predict",))
    found = json.loads(command("status", config, "--follow", "--json")[1])
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert (stages["predict"]["left"], stages["edges"]["left"], found["running"]) == (0, 8, False)
    assert "has ended" in command("status", config)[1]


def test_a_failed_block_is_named_with_its_log(config: Path, tmp_path: Path, command: Command) -> None:
    settings = ["schedule.workers=1", "schedule.retries=0"]
    run(load_config(config), ("predict",))
    shard = tmp_path / "out.zarr" / "affinities" / "c" / "0" / "1" / "1" / "1"
    shard.write_bytes(b"torn")
    with pytest.raises(BlocksFailedError):
        run(load_config(config, settings), ("fragments",))
    found = Watch(load_config(config)).look()
    assert {failure.stage for failure in found.failures} == {"fragments"}
    failure = found.failures[-1]
    assert failure.block == [1, 1, 1] and "Error" in failure.error and "\n" not in failure.error
    assert failure.error in Path(failure.log).read_text()
    assert found.stages[1].failed == len(found.failures) >= 1
    assert f"failed: fragments block [1, 1, 1]: {failure.error}" in command("status", config)[1]


def test_a_look_does_not_end_the_lock_of_a_driver(tmp_path: Path) -> None:
    lock = tmp_path / "progress" / "lock"
    with DriverLock(lock):
        for _ in range(2):  # in another process, as status is: asking takes nothing from whoever holds it
            code = f"from fgnet_pipeline.store.driver_lock import is_held; print(is_held({str(lock)!r}))"
            said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                                  env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, cwd=CHECKOUT)  # fmt: skip
            assert said.stdout.strip() == "True"
    assert not is_held(str(lock)) and not is_held(str(tmp_path / "none"))
