"""containers/install.sh: the calls of pip that it makes, from `make` and from both recipes for containers.

The calls are recorded by a script in the place of the interpreter. The calls themselves are made by every `make`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from pipeline_tools import CHECKOUT

SCRIPT = CHECKOUT / "containers" / "install.sh"
#: Writes its arguments to $RECORD. As `python -m venv FOLDER` it copies itself into the folder; it fails to install
#: what $MISSING names.
RECORDER = """#!/bin/sh
echo "${SAM2_BUILD_CUDA:+SAM2_BUILD_CUDA=$SAM2_BUILD_CUDA }$*" >>"$RECORD"
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
for word; do [ "$word" != "${MISSING:-}" ] || exit 1; done
"""
FIRST = "-m pip install --quiet setuptools>=77 wheel"
SAM2 = "SAM2_BUILD_CUDA=0 -m pip install --quiet --no-deps --no-build-isolation sam2==1.1.0"


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """The script that records calls; the record is the file `record` beside it."""
    program = tmp_path / "python"
    program.write_text(RECORDER)
    program.chmod(0o755)
    return program


def calls_of(recorder: Path, command: list[str], **variables: str) -> list[str]:
    """The calls of the interpreter that a command makes, but the test of its version."""
    record = recorder.parent / "record"
    kept = {name: value for name, value in os.environ.items() if name not in ("TORCH", "EDITABLE", "MAKEFLAGS")}
    environment = {**kept, "PYTHON": str(recorder), "RECORD": str(record), **variables}
    done = subprocess.run(command, capture_output=True, text=True, cwd=recorder.parent, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in record.read_text().splitlines() if not line.startswith("-c ")]


def test_cuda(recorder: Path) -> None:
    target = recorder.parent / "env"
    calls = calls_of(recorder, [str(SCRIPT), "env", "cuda", "view,s3"])
    torch = "-m pip install --quiet torch==2.13.0"
    assert calls == [f"-m venv {target}", FIRST, torch, SAM2, "-m pip install --quiet .[view,s3]"]


def test_cpu_with_options_and_its_own_torch(recorder: Path) -> None:
    command = [str(SCRIPT), "env", "cpu", "", "--index-url", "https://a.test/cpu"]
    calls = calls_of(recorder, command, TORCH="torch==9")
    torch = "-m pip install --quiet --index-url https://a.test/cpu torch==9+cpu"
    assert calls[1:] == [FIRST, torch, SAM2, "-m pip install --quiet ."]


def test_without_a_cpu_build(recorder: Path) -> None:
    calls = calls_of(recorder, [str(SCRIPT), "env", "cpu"], MISSING="torch==2.13.0+cpu")
    tried = [f"-m pip install --quiet torch==2.13.0{end}" for end in ("+cpu", "")]
    assert calls[1:] == [FIRST, *tried, SAM2, "-m pip install --quiet ."]


def test_an_environment_that_exists_is_kept(recorder: Path) -> None:
    calls_of(recorder, [str(SCRIPT), "env", "cuda"])
    assert calls_of(recorder, [str(SCRIPT), "env", "cuda"])[5:] == [
        FIRST, "-m pip install --quiet torch==2.13.0", SAM2, "-m pip install --quiet ."
    ]  # fmt: skip


@pytest.mark.parametrize("words", [[], ["env"], ["env", "gpu"]])
def test_wrong_arguments_install_nothing(words: list[str], recorder: Path) -> None:
    done = subprocess.run([SCRIPT, *words], capture_output=True, text=True, cwd=recorder.parent, check=False)
    assert done.returncode == 2 and "usage: containers/install.sh PREFIX cpu|cuda" in done.stderr
    assert not (recorder.parent / "env").exists()


@pytest.mark.parametrize(("gpu", "torch"), [("", "torch==2.13.0+cpu"), ("/usr/bin/nvidia-smi", "torch==2.13.0")])
def test_make_calls_the_script(gpu: str, torch: str, recorder: Path) -> None:
    """On a copy of what the target needs, since `make` installs into the checkout that it lies in."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "containers/install.sh"):
        copy = recorder.parent / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((CHECKOUT / name).read_bytes())
        copy.chmod((CHECKOUT / name).stat().st_mode)
    command = ["make", "install", f"PYTHON={recorder}", f"HAS_GPU={gpu}", 'TORCH_FLAGS=--find-links "/a b"']
    calls = calls_of(recorder, command)
    target = recorder.parent / ".venv"
    assert calls == [
        f"-m venv {target}", FIRST, f"-m pip install --quiet --find-links /a b {torch}", SAM2,
        "-m pip install --quiet -e .[test]",
    ]  # fmt: skip
    assert (target / ".installed").exists()


def test_all_say_the_same_version_of_torch() -> None:
    versions = {
        *re.findall(r"TORCH:-torch==([\d.]+)", SCRIPT.read_text()),
        *re.findall(r"TORCH_VERSION := ([\d.]+)", (CHECKOUT / "Makefile").read_text()),
        *re.findall(r"torch==([\d.]+)", (CHECKOUT / "setup.cfg").read_text()),
    }
    assert len(versions) == 1


# The recipes. The images are not built here.


def recipes() -> dict[str, tuple[dict[str, str], str]]:
    """Name -> (copied path -> its place in the image, the line that calls the script)."""
    docker = (CHECKOUT / "containers" / "Dockerfile").read_text()
    copied = {}
    for line in re.findall(r"^COPY (.*)$", docker, flags=re.MULTILINE):
        *names, place = line.split()
        copied |= {name: place + name if place.endswith("/") else place for name in names}
    definition = (CHECKOUT / "containers" / "fgnet.def").read_text()
    files = definition.partition("%files")[2].partition("%post")[0]
    calls = [re.findall(r"\S+/install\.sh .*", text)[0] for text in (docker, definition)]
    pairs = dict(line.split() for line in files.splitlines() if line.strip())
    return {"Dockerfile": (copied, calls[0]), "fgnet.def": (pairs, calls[1])}


@pytest.mark.parametrize("name", ["Dockerfile", "fgnet.def"])
def test_a_recipe_copies_what_an_installation_needs(name: str) -> None:
    copied, call = recipes()[name]
    parser = ConfigParser()
    parser.read(CHECKOUT / "setup.cfg")
    scripts = {Path(script).parts[0] for script in parser["options"]["scripts"].split()}
    needed = {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "fgnet_pipeline", "model", "containers", *scripts}
    assert needed <= set(copied) and all((CHECKOUT / path).exists() for path in copied)
    assert all(place == f"/opt/fgnet/source/{path}" for path, place in copied.items())
    script, _, _, extras, *_ = shlex.split(call.replace("{{ ", "{{").replace(" }}", "}}"))
    assert script == "/opt/fgnet/source/containers/install.sh"
    assert set(extras.split(",")) <= set(parser["options.extras_require"])


def test_both_recipes_install_the_same() -> None:
    (first, one), (second, other) = recipes().values()
    assert first == second
    assert one.replace('"$TORCH"', "{{ torch }}").replace("$TORCH_FLAGS", "{{ torch_flags }}") == other
