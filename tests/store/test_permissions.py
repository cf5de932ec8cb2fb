"""An output that belongs to somebody else: it works if the modes allow it, or one sentence names the file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from unprivileged import run_unprivileged

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.layout import state_of, write_metadata
from fgnet_pipeline.store.output import Output

#: The metadata of the group of an output, by its format.
GROUP = '{"attributes": {"fgnet_format": %d}, "zarr_format": 3, "node_type": "group"}'
#: Where an output keeps what is no array, by its format.
STATE = {1: ".", 2: "fgnet/state"}
#: What this user may not write to.
WRITE = [
    ".",
    "progress/lock",
    "progress",
    "progress/edges",
    "tables",
    "tables/edges",
    "fragments",
    "fragments/c",
    "logs",
]
#: What this user may not read or list.
READ = [".", "progress", "progress/edges", "progress/driver.json", "progress/edges/fingerprint.json",
        "progress/edges/done-x.jsonl", "progress/lock"]  # fmt: skip
#: Does to an output what a run does before the first block, or what a status does; prints one sentence per name.
CODE = """
import json, os, sys
from pathlib import Path
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.geometry import Box
from fgnet_pipeline.store.driver_lock import DriverLock, is_held
from fgnet_pipeline.store.output import Output

def begin_run(output):
    output.create()
    with DriverLock(output.progress.root / "lock"):
        pass

def look(output):
    output.check(())
    is_held(output.progress.root / "lock")
    output.progress.driver(), output.progress.fingerprint("edges")
    list(output.progress.records("edges")), output.progress.latest("edges", Box((0, 0, 0), (1, 1, 1)))

root, mode, act = Path(sys.argv[1]), int(sys.argv[2]), globals()[sys.argv[3]]
found = {}
for name in sys.argv[4:]:
    former = (root / name).stat().st_mode & 0o777
    (root / name).chmod(former & mode)
    try:
        act(Output(str(root)))
        found[name] = "nothing"
    except InputError as error:
        found[name] = str(error)
    (root / name).chmod(former)
print(json.dumps(found))
"""


@pytest.fixture(params=STATE)
def output(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of an output with the files that these tests are about, once per format."""
    root = tmp_path / "out.zarr"
    state = root / STATE[request.param]
    for folder in ("progress/edges", "tables/edges", "logs"):
        (state / folder).mkdir(parents=True)
    (root / "fragments" / "c").mkdir(parents=True)
    (root / "zarr.json").write_text(GROUP % request.param)
    (root / "fragments" / "zarr.json").write_text("{}")
    for name in ("progress/driver.json", "progress/edges/fingerprint.json"):
        (state / name).write_text('{"run": 1}')
    for name in ("progress/edges/done-x.jsonl", "progress/lock"):
        (state / name).write_text("")
    write_metadata(root)
    return root


@pytest.mark.parametrize("act, names, mode", [("begin_run", WRITE, 0o555), ("look", READ, 0o333)])
def test_what_this_user_may_not_use_is_named(act: str, names: list[str], mode: int, output: Path) -> None:
    state = state_of(output).relative_to(output)
    names = [name if name.startswith((".", "fragments")) else str(state / name) for name in names]
    names += [] if state == Path() else ["fgnet/state"]
    done = run_unprivileged(output, mode, act, *names, code=CODE)
    assert done.returncode == 0, done.stderr
    for name, sentence in json.loads(done.stdout).items():
        assert sentence.startswith(f"output.path = '{output / name}': expected "), (name, sentence)
        assert "chmod" in sentence


IN_STATE = [(version, f"{STATE[version]}/{name}") for version in STATE for name in ("logs", "tables", "progress")]


@pytest.mark.parametrize("version, name", [*IN_STATE, (2, "fgnet"), (2, "fgnet/state")])
def test_a_file_in_place_of_a_folder_is_refused(version: int, name: str, tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(GROUP % version)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=f"{Path(name)}'"):
        Output(str(tmp_path)).create()


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_umask_decides_who_may_write(umask: int, tmp_path: Path) -> None:

    from fgnet_pipeline.store.driver_lock import DriverLock
    from fgnet_pipeline.store.records.writer import append_lines

    former = os.umask(umask)
    try:
        with DriverLock(tmp_path / "progress" / "lock"):
            append_lines(tmp_path / "progress" / "done-x.jsonl", ["{}"])
    finally:
        os.umask(former)
    for path in (tmp_path / "progress").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
