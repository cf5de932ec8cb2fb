"""Runs that read from and write to a real S3 server: the same bytes as on disk, whatever happens on the way."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from pipeline_tools import Command, cells, fgnet, files_of, records, standard_config, write_config, write_volume
from required import skip_or_fail

from fgnet_pipeline.core.errors import DamageError, InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.planning.estimate import estimate
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.arrays import create_array
from fgnet_pipeline.store.frame import Frame
from fgnet_pipeline.store.object_store import open_store
from fgnet_pipeline.store.output import Output
from fgnet_pipeline.verification.verify import verify

try:
    import moto  # noqa: F401
    import s3fs  # noqa: F401
    from s3_tools import FAULTS, SECRET, Proxy, asking, client, export, objects
except ImportError as error:
    skip_or_fail("s3", f"the packages of the extra `test` are missing ({error})")

SHAPE = (24, 48, 48)
ARRAYS = ("affinities", "fragments", "segmentation")
PATIENCE = 120.0


@pytest.fixture(scope="module", autouse=True)
def environment(server: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        export(patch, server)
        with asking(server):
            yield


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, server: str) -> Path:
    """A raw volume on disk, whose copy is s3://lab/raw.zarr."""
    path = tmp_path_factory.mktemp("raw") / "raw.zarr"
    write_volume(path, cells(SHAPE, seed=3), chunks=(24, 24, 24))
    upload(server, path, "raw.zarr")
    return path


def upload(server: str, path: Path, key: str) -> None:
    s3 = client(server)
    for name, data in files_of(path.parent, path.name).items():
        s3.put_object(Bucket="lab", Key=f"{key}/{name}", Body=data)


@pytest.fixture(scope="module")
def reference(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(load_config(standard_config(folder, str(raw)), ["agglomerate.leaf_blocks=2"]))
    return folder / "out.zarr"


def remote_config(folder: Path, name: str, block: int = 24, raw: str = "s3://lab/raw.zarr") -> Path:
    """A run from and to the bucket ``lab``; its state is ``folder / state``."""
    return write_config(
        folder / "config.toml",
        volume={"path": raw},
        output={"path": f"s3://lab/{name}", "state": "state"},
        model={"checkpoint": "identity"},
        schedule={"workers": 0, "block_shape": [block] * 3},
        agglomerate={"leaf_blocks": 2},
    )


def said(config: Path) -> str:
    """What a run in this process reports."""
    lines: list[str] = []
    run(load_config(config), report=lines.append)
    return "\n".join(lines)


def assert_same(server: str, name: str, state: Path, reference: Path) -> None:
    """Arrays in the bucket and tables in the state are those of a run on disk, byte for byte."""
    for array in ARRAYS:
        assert objects(server, "lab", f"{name}/{array}/") == files_of(reference, array), array
    assert files_of(state, "tables") == files_of(reference, "tables")


@pytest.fixture(scope="module")
def finished(server: str, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a run with two workers, finished, whose arrays are s3://lab/two.zarr."""
    config = remote_config(tmp_path_factory.mktemp("finished"), "two.zarr")
    assert "s3://lab/two.zarr" in fgnet("run", config, "--workers", 2).stderr
    return config


def test_from_bucket_to_bucket_with_two_workers(server: str, finished: Path, reference: Path) -> None:
    state = finished.parent / "state"
    assert_same(server, "two.zarr", state, reference)
    assert not (state / "segmentation").exists()


def test_no_secret_is_written(finished: Path) -> None:
    files = files_of(finished.parent, "state").values()
    assert files and not any(SECRET.encode() in data for data in files)


def test_a_block_is_one_request_and_no_old_shard_is_read(server: str, raw: Path) -> None:
    client(server).put_object(Bucket="lab", Key="one.zarr/a/c/0/0/0", Body=b"damaged")
    block = Box((0, 0, 0), (24, 24, 24))
    with Proxy(server, lambda *_: None) as proxy, asking(proxy.address):
        group = zarr.open_group(open_store("s3://lab/one.zarr", "output.path", read_only=False), mode="a")
        array = create_array(group, "a", shape=(48, 24, 24), dtype="uint64", shard_shape=(24, 24, 24),
                             chunk_shape=(24, 24, 24), attributes={})  # fmt: skip
        client(server).put_object(Bucket="lab", Key="one.zarr/a/c/0/0/0", Body=b"damaged")
        for value in (1, 0):
            array.write_block(block, block, np.full(block.shape, value, np.uint64))
        assert array.shard_files(block) == []
    assert [(m, p) for m, p, _ in proxy.done if "/c/0/0/0" in p] == [
        ("PUT", "/lab/one.zarr/a/c/0/0/0"), ("DELETE", "/lab/one.zarr/a/c/0/0/0"),
    ]  # fmt: skip


def test_a_lost_array_is_made_again_and_nothing_else(server: str, finished: Path, reference: Path) -> None:
    for key in objects(server, "lab", "two.zarr/segmentation/"):
        client(server).delete_object(Bucket="lab", Key=f"two.zarr/segmentation/{key}")
    assert "lut-0 0 of 1, relabel 4 of 4" in said(finished)
    assert_same(server, "two.zarr", finished.parent / "state", reference)
    assert "relabel 0 of 4" in said(finished)


def test_chunks_without_metadata_are_not_dropped(server: str, finished: Path, reference: Path) -> None:
    s3, key = client(server), "two.zarr/segmentation/zarr.json"
    metadata = s3.get_object(Bucket="lab", Key=key)["Body"].read()
    s3.delete_object(Bucket="lab", Key=key)
    with pytest.raises(DamageError, match="holds chunks, but its metadata"):
        said(finished)
    s3.put_object(Bucket="lab", Key=key, Body=metadata)
    assert_same(server, "two.zarr", finished.parent / "state", reference)


def test_zarr_itself_reads_the_result(server: str, finished: Path, reference: Path) -> None:
    options = {"key": "test", "secret": SECRET, "endpoint_url": server}
    stored = zarr.open_array("s3://lab/two.zarr/segmentation", mode="r", storage_options=options)
    assert np.array_equal(stored[:], zarr.open_array(reference / "segmentation", mode="r")[:])


def test_what_needs_files_says_so(finished: Path) -> None:
    config = load_config(finished)
    with pytest.raises(InputError, match="copy the arrays to a disk"):
        verify(config)
    found = estimate(config)
    assert found.free_disk_bytes is None
    assert {array.bytes_from for array in found.arrays} == {"assumed, as in FIB-25"}


def test_throttled_and_cut_off(server: str, raw: Path, reference: Path, tmp_path: Path) -> None:
    """Every fourth request of a kind is refused, dropped, or carried out and not answered whole."""
    numbers = {method: itertools.count(1) for method in ("GET", "PUT", "POST", "HEAD", "DELETE")}

    def plan(_: int, method: str, path: str) -> str | None:
        turn, rest = divmod(next(numbers[method]), 4)
        return None if rest else FAULTS[turn % len(FAULTS)]

    with Proxy(server, plan) as proxy, asking(proxy.address):
        run(load_config(remote_config(tmp_path, "rough.zarr")))
    met = {(method, fault) for method, _, fault in proxy.done if fault}
    assert met >= {(method, fault) for method in ("GET", "PUT") for fault in FAULTS}
    assert_same(server, "rough.zarr", tmp_path / "state", reference)
    assert not [p for p in (tmp_path / "state" / "progress").glob("*/failed-*.jsonl") if p.stat().st_size]


def test_endless_throttling_fails_the_block_and_a_later_run_goes_on(
    server: str, raw: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(number: int, method: str, path: str) -> str | None:
        return "slow down" if method == "PUT" and "/segmentation/c/0/1/1" in path else None

    config = remote_config(tmp_path, "endless.zarr")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with Proxy(server, plan) as proxy, asking(proxy.address):
        done = fgnet("run", config, "--set", "schedule.retries=0", check=False)
    assert done.returncode == 1
    said_last = done.stderr.rpartition("\nfailed: ")[2]
    assert "relabel: 1 blocks are not done" in said_last and "Traceback" not in said_last
    assert "s3://lab/endless.zarr/segmentation/c/0/1/1 cannot be written: SlowDown" in said_last
    assert "relabel 1 of 4" in said(config)
    assert_same(server, "endless.zarr", tmp_path / "state", reference)


def test_killed_driver(server: str, raw: Path, reference: Path, tmp_path: Path) -> None:
    stage, count = "fragments", 2
    config, state = remote_config(tmp_path, "killed.zarr"), tmp_path / "state"
    command = [sys.executable, "-c", "from fgnet_pipeline.commands.cli import main; main()", "run", str(config)]
    process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + PATIENCE
    while len(records(state, stage)) < count and process.poll() is None:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = records(state, stage)
    run(load_config(config))
    after = [tuple(record["block"]) for record in records(state, stage)]
    assert all(after.count(tuple(record["block"])) == 1 for record in before)
    assert_same(server, "killed.zarr", state, reference)


def test_arrays_of_a_folder_can_move_to_a_bucket(server: str, raw: Path, reference: Path, tmp_path: Path) -> None:
    local = standard_config(tmp_path, str(raw))
    run(load_config(local, ["agglomerate.leaf_blocks=2"]))
    for name in ARRAYS:
        upload(server, tmp_path / "out.zarr" / name, f"moved.zarr/{name}")
    client(server).put_object(
        Bucket="lab", Key="moved.zarr/zarr.json", Body=(tmp_path / "out.zarr" / "zarr.json").read_bytes()
    )
    (tmp_path / "out.zarr").rename(tmp_path / "state")
    text = said(remote_config(tmp_path, "moved.zarr"))
    assert "predict 0 of 4, fragments 0 of 4" in text and "relabel 0 of 4" in text
    assert_same(server, "moved.zarr", tmp_path / "state", reference)


def test_lab_inputs_mask_and_scores(server: str, raw: Path, reference: Path, tmp_path: Path, command: Command) -> None:
    """affinities.path, fragments.path and volume.mask from the bucket; evaluate reads from it, too."""
    for name in ("affinities", "fragments"):
        upload(server, reference / name, f"given/{name}")
    mask = tmp_path / "mask.zarr"
    tissue = np.ones(SHAPE, np.uint8)
    tissue[:, :, 30:] = 0
    write_volume(mask, tissue)
    upload(server, mask, "given/mask")
    urls = {"volume.mask": "given/mask", "affinities.path": "given/affinities", "fragments.path": "given/fragments"}
    config = remote_config(tmp_path, "given.zarr")
    run(load_config(config, [f"{key}=s3://lab/{path}" for key, path in urls.items()]))
    local = standard_config(tmp_path / "..", str(raw))
    local_paths = {
        "volume.mask": mask, "affinities.path": reference / "affinities", "fragments.path": reference / "fragments",
        "output.path": tmp_path / "local.zarr",
    }  # fmt: skip
    run(load_config(local, [f"{key}={path}" for key, path in local_paths.items()]))
    assert objects(server, "lab", "given.zarr/segmentation/") == files_of(tmp_path / "local.zarr", "segmentation")
    code, remote, told = command("evaluate", "s3://lab/given.zarr/segmentation", "s3://lab/given/fragments", "--json")
    assert code == 0, told
    assert remote == command("evaluate", tmp_path / "local.zarr/segmentation", reference / "fragments", "--json")[1]


def test_names_and_units_of_axes_are_added_to_an_array(server: str, tmp_path: Path) -> None:
    output = Output("s3://lab/named.zarr", str(tmp_path / "state"))
    output.create()
    output.create_array("a", shape=(24, 24, 24), dtype="uint64", shard=(24, 24, 24), chunk=(24, 24, 24),
                        attributes=Frame((40.0, 4.0, 4.0), (0.0, 0.0, 0.0)).attributes())  # fmt: skip
    s3, place = client(server), {"Bucket": "lab", "Key": "named.zarr/a/zarr.json"}
    wanted = json.loads(s3.get_object(**place)["Body"].read())
    older = json.loads(json.dumps(wanted))
    older.pop("dimension_names")
    older["attributes"].pop("dimension_units")
    s3.put_object(**place, Body=json.dumps(older).encode())
    added, data = output.with_axes("a")
    assert added == ("dimension_names", "dimension_units")
    assert json.loads(s3.get_object(**place)["Body"].read()) == older
    output.replace_metadata("a", data)
    assert json.loads(s3.get_object(**place)["Body"].read()) == wanted
    assert output.with_axes("a")[0] == ()
