"""`fgnet verify` of outputs that are whole, unfinished, stale or in use, and what the command says."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from damage_tools import ONE, add_to, flip, rewrite, shard, state, table, truncate
from pipeline_tools import Command, assert_same_output, records, standard_config, state_of, write_volume

from fgnet_pipeline.core.errors import InputError, StaleError
from fgnet_pipeline.execution.run import PREDICT, run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.verification.verify import verify


def test_nothing_is_wrong_with_a_finished_run(finished_run: Path) -> None:
    report = verify(load_config(finished_run / "config.toml"))
    assert report.ok and not report.strays
    assert {name: c.read for name, c in report.checked.items() if "-" not in name} == dict.fromkeys(
        ("predict", "fragments", "edges", "relabel"), 18
    )


def test_several_processes_find_what_one_finds(copied_run: tuple[Path, Path]) -> None:
    config, out = copied_run
    flip(shard(out, "affinities"), 20)
    truncate(table(out, "edges", (1, 2, 2)))
    alone = verify(load_config(config))
    assert len(alone.damage) == 2
    assert verify(load_config(config, ["schedule.workers=2"])) == alone


def test_blocks_that_are_not_done_are_no_damage(finished_run: Path, tmp_path: Path) -> None:
    """With a mask and a region of interest."""
    mask = np.ones((20, 25, 30), np.uint8)
    mask[:, :, :14] = 0
    attributes = {"voxel_size": [20, 20, 20], "offset": [0, 0, 0]}
    config = standard_config(tmp_path, str(finished_run / "raw.zarr"), leaf_blocks=2)
    overrides = ["volume.roi=[[50,0,100],[390,410,600]]",
                 f"volume.mask={write_volume(tmp_path / 'mask.zarr', mask, attributes)}"]  # fmt: skip
    run(load_config(config, overrides), PREDICT)
    report = verify(load_config(config, overrides))
    assert report.ok and not report.strays
    assert report.checked["predict"].read == report.checked["fragments"].left == 8
    run(load_config(config, overrides))
    report = verify(load_config(config, overrides))
    assert report.ok and not report.strays and report.checked["relabel"].read == 8
    shutil.copytree(tmp_path / "out.zarr", tmp_path / "undamaged.zarr")
    shard(tmp_path / "out.zarr", "fragments", (1, 0, 2)).unlink()
    assert verify(load_config(config, overrides), repair=True).requeued == {"fragments": [(1, 0, 2)]}
    run(load_config(config, overrides))
    assert_same_output(tmp_path / "undamaged.zarr", tmp_path / "out.zarr")


def test_only_what_is_ours_is_read_back_beside_a_labs_own_arrays(finished_run: Path, tmp_path: Path) -> None:
    """Fragments of a lab's own are compared with our tables."""
    shutil.copytree(finished_run / "out.zarr" / "affinities", tmp_path / "affinities")
    shutil.copytree(finished_run / "out.zarr" / "fragments", tmp_path / "fragments")
    config = standard_config(tmp_path, str(finished_run / "raw.zarr"))
    overrides = [f"affinities.path={tmp_path / 'affinities'}", f"fragments.path={tmp_path / 'fragments'}"]
    run(load_config(config, overrides))
    assert verify(load_config(config, overrides)).ok
    rewrite(tmp_path / "out.zarr", "fragments", ONE, add_to("voxels", 1))
    report = verify(load_config(config, overrides))
    assert report.requeued == {"fragments": [ONE]} and report.damage[0].kind == "disagrees"


def test_the_command_names_damage_and_its_exit_code_says_so(copied_run: tuple[Path, Path], command: Command) -> None:
    config, out = copied_run
    code, text, _ = command("verify", config, "--json")
    assert code == 0 and json.loads(text)["ok"] is True and json.loads(text)["damage"] == []
    truncate(shard(out, "fragments"))
    code, text, _ = command("verify", config)
    assert code == 1 and f"undecodable: fragments block {list(ONE)}" in text and str(shard(out, "fragments")) in text
    code, text, _ = command("verify", config, "--json", "--repair")
    found = json.loads(text)
    assert code == 1 and found["repaired"] and found["requeued"] == {"fragments": [list(ONE)]}
    assert found["damage"][0]["files"] == [str(shard(out, "fragments"))]
    code, text, _ = command("verify", config, "--json")
    assert code == 0 and json.loads(text)["checked"]["fragments"]["left"] == 1


@contextlib.contextmanager
def other_process_holds(out: Path) -> Iterator[None]:
    """A driver's lock belongs to its process, so another one must hold it."""
    code = (
        "import sys; from pathlib import Path; from fgnet_pipeline.store.driver_lock import DriverLock\n"
        "lock = DriverLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(state_of(out) / "progress" / "lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        process.communicate()


def test_wrong_outputs_and_a_repair_beside_a_run_are_refused(
    copied_run: tuple[Path, Path], tmp_path: Path, command: Command
) -> None:
    config, out = copied_run
    with pytest.raises(InputError, match="an output of this program"):
        verify(load_config(config, [f"output.path={tmp_path / 'none.zarr'}"]))
    with pytest.raises(StaleError, match="configuration that made it"):
        verify(load_config(config, ["fragments.boundary_threshold=0.3"]))
    truncate(shard(out, "fragments"))
    before = state(out)
    with other_process_holds(out):
        assert verify(load_config(config)).running
        code, _, text = command("verify", config, "--repair")
    assert code == 2 and f"output.path = '{out}': expected no other run on it" in text
    lock = str((state_of(out) / "progress" / "lock").relative_to(out))
    assert {p: v for p, v in state(out).items() if p != lock} == {p: v for p, v in before.items() if p != lock}


def test_another_threshold_is_no_damage(copied_run: tuple[Path, Path]) -> None:
    """Tables of the old threshold are stale until the next run, which replaces them."""
    report = verify(load_config(copied_run[0], ["agglomerate.threshold=0.9"]))
    assert report.ok and report.checked["relabel"].stale == report.checked["relabel"].blocks
    assert report.checked["edges"].read == len(records(copied_run[1], "edges"))
