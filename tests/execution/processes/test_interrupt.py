"""Ctrl-C, as a terminal sends it to all processes of a run: one sentence, no worker left behind, and it goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pipeline_tools import assert_same_output, records, run_on_cells, standard_config, state_of
from sessions import members_of

from fgnet_pipeline.core.signals import interrupts_later
from fgnet_pipeline.execution.processes.interrupt import Terminated
from fgnet_pipeline.execution.processes.lanes import serve_in_lanes
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config

PATIENCE = 240.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run on 27 blocks; no test changes it."""
    return run_on_cells(tmp_path_factory.mktemp("undisturbed"), (48, 48, 48), seed=3, block_shape=[16, 16, 16])


def configured(folder: Path, undisturbed: Path) -> tuple[Path, Path]:
    """(configuration, output) of the same run in a folder of its own; nothing is computed."""
    config = standard_config(folder, str(undisturbed / "raw.zarr"), block_shape=[16, 16, 16])
    return config, folder / "out.zarr"


def test_a_run_in_the_background_of_a_script_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    config, out = configured(tmp_path, undisturbed)
    in_background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # what a shell does to the commands before an `&`
    process = subprocess.Popen(
        [*in_background, sys.executable, "-m", "fgnet_pipeline", "run", config, "--workers", "2"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for moment in (importing, predicting):
        while not moment(process.pid, out) and process.poll() is None:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):  # done between two looks
            os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "finished in" in stderr, stderr


def importing(driver: int, out: Path) -> bool:
    try:
        return "pydantic_core" in Path(f"/proc/{driver}/maps").read_text()
    except OSError:  # it is being replaced by another program
        return False


def importing_for_workers(driver: int, out: Path) -> bool:
    return any(b"forkserver" in Path(f"/proc/{member}/cmdline").read_bytes() for member in members_of(driver))


def starting_workers(driver: int, out: Path) -> bool:
    return len(list((state_of(out) / "logs").glob("predict-*.log"))) > 0


def predicting(driver: int, out: Path) -> bool:
    return bool(records(out, "predict"))


@pytest.mark.parametrize("moment", [importing, importing_for_workers, starting_workers, predicting])
def test_an_interrupted_run_says_one_sentence_and_goes_on_later(
    undisturbed: Path, tmp_path: Path, moment: Callable[[int, Path], bool]
) -> None:
    config, out = configured(tmp_path, undisturbed)
    temporary = Path(tempfile.mkdtemp())  # below `tmp_path`, the names of sockets would be too long
    process = subprocess.Popen(
        [sys.executable, "-m", "fgnet_pipeline", "run", str(config), "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    give_up = time.monotonic() + PATIENCE
    while not moment(process.pid, out) and process.poll() is None:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    assert process.poll() is None
    before = records(out, "predict") if moment is predicting else []
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    # Python ends by the signal if the code came through `eval`; a shell shows 130 then, too.
    assert process.returncode in (130, -signal.SIGINT)
    assert stdout == ""
    lines = stderr.splitlines()
    assert lines.pop() == "interrupted: run the same command again to go on", stderr
    said = ("volume.path: ", "region: ", "values that ", "blocks to do: ")  # in this order, up to the interrupt
    assert len(lines) <= len(said), stderr
    assert all(line.startswith(begin) for line, begin in zip(lines, said, strict=False)), stderr
    assert len(lines) == len(said) or moment in (importing, importing_for_workers)
    while set(members_of(process.pid)) - {process.pid}:  # the fork server ends by itself, once its driver is gone
        assert time.monotonic() < give_up
        time.sleep(0.02)
    temporary.rmdir()  # fails if something is left
    if moment in (importing, importing_for_workers):  # there is nothing to go on with
        return
    run(load_config(config, ["schedule.workers=0"]))
    after = [tuple(r["block"]) for r in records(out, "predict")]
    assert all(after.count(tuple(r["block"])) == 1 for r in before)
    for stray in out.rglob("*.partial"):  # of a lane that was writing, see docs/guides/verify-and-repair.md
        stray.unlink()
    assert_same_output(undisturbed / "out.zarr", out)


@pytest.mark.parametrize("others", [2, 3, 4])
def test_an_interrupted_verify_says_one_sentence(undisturbed: Path, others: int) -> None:
    """With a fork server and its first processes: a pool that is interrupted while it starts would wait for ever."""
    config = undisturbed / "config.toml"
    give_up = time.monotonic() + PATIENCE
    code = 0
    while code in (0, -signal.SIGINT):  # on a busy machine it may be done, or in its last moments, when it is looked at
        process = subprocess.Popen(
            [sys.executable, "-m", "fgnet_pipeline", "verify", str(config), "--workers", "2"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        while len(members_of(process.pid)) <= others and process.poll() is None:
            assert time.monotonic() < give_up
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE)
        code = process.returncode
    assert code == 130, stderr
    assert stderr.splitlines() == ["interrupted: run the same command again to go on"]


def test_an_interrupted_import_leaves_nothing(tmp_path: Path) -> None:
    """While Zarr writes in threads of its own, which would go on after the folder is removed."""
    raw = tmp_path / "raw.tif"
    tifffile.imwrite(raw, np.random.default_rng(1).integers(0, 255, (128, 512, 512), dtype=np.uint8))
    output = tmp_path / "imports" / "out.zarr"
    code = 0
    while code in (0, -signal.SIGINT):  # done, or in its last moments
        shutil.rmtree(output, ignore_errors=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "fgnet_pipeline", "import", output, "--raw", raw, "--voxel-size", "8,8,8"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while not any(output.parent.glob(".*/*/raw/c/*")) and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE)
        code = process.returncode
    assert code == 130, stderr
    assert stderr.splitlines() == ["interrupted: run the same command again to go on"]
    assert list(output.parent.iterdir()) == []


def test_an_interrupt_is_heard_once_a_block_is_written() -> None:
    heard: list[str] = []
    for error in (None, OSError("disk")):
        with pytest.raises(KeyboardInterrupt), interrupts_later():
            signal.raise_signal(signal.SIGINT)
            heard.append("written")
            if error is not None:
                raise error
    assert heard == ["written", "written"]


def test_an_interrupt_among_imports_is_heard_after_them(tmp_path: Path) -> None:
    """Packages may catch what is raised while they are imported, or end the process."""
    (tmp_path / "careless.py").write_text("""
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)
except BaseException:
    os.abort()
""")
    body = """
import os, time
from fgnet_pipeline.commands import cli, entry
def main():
    import careless
    try:
        os.write(1, b"imported ")  # at once: an interrupted print would write again at the end
        time.sleep(100)
    finally:
        os.write(1, b"cleaned")
cli.main = lambda: cli.guarded(main)
entry.main()
"""
    command = [sys.executable, "-c", body]
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=tmp_path)
    assert (found.returncode, found.stdout.split()) == (130, ["imported", "cleaned"]), found.stderr
    assert found.stderr == "interrupted: run the same command again to go on\n"


def test_a_lane_that_is_asked_to_end_waits_for_no_other() -> None:
    over, others = threading.Event(), []

    def serve() -> None:
        if threading.current_thread() is threading.main_thread():
            raise Terminated
        others.append(over.wait(PATIENCE))

    with pytest.raises(Terminated):
        serve_in_lanes(serve, 2)
    assert others == []
    over.set()


def test_a_worker_flushes_whenever_it_is_asked_to_end() -> None:
    """Asked twice at once, before every line that Python executes: it ends without a word, and nothing is lost."""
    body = """
import os, signal, sys
from fgnet_pipeline.execution.processes.interrupt import flushed, obey_driver

def child(last):
    begun, stored = [], []
    def trace(frame, event, argument):
        nonlocal last
        last -= 1
        if last == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return trace
    exit_now = os._exit
    def leave(code):
        sys.settrace(None)
        exit_now(code if not begun or stored else 99)
    os._exit = leave
    sys.settrace(trace)
    obey_driver()
    flushed(lambda: begun.append(1), lambda: stored.append(1))
    sys.settrace(None)
    exit_now(0 if last > 0 else 1)

for last in range(1, 1000):
    pid = os.fork()
    if pid == 0:
        child(last)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(code)
    if code == 0:
        break
"""
    found = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, timeout=PATIENCE, check=True)
    codes = [int(code) for code in found.stdout.split()]
    assert found.stderr == ""
    assert codes.pop() == 0
    asked, ended, done = -signal.SIGTERM, 128 + signal.SIGTERM, 1
    assert codes == sorted(codes, key=[asked, ended, done].index)
    assert {asked, ended, done} <= set(codes)


def test_what_native_code_prints_goes_to_the_log(tmp_path: Path) -> None:
    """What native code writes is kept apart; what Python prints is not; both are as before afterwards."""
    body = """
import os, sys
from pathlib import Path
from fgnet_pipeline.execution.processes.interrupt import native_output_to
for path in sys.argv[1:]:
    with native_output_to(Path(path)):
        os.write(2, b"native\\n")
        print("python", file=sys.stderr)
    os.write(2, b"after\\n")
    print("after", file=sys.stderr)
"""
    log, nowhere = tmp_path / "logs" / "daisy.log", tmp_path / "file" / "daisy.log"
    nowhere.parent.write_text("no folder")
    command = [sys.executable, "-c", body, str(log), str(nowhere)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stderr.split() == ["python", "after", "after"] * 2
    assert log.read_text() == "native\n"
