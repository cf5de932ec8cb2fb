"""What of a result is shown and where, and what is said of the rest; also if the run is not finished or is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from pipeline_tools import cells, read, run_on_cells, state_of, write_volume
from views_of_runs import opened

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.stages.configuration import load_result
from fgnet_pipeline.store.served_array import ComputedArray
from fgnet_pipeline.views.completeness import notes
from fgnet_pipeline.views.view import View

Run = tuple[Path, Path]


def names_of(view: View) -> list[str]:
    return [layer.name for layer in view.found.layers]


def notes_of(out: Path, *overrides: str, **options: str) -> dict[str, str]:
    """The sentences about the layers of an output."""
    return notes(load_result(str(out), list(overrides)), opened(out, *overrides, **options).found)


def test_a_finished_run(finished_run: Path) -> None:
    out = finished_run / "out.zarr"
    view = opened(out)
    assert names_of(view) == ["raw", "affinities", "fragments", "segmentation"]
    assert view.centre == (20, 25, 30)
    state = view.state(lambda layer: layer.source(f"zarr3://x/{layer.name}/"))
    assert [layer["visible"] for layer in state["layers"]] == [True, False, False, True]
    assert state["dimensions"] == {axis: [1e-08, "m"] for axis in "xyz"}
    assert state["position"] == [30.5, 25.5, 20.5]
    assert notes_of(out) == {
        "raw": "18 of 18 chunks stored",
        "affinities": "18 of 18 blocks done",
        "fragments": "18 of 18 blocks done",
        "segmentation": "18 of 18 blocks done",
    }


def test_an_unfinished_run(copied_run: Run) -> None:
    _, out = copied_run
    shutil.rmtree(out / "segmentation")
    shutil.rmtree(state_of(out) / "progress" / "relabel")
    (record,) = (state_of(out) / "progress" / "fragments").glob("done-*.jsonl")
    record.write_text("".join(record.read_text().splitlines(keepends=True)[:5]))
    view = opened(out)
    assert names_of(view) == ["raw", "affinities", "fragments"]
    visible = [layer["visible"] for layer in view.state(lambda layer: layer.source("x"))["layers"]]
    assert visible == [True, False, True]
    found = notes_of(out)
    assert found["fragments"] == "5 of 18 blocks done, 13 missing"
    assert found["segmentation"] == "not there yet"


def test_results_of_other_settings_are_named(copied_run: Run) -> None:
    _, out = copied_run
    found = notes_of(out, "agglomerate.threshold=0.9")
    assert found["fragments"] == "18 of 18 blocks done"
    assert found["segmentation"] == "0 of 18 blocks done, 18 missing, 18 of them as other settings made them"


def test_a_damaged_output(copied_run: Run) -> None:
    _, out = copied_run
    (out / "segmentation" / "c" / "0" / "1" / "1").unlink()
    (out / "fragments" / "zarr.json").write_text("{")
    found = notes_of(out)
    assert names_of(opened(out)) == ["raw", "affinities", "segmentation"]
    assert found["segmentation"] == (
        "18 of 18 blocks done, finished blocks without their files: 1 (fgnet verify says more)"
    )
    assert found["fragments"].startswith("cannot be shown (output.path = ") and "fragments" in found["fragments"]


def test_a_lost_raw_volume(copied_run: Run) -> None:
    _, out = copied_run
    view = opened(out, "volume.path=/nowhere/raw.zarr")
    assert names_of(view) == ["affinities", "fragments", "segmentation"]
    assert view.found.layers[0].frame.voxel_size == (10, 10, 10)
    found = notes_of(out, "volume.path=/nowhere/raw.zarr")
    assert "/nowhere/raw.zarr" in found["raw"]
    assert found["segmentation"] == "18 of 18 shards stored"


def test_an_output_without_arrays(copied_run: Run) -> None:
    _, out = copied_run
    for name in ("affinities", "fragments", "segmentation"):
        shutil.rmtree(out / name)
    with pytest.raises(InputError, match="expected an output with an array to show; begin it with fgnet run"):
        opened(out)


def test_fractions_of_a_nanometre_are_those_of_the_raw_volume(copied_run: Run, tmp_path: Path) -> None:
    """Arrays of the output round their voxel size to picometres, which would move far voxels."""
    _, out = copied_run
    size, offset = [10 / 3, 20 / 3, 4.6], [-100.5, 7 / 3, 1e6]
    attributes = {"voxel_size": size, "offset": offset, "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    raw = write_volume(tmp_path / "third.zarr", cells((40, 50, 60)), attributes)
    view = opened(out, f"volume.path={raw}")
    state = view.state(lambda layer: layer.source("x"))
    for layer in state["layers"]:
        transform = layer["source"]["transform"]
        shift = [row[-1] for row in transform["matrix"]][-3:]
        assert shift == pytest.approx([o / s for o, s in zip(offset, size, strict=True)])
        assert [transform["outputDimensions"][axis][0] for axis in "zyx"] == pytest.approx([s * 1e-9 for s in size])


def test_labels_lie_where_their_metadata_say(finished_run: Path, tmp_path: Path) -> None:
    coarse = {"voxel_size": [20, 20, 20], "offset": [100, 0, 40], "axis_names": ["z", "y", "x"], "units": ["nm"] * 3}
    labels = write_volume(tmp_path / "labels", np.ones((8, 9, 10), np.int32), coarse)
    layer = opened(finished_run / "out.zarr", labels=labels).found.layer("labels")
    assert layer is not None
    assert (layer.frame.voxel_size, layer.frame.offset) == ((20, 20, 20), (100, 0, 40))
    same = write_volume(tmp_path / "same", np.ones((40, 50, 60), np.uint16), {"axis_names": ["z", "y", "x"]})
    layer = opened(finished_run / "out.zarr", labels=same).found.layer("labels")
    assert layer is not None and layer.frame.voxel_size == (10, 10, 10)


def test_labels_that_do_not_fit(finished_run: Path, tmp_path: Path) -> None:
    out = finished_run / "out.zarr"
    small = write_volume(tmp_path / "small", np.ones((8, 9, 10), np.uint8), {"axis_names": ["z", "y", "x"]})
    with pytest.raises(InputError, match=r"--labels.*a voxel size': expected the volume's shape \[40, 50, 60\]"):
        opened(out, labels=small)
    floats = write_volume(tmp_path / "floats", np.ones((40, 50, 60), np.float32))
    with pytest.raises(InputError, match=r"--labels.*of type float32': expected integers"):
        opened(out, labels=floats)
    with pytest.raises(InputError, match="--labels"):
        opened(out, labels=str(tmp_path / "none"))


def test_a_labs_affinities_and_fragments(finished_run: Path, tmp_path: Path) -> None:
    own = finished_run / "out.zarr"
    stored = read(own, "affinities")
    backwards = {"offsets": [[0, 0, -1], [0, -1, 0], [-1, 0, 0]], "voxel_size": [10, 10, 10], "offset": [0, 0, 0],
                 "axis_names": ["z", "y", "x", "c^"], "units": ["nm"] * 3}  # fmt: skip
    array = zarr.create_array(str(tmp_path / "affs"), data=np.moveaxis(stored[::-1], 0, -1), chunks=(20, 20, 20, 3))
    array.attrs.update(backwards)
    view = opened(
        own, f"affinities.path={tmp_path / 'affs'}", f"fragments.path={own / 'fragments'}", "model.checkpoint="
    )
    layer = view.found.layer("affinities")
    assert layer is not None and layer.channels == (2, 1, 0)
    assert layer.served.axes == ("z", "y", "x", "c")
    shader = view.state(lambda layer: layer.source("x"))["layers"][1]["shader"]
    assert shader.index("getDataValue(2)") < shader.index("getDataValue(1)") < shader.index("getDataValue(0)")


def test_chunks_that_no_browser_could_hold_are_divided(copied_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, out = copied_run
    monkeypatch.setattr("fgnet_pipeline.store.zarr_document.LARGEST_CHUNK", 1000)
    view = opened(out)
    for layer, channels in zip(view.found.layers, (0, 3, 0, 0), strict=True):
        assert isinstance(layer.served, ComputedArray)
        document = json.loads(layer.served.document)
        assert document["shape"][-3:] == [40, 50, 60]
        shape = document["chunk_grid"]["configuration"]["chunk_shape"]
        name = "c/" + ("0/" if channels else "") + "0/1/2"
        part = layer.served.read(name)
        assert part is not None and part.total == len(part.data)
        values = np.frombuffer(part.data, document["data_type"]).reshape(shape)
        stored = read(Path(layer.path).parent, Path(layer.path).name)
        z, y, x = shape[-3:]
        expected = stored[..., :z, y : 2 * y, 2 * x : 3 * x]
        inside = tuple(slice(0, n) for n in expected.shape)
        assert expected.any() and np.array_equal(values[inside], expected)
        assert values.sum() == expected.sum()


def test_a_run_with_fragments_of_a_lab(tmp_path: Path) -> None:
    """Their ids do not tell their block, so that every table is searched."""
    made = run_on_cells(tmp_path, (30, 30, 30), count=8)
    (tmp_path / "own").mkdir()
    ids = read(made / "out.zarr", "fragments")
    found, numbered = np.unique(ids, return_inverse=True)
    lab = write_volume(tmp_path / "lab", (numbered.reshape(ids.shape) * 10).astype(np.uint64))
    own = run_on_cells(tmp_path / "own", (30, 30, 30), count=8, overrides=(f"fragments.path={lab}",))
    segmentation = read(own / "out.zarr", "segmentation")
    for segment in np.unique(segmentation[segmentation > 0]):
        view = opened(own / "out.zarr", segment=str(segment))
        assert segmentation[view.centre] == segment
    assert len(found) > 4
