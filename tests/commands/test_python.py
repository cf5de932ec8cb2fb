"""The commands as functions of Python: the same results and sentences, and no process is left behind."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_tools import Command, cells, read, standard_config, wait_for_records, write_volume
from sessions import members_of

import fgnet_pipeline as fp
from fgnet_pipeline.commands.evaluate import evaluate_command


@pytest.fixture
def tables(finished_run: Path, tmp_path: Path) -> dict[str, Any]:
    """The tables of a configuration of the finished run's volume, with an output of their own."""
    return tomllib.loads(standard_config(tmp_path, str(finished_run / "raw.zarr")).read_text())


def test_a_mapping_gives_what_the_command_gave(
    tables: dict[str, Any], finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    tables["output"]["path"] = Path("made.zarr")
    result = fp.run(tables, workers=0)
    stored = read(finished_run / "out.zarr", "segmentation")
    np.testing.assert_array_equal(result.segmentation.compute(), stored)
    np.testing.assert_array_equal(read(tmp_path / "made.zarr", "segmentation"), stored)
    assert isinstance(tables["output"]["path"], Path), "the mapping of the caller is left alone"
    printed = capfd.readouterr()
    assert printed.out == ""
    assert all(line.startswith("warning:") for line in printed.err.splitlines())
    fp.run(tables, set={"agglomerate.threshold": 0.9})
    assert fp.open("made.zarr").config.agglomerate.threshold == 0.9


def test_a_run_in_another_thread_is_that_of_the_main_thread(tables: dict[str, Any], finished_run: Path) -> None:
    found: list[Any] = []

    def body() -> None:
        try:
            found.append(fp.run(tables, workers=2))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert isinstance(found[0], fp.Result), found[0]
    np.testing.assert_array_equal(found[0].segmentation.compute(), read(finished_run / "out.zarr", "segmentation"))


def test_an_interrupted_script_ends_with_a_sentence_and_goes_on(tmp_path: Path) -> None:
    config = standard_config(tmp_path, write_volume(tmp_path / "raw.zarr", cells((80, 80, 80))))
    script = tmp_path / "script.py"
    script.write_text(f"import fgnet_pipeline as fp\nfp.run({str(config)!r}, workers=2)\n")
    begun = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, start_new_session=True)
    wait_for_records(tmp_path / "out.zarr", "predict", 1, begun)
    os.killpg(begun.pid, signal.SIGINT)  # a terminal interrupts the workers, too
    told = begun.communicate(timeout=120)[1].decode()
    assert begun.returncode == -signal.SIGINT
    while members_of(begun.pid):  # the fork server ends by itself, once its driver is gone
        time.sleep(0.1)
    assert told.splitlines()[-1].startswith("KeyboardInterrupt: stopped;") and len(told.splitlines()) < 20, told
    assert all(stage.left == 0 for stage in fp.run(config, workers=0).status().stages)


@pytest.mark.parametrize(
    "config", [None, 3, {"volume": {"path": object()}}, {"volume": {"path": "no.zarr"}}, "no.toml"]
)
def test_bad_configurations_are_one_sentence(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for function in (fp.run, fp.plan):
        with pytest.raises(fp.InputError) as caught:
            function(config)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("function", [fp.open, fp.report, fp.view])
def test_a_missing_output_is_one_sentence(function: Any, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none.zarr"):
        with pytest.raises(fp.InputError):
            function(place)
    assert not list(tmp_path.iterdir())


def test_scores_against_the_segmentation_itself_are_perfect(finished_run: Path) -> None:
    output = finished_run / "out.zarr"
    for result in (output, output / "segmentation", fp.open(output)):
        found = fp.evaluate(result, output / "segmentation")
        assert (found["voi_split"], found["voi_merge"]) == (0, 0)
    with pytest.raises(fp.InputError, match="LABELS"):
        fp.evaluate(output)


def test_scores_are_the_document_of_the_command(finished_run: Path, command: Command, tmp_path: Path) -> None:
    output = finished_run / "out.zarr"
    fragments = read(output, "fragments")
    labels = tmp_path / "labels.zarr"
    write_volume(labels, np.where(fragments == 0, 0, 1 + fragments % 5))
    defaults = fp.evaluate(output, labels)
    assert defaults == json.loads(command("evaluate", output / "segmentation", labels, "--json")[1])
    assert defaults["oracle"]["voi_sum"] < defaults["voi_sum"] and len(defaults["worst"]["mergers"]) == 5
    options = ("--worst", 2, "--no-oracle", "--skeletons-from-labels", "--merge-nodes", 3)
    document = json.loads(command("evaluate", output / "segmentation", labels, *options, "--json")[1])
    found = fp.evaluate(output, labels, worst=2, oracle=False, skeletons_from_labels=True, merge_nodes=3)
    assert found == document
    assert len(found["worst"]["mergers"]) == 2 and "oracle" not in found
    named = fp.evaluate(output, labels, worst=0, fragments=output / "fragments")
    assert named["oracle"] == defaults["oracle"] and "worst" not in named


def test_evaluate_has_every_option_of_the_command() -> None:
    arguments = set(inspect.signature(fp.evaluate).parameters)
    options = set(inspect.signature(evaluate_command).parameters) - {"segmentation", "csv", "as_json"}
    assert arguments - {"result"} == options
    for name in options - {"skeletons", "labels"}:
        assert (
            inspect.signature(fp.evaluate).parameters[name].default
            == inspect.signature(evaluate_command).parameters[name].default
        )


@pytest.mark.parametrize("wrong", [{"worst": -1}, {"worst": 1.5}, {"merge_nodes": 0}, {"workers": True}])
def test_wrong_numbers_of_scores_are_one_sentence(wrong: dict[str, Any], finished_run: Path) -> None:
    with pytest.raises(fp.InputError, match=next(iter(wrong))):
        fp.evaluate(finished_run / "out.zarr", finished_run / "out.zarr" / "segmentation", **wrong)


def test_a_view_is_served_until_it_stops(finished_run: Path) -> None:
    with fp.view(finished_run / "out.zarr", at=(5, 6, 7)) as shown:
        assert shown.url in shown._repr_html_()
        assert [layer["name"] for layer in shown.state["layers"]] == ["raw", "affinities", "fragments", "segmentation"]
        source = shown.state["layers"][-1]["source"]
        address = source if isinstance(source, str) else source["url"]
        with urllib.request.urlopen(address.removeprefix("zarr3://") + "zarr.json", timeout=30) as answer:
            assert b'"uint64"' in answer.read()
    shown.stop()
    with pytest.raises(OSError):
        urllib.request.urlopen(shown.url, timeout=30)


def test_an_unknown_model_is_an_error(tables: dict[str, Any]) -> None:
    tables["model"]["checkpoint"] = "no-such-model"
    with pytest.raises(fp.InputError, match="no-such-model"):
        fp.run(tables)


def test_plan_gives_the_numbers_of_the_command(tables: dict[str, Any]) -> None:
    assert {stage["stage"] for stage in fp.plan(tables)["stages"]} >= {"predict", "relabel"}
    assert not Path(tables["output"]["path"]).exists()


def test_the_reference_page_lists_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/python.md").read_text()
    listed = re.findall(r"^\| `fp\.(\w+)", page, re.MULTILINE)
    assert sorted(listed) == sorted(fp.__all__)


def test_names_complete_and_help_works() -> None:
    assert set(fp.__all__) <= set(dir(fp))
    code = "import fgnet_pipeline as fp; help(fp)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "fp.run(" in shown
