"""Where an output keeps what is no array: Zarr lists the arrays without a warning, and a killed start is completed."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorstore
import zarr
from damage_tools import state, truncate
from pipeline_tools import Command, assert_same_output
from zarr.errors import ZarrUserWarning

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.verification.verify import verify

ARRAYS = ["affinities", "fragments", "segmentation"]
HIDING = ["fgnet/zarr.json", "fgnet/state/zarr.json"]


@pytest.fixture
def strict() -> Iterator[None]:
    """Every warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.usefixtures("strict")
def test_zarr_lists_an_output_without_a_warning(finished_run: Path) -> None:
    group = zarr.open_group(finished_run / "out.zarr", mode="r")
    assert sorted(name for name, _ in group.members()) == sorted([*ARRAYS, "fgnet"])
    assert sorted(name for name, _ in group.members(max_depth=None)) == sorted([*ARRAYS, "fgnet", "fgnet/state"])
    assert sorted(name for name, _ in group.arrays()) == ARRAYS
    assert [name for name, _ in group.groups()] == ["fgnet"]
    assert "segmentation (40, 50, 60) uint64" in str(group.tree())
    assert group.nmembers(max_depth=None) == 5
    assert sorted(path.name for path in (finished_run / "out.zarr").iterdir()) == sorted(
        [*ARRAYS, "fgnet", "zarr.json"]
    )
    assert sorted(path.name for path in (finished_run / "out.zarr" / "fgnet").iterdir()) == ["state", "zarr.json"]


@pytest.mark.usefixtures("strict")
def test_consolidated_metadata_hold_the_arrays(copied_run: tuple[Path, Path]) -> None:
    config, out = copied_run
    warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", ZarrUserWarning)
    zarr.consolidate_metadata(out)
    group = zarr.open_group(out, mode="r", use_consolidated=True)
    assert sorted(name for name, _ in group.arrays()) == ARRAYS
    assert group["segmentation"][:].any()
    assert verify(load_config(config)).ok


def test_another_library_opens_the_array_that_stands_for_the_files(finished_run: Path) -> None:
    path = finished_run / "out.zarr" / "fgnet" / "state"
    store = tensorstore.open({"driver": "zarr3", "kvstore": path.as_uri()}).result()
    assert store.shape == (1,) and not store.read().result().any()


def nothing(root: Path) -> None:
    """The folder alone."""


def unfinished_file(root: Path) -> None:
    """What Zarr calls a file until it is complete."""
    (root / f"zarr.{'0' * 32}.partial").write_text("{")


def group_without_attributes(root: Path) -> None:
    zarr.open_group(root, mode="a", zarr_format=3)


def group(root: Path) -> None:
    zarr.open_group(root, mode="a", zarr_format=3, attributes={"fgnet_format": 2})


def without(name: str) -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        Output(str(root)).create()
        (root / name).unlink()

    return remove


def torn(name: str) -> Callable[[Path], None]:
    def tear(root: Path) -> None:
        Output(str(root)).create()
        truncate(root / name)

    return tear


def without_records(root: Path) -> None:
    Output(str(root)).create()
    (root / "fgnet" / "state" / "progress").rmdir()


BEGUN = [nothing, unfinished_file, group_without_attributes, group, without_records]


@pytest.mark.parametrize("begin", [*BEGUN, *map(without, HIDING), *map(torn, HIDING)])
def test_a_start_that_was_killed_is_completed(begin: Callable[[Path], None], tmp_path: Path) -> None:
    whole, root = tmp_path / "whole.zarr", tmp_path / "out.zarr"
    Output(str(whole)).create()
    root.mkdir()
    begin(root)
    output = Output(str(root))
    output.check(ARRAYS)
    output.create()
    (root / f"zarr.{'0' * 32}.partial").unlink(missing_ok=True)
    assert {name: data for name, (_, data) in state(root).items()} == {
        name: data for name, (_, data) in state(whole).items()
    }
    assert output.progress.root == root / "fgnet" / "state" / "progress" and output.progress.root.is_dir()


@pytest.mark.parametrize("name", HIDING)
def test_verify_finds_and_restores_what_hides_the_files(
    name: str, copied_run: tuple[Path, Path], command: Command
) -> None:
    config, out = copied_run
    before = (out / name).read_bytes()
    (out / name).write_text(json.dumps({"zarr_format": 3, "node_type": "table"}))
    code, text, _ = command("verify", config, "--json")
    assert code == 1
    assert [(f["kind"], f["files"]) for f in json.loads(text)["damage"]] == [("metadata", [str(out / name)])]
    assert not json.loads(text)["requeued"]
    assert command("verify", config, "--repair")[0] == 1
    assert (out / name).read_bytes() == before
    assert command("verify", config)[0] == 0


def test_an_output_of_format_1_stays_in_its_form(copied_run: tuple[Path, Path], finished_run: Path) -> None:
    config, out = copied_run
    for path in (out / "fgnet" / "state").iterdir():
        if path.name != "zarr.json":
            path.rename(out / path.name)
    shutil.rmtree(out / "fgnet")
    zarr.open_group(out, mode="r+").update_attributes({"fgnet_format": 1})
    (out / "fragments" / "c" / "0" / "1" / "1").unlink()
    run(load_config(config))
    assert not (out / "fgnet").exists() and Output(str(out)).state == out
    assert_same_output(finished_run / "out.zarr", out)
    assert verify(load_config(config)).ok


def test_an_output_of_a_later_format_is_refused(tmp_path: Path) -> None:
    zarr.open_group(tmp_path, mode="a", zarr_format=3, attributes={"fgnet_format": 3})
    with pytest.raises(InputError, match=r"expected format 1 or 2 \(found 3\); use another version"):
        Output(str(tmp_path)).check(ARRAYS)
