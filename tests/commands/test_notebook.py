"""The notebook in examples/ runs in a kernel as committed, without outputs, and shows the true numbers."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from pipeline_tools import read

import fgnet_pipeline as fp

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_result.ipynb"


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_committed_without_outputs(notebook: Any) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_the_notebook_goes_from_raw_to_picture_scores_and_view(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = NOTEBOOK.parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{root}:{root / 'model'}")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    _, _, _, picture, scores, view = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any("image/png" in output.get("data", {}) for output in picture.outputs)
    made = tmp_path / "first_result"
    expected = fp.evaluate(made / "segmentation.zarr", made / "phantom.zarr" / "labels")
    shown = ast.literal_eval(scores.outputs[0]["data"]["text/plain"])
    assert shown == (expected["voi_split"], expected["voi_merge"])
    assert len(np.unique(read(made / "segmentation.zarr", "segmentation"))) > 5
    assert '<a href="http://127.0.0.1:' in view.outputs[0]["data"]["text/html"]
