"""Workers that can compute nothing more, as after the loss of a GPU: they end, and others get their blocks.

A fragments method of another distribution loses its process, as often as it finds a file to remove.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from installed import install
from pipeline_tools import assert_same_output, cells, fgnet, records, state_of, write_config, write_volume

from fgnet_pipeline.core.errors import WorkerLostError
from fgnet_pipeline.execution.cluster.submission import Share, Submission
from fgnet_pipeline.execution.driver import all_left, announce, checked, driving
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.kernels.fragments.method import GROUP, methods
from fgnet_pipeline.stages.configuration import choices, load_config

BLOCKS = 2 * 2 * 4
FRAGMENTS = ("fragments",)
METHOD = """
    from pathlib import Path

    from fgnet_pipeline.core.errors import WorkerLostError
    from fgnet_pipeline.kernels.fragments.method import FragmentsMethod
    from fgnet_pipeline.kernels.fragments.sections import METHOD as SECTIONS

    lost = []

    def segment(affinities, settings, losses):
        if lost:
            (Path(losses) / "another-block").touch()
        for path in Path(losses).glob("loss-*"):
            path.unlink()
            lost.append(path)
            raise WorkerLostError("the GPU was lost")
        return SECTIONS.segment(affinities, settings)

    METHOD = FragmentsMethod("lossy", segment, SECTIONS.context, options={"losses": "none"}, warms_up=False)
"""


@pytest.fixture(scope="module")
def affinities(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of affinities of 16 blocks."""
    path = tmp_path_factory.mktemp("affinities") / "affinities.zarr"
    attributes = {"voxel_size": [10, 10, 10], "offset": [0, 0, 0]}
    return write_volume(path, np.stack([cells((32, 32, 64), seed=5)] * 3), attributes)


@pytest.fixture(scope="module")
def undisturbed(affinities: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a serial run without losses."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(load_config(configured(folder, affinities, method="sections")), FRAGMENTS)
    return folder / "out.zarr"


@pytest.fixture
def lossy(affinities: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the lossy method, which is installed here and in processes that inherit PYTHONPATH."""
    install(tmp_path, monkeypatch, GROUP, {"lossy": "lossy:METHOD"}, {"lossy": METHOD})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    for registered in (methods, choices):
        registered.cache_clear()
    (tmp_path / "losses").mkdir()
    yield configured(tmp_path, affinities, method="lossy", losses=str(tmp_path / "losses"))
    for registered in (methods, choices):
        registered.cache_clear()


def configured(folder: Path, affinities: str, **fragments: str) -> Path:
    return write_config(
        folder / "config.toml",
        affinities={"path": affinities},
        output={"path": str(folder / "out.zarr")},
        schedule={"workers": 0, "block_shape": [16, 16, 16]},
        fragments=fragments,
    )


def lose(folder: Path, times: int) -> None:
    for number in range(times):
        (folder / "losses" / f"loss-{number}").touch()


def test_other_workers_get_the_blocks_of_lost_ones(undisturbed: Path, lossy: Path, tmp_path: Path) -> None:
    lose(tmp_path, 2)
    fgnet("run", lossy, "--workers", 2)
    assert list((tmp_path / "losses").iterdir()) == [], "a lost worker took no other block"
    assert_same_output(undisturbed, tmp_path / "out.zarr", FRAGMENTS)
    state = state_of(tmp_path / "out.zarr")
    assert len(records(tmp_path / "out.zarr", "fragments")) == BLOCKS
    noted = [path.read_text() for path in (state / "progress" / "fragments").glob("failed-*")]
    assert len(noted) == 2 and all("WorkerLostError: the GPU was lost" in text for text in noted)


def test_a_serial_run_ends_with_a_sentence(undisturbed: Path, lossy: Path, tmp_path: Path) -> None:
    lose(tmp_path, 1)
    with pytest.raises(WorkerLostError, match=r"^the GPU was lost$"):
        run(load_config(lossy), FRAGMENTS)
    sys.modules["lossy"].lost.clear()
    run(load_config(lossy), FRAGMENTS)
    assert_same_output(undisturbed, tmp_path / "out.zarr", FRAGMENTS)


def test_an_element_of_a_job_array_ends(lossy: Path, tmp_path: Path) -> None:
    job, names = checked(load_config(lossy, ["schedule.backend=array", "schedule.workers=2"]), FRAGMENTS, None)
    with driving(job, names, None):
        work = announce(job, all_left(job, names))
    share = Share(job.plan.blocks("fragments"), work.todo["fragments"], 1)
    submission = Submission(work.spec, {"fragments": share}).write(job.output.progress.root)
    lose(tmp_path, 1)
    arguments = ("worker", submission, "--task", "fragments", "--share", 0)
    ended = fgnet(*arguments, check=False)
    assert ended.returncode == 1 and "WorkerLostError: the GPU was lost" in ended.stderr
    assert list((tmp_path / "losses").iterdir()) == [] and len(records(tmp_path / "out.zarr", "fragments")) == 0
    fgnet(*arguments)
    assert len(records(tmp_path / "out.zarr", "fragments")) == BLOCKS
