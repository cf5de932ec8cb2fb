"""Options of all commands: `--version`, `--quiet`; and suggestions for mistyped commands."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import typer
from pipeline_tools import CHECKOUT, Command, Refused, standard_config, write_volume

import fgnet_pipeline
from fgnet_pipeline.commands.cli import app
from fgnet_pipeline.commands.tables import table

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_the_version(command: Command) -> None:
    code, said, _ = command("--version")
    assert code == 0
    assert said.startswith(f"fgnet {fgnet_pipeline.__version__} (Python 3.")
    assert said.endswith(f"PyTorch {metadata.version('torch')})\n")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "model"])
def test_every_command_can_be_quiet(name: str) -> None:
    options = {spelling for parameter in COMMANDS[name].params for spelling in parameter.opts}
    assert {"--quiet", "-q"} <= options


def test_the_page_names_every_command() -> None:
    page = (CHECKOUT / "docs" / "reference" / "command-line.md").read_text()
    named = re.findall(r"^\| `fgnet ([a-z ]+)` \|", page, flags=re.MULTILINE)
    assert named == [name for name in COMMANDS if name != "model"] + ["model describe"]


def test_quiet_leaves_results_warnings_and_errors(
    copied_run: tuple[Path, Path], command: Command, tmp_path: Path
) -> None:
    config, _ = copied_run
    loud = command("run", config, "--redo", "relabel")
    assert loud[0] == 0 and "region: " in loud[2] and "finished in " in loud[2]
    assert command("run", config, "--redo", "relabel", "--quiet") == (0, "", "")
    black = write_volume(tmp_path / "black.zarr", np.zeros((30, 30, 30), np.uint8))
    empty = ["--set", f"volume.path={black}", "--set", f"output.path={tmp_path / 'empty.zarr'}"]
    code, said, warned = command("run", config, "-q", *empty)
    assert (code, said) == (0, "") and warned.startswith("warning: the segmentation holds no segment")
    assert warned.count("\n") == 1
    code, said, refused = command("run", config, "-q", "--redo", "relable")
    assert (code, said) == (2, "") and refused.startswith("error: --redo = 'relable'")
    code, said, told = command("status", config, "--json", "-q")
    assert code == 0 and json.loads(said)["stages"] and told == ""
    assert "region: " in command("run", config, "--dry-run")[1]  # no command before it keeps a later one quiet


def test_a_mistyped_command(command: Command) -> None:
    code, _, said = command("evalute")
    assert code == 2 and "evaluate" in said
    code, _, said = command("run", "my.toml", "--wrokers", "2")
    assert code == 2 and "--workers" in said


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--redo", "fragmets"], "fragments"),
        (["--set", "agglomerate.treshold=0.2"], "agglomerate.threshold"),
        (["--set", "schedule.threshold=0.2"], "agglomerate.threshold"),
        (["--set", "agglomerat.threshold=0.2"], "agglomerate"),
        (["--set", "threshold=0.2"], "agglomerate.threshold"),
        (["--set", "agglomerate.score=maen"], "mean"),
        (["--set", "schedule.backend=locl"], "local"),
        (["--set", "schedule.fragmets.workers=2"], "schedule.fragments"),
        (["--set", "schedule.fragments.wokers=2"], "schedule.fragments.workers"),
        (["--set", "schedule.slurm.partion=gpu"], "schedule.slurm.partition"),
        (["--set", "schedule.slurm.fragments.tim=10"], "schedule.slurm.fragments.time"),
        (["--set", "fragments.boundry_threshold=0.2"], "fragments.boundary_threshold"),
        (["--set", "fragments.method=volme"], "volume"),
        (["--set", "model.checkpoint=nano-fib52"], "nano-fib25"),
        (["--set", "schedule.backend=array", "--set", "schedule.cluster=slrm", "--workers", "1"], "slurm"),
    ],
)
def test_what_was_meant(arguments: list[str], meant: str, tmp_path: Path, small_raw: str, refused: Refused) -> None:
    config = standard_config(tmp_path, small_raw)
    assert refused("run", config, *arguments).endswith(f"; did you mean {meant}?\n")
    assert not (tmp_path / "out.zarr").exists()


def test_tables_are_divided_on_narrow_terminals() -> None:
    titles, rows = ("task", "blocks", "time"), [["predict", "8", "3 h 20 min"], ["lut-0", "12345678", "-"]]
    assert table(titles, rows) == [
        "task       blocks        time",
        "predict         8  3 h 20 min",
        "lut-0    12345678           -",
    ]
    assert table(titles, rows, columns=29) == table(titles, rows)
    assert table(titles, rows, columns=28) == [  # two spaces less
        "task      blocks       time",
        "predict        8 3 h 20 min",
        "lut-0   12345678          -",
    ]
    assert table(titles, rows, columns=26) == [
        "task       blocks",
        "predict         8",
        "lut-0    12345678",
        "task           time",
        "predict  3 h 20 min",
        "lut-0             -",
    ]
