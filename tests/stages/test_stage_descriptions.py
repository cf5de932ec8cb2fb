"""What stages say of themselves is what they do: columns, types, keys, and the page that is written from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pipeline_tools import CHECKOUT, cells, standard_config, write_volume

from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.stages.job import Job
from fgnet_pipeline.stages.reference import reference
from fgnet_pipeline.stages.registry import stage_of, stages, tables_of

ORDER = ["predict", "fragments", "edges", "agglomerate", "lut", "relabel"]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("described")
    raw = write_volume(folder / "raw.zarr", cells((48, 48, 24), seed=2))
    return run(load_config(standard_config(folder, raw), ["edges.histogram=true"]))


def dtype_text(values: npt.NDArray[np.generic]) -> str:
    """The type of a column as `TableOutput.columns` writes it."""
    return str(values.dtype) if values.ndim == 1 else f"{values.dtype}[{values.shape[1]}]"


def test_the_data_flow_fixes_the_order() -> None:
    assert [name for name in stages() if name in ORDER] == ORDER


def test_every_table_has_the_columns_that_its_stage_describes(job: Job) -> None:
    for task in job.plan.tasks.values():
        stage = stage_of(task)
        for output, tables in zip(stage.tables, tables_of(job, task.name), strict=True):
            for block in job.plan.active_blocks(task.name, job.plan.blocks(task.name)):
                stored = {name: dtype_text(values) for name, values in tables.read(block).items()}
                required = {name: kind for name, kind in stored.items() if name not in output.optional}
                assert required == output.columns, (task.name, output.kind)
                assert {n: k for n, k in stored.items() if n not in required}.items() <= output.optional.items()


def test_every_array_has_the_type_that_its_stage_describes(job: Job) -> None:
    for task in job.plan.tasks.values():
        array = stage_of(task).array_of(job)
        if array is not None:
            stored = job.output.array(array.name).array
            assert str(stored.dtype) == array.dtype and stored.shape[-3:] == job.bounds.shape


def test_a_task_reads_only_what_stages_before_it_write(job: Job) -> None:
    place = {name: at for at, name in enumerate(stages())}
    for task in job.plan.tasks.values():
        for upstream in task.upstream:
            assert place[job.plan.tasks[upstream].stage] <= place[task.stage]


def test_the_reference_is_what_the_stages_say() -> None:
    page: Path = CHECKOUT / "docs" / "reference" / "stages.md"
    assert page.read_text() == reference(), "write it again: python -m fgnet_pipeline.stages.reference"
