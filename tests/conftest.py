"""Fixtures that all tests share.

`FGNET_REQUIRE` (comma list of data, slurm, postgres, browser, s3): what it names is never skipped.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_tools import Command, Refused, cells, run_on_cells, standard_config, write_volume
from required import skip_or_fail
from slurm_cluster import Cluster, missing_programs

CHECKOUT = Path(__file__).resolve().parents[1]


#: Groups that take longest. They begin first, so that no process is left with a long one at the end.
LONG_GROUPS = (
    "slurm", "test_interrupt", "test_faults", "test_s3_run", "test_toy_cluster", "test_training_run",
    "test_training_loop", "test_toy_stage", "test_model_modes", "test_octree_data", "test_real_data",
    "test_plan_command", "test_install", "test_odd_files", "test_guides", "test_documentation_site",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """If tests run side by side, one process runs those of a file, which share fixtures; one runs those of Slurm."""
    group = {item: "slurm" if "cluster" in getattr(item, "fixturenames", ()) else item.path.stem for item in items}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group[item]))
    first = {name: place for place, name in enumerate(LONG_GROUPS)}
    items.sort(key=lambda item: first.get(group[item], len(first)))


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Interrupts are heard, though a script that runs these tests in its background would ignore them."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture(scope="session")
def sample() -> Path:
    """Path of fib25.zarr (arrays raw, labels): `$FGNET_DATA` or `../shared/data` beside the checkout."""
    given = os.environ.get("FGNET_DATA")
    root = Path(given) if given else CHECKOUT.parent / "shared" / "data"
    found = root if (root / "raw" / "zarr.json").exists() else root / "fib25.zarr"
    if not (found / "raw" / "zarr.json").exists():
        skip_or_fail("data", f"no real sample at {found}: set FGNET_DATA to the folder that holds fib25.zarr")
    return found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real one-node Slurm, for the whole session."""
    missing = missing_programs()
    if missing:
        skip_or_fail("slurm", f"Slurm is not installed here ({', '.join(missing)} missing)")
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process; gives its exit code, standard output and standard error."""
    from fgnet_pipeline.commands import cli  # not all tests need what it imports

    def call(*arguments: object) -> tuple[object, str, str]:
        capsys.readouterr()  # what was printed before belongs to no command
        with pytest.raises(SystemExit) as ended:
            cli.guarded(lambda: cli.app([str(a) for a in arguments]))
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call


@pytest.fixture
def refused(command: Command) -> Refused:
    """Runs a command that must refuse its input; gives the sentence, after checking its form and the exit code."""

    def call(*arguments: object) -> str:
        code, _, text = command(*arguments)
        assert code == 2, text
        assert text.startswith("error: ") and "expected" in text and ";" in text and "Traceback" not in text
        return text

    return call


@pytest.fixture(scope="session")
def small_raw(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a raw volume of 30 voxels per axis."""
    return write_volume(tmp_path_factory.mktemp("small") / "raw.zarr", cells((30, 30, 30)))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run on 2 x 3 x 3 blocks, an octree of 1 x 2 x 2 leaves and a root; no test changes it."""
    return run_on_cells(tmp_path_factory.mktemp("finished"), (40, 50, 60), leaf_blocks=2)


@pytest.fixture
def copied_run(finished_run: Path, tmp_path: Path) -> tuple[Path, Path]:
    """(configuration, output) of a copy of `finished_run`, which the test may change."""
    shutil.copytree(finished_run / "out.zarr", tmp_path / "out.zarr")
    config = standard_config(tmp_path, str(finished_run / "raw.zarr"), leaf_blocks=2)
    return config, tmp_path / "out.zarr"
