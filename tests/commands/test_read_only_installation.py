"""An installation that nobody may write to, with and without a folder of the user: kernels compile everywhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numba
import pytest
from pipeline_tools import CHECKOUT
from unprivileged import make_read_only, run_unprivileged

#: Compiles one kernel; prints where compiled code is kept, and the product of two numbers of 63 bits.
CODE = """
import json
import numba
from fgnet_pipeline.kernels import compiled
from fgnet_pipeline.kernels.agglomeration.exact_means import product
high, low = product(2**62 + 1, 2**62 + 3)
value = (int(high) << 64) + int(low)
print(json.dumps([compiled.__file__, compiled.is_kept(), numba.config.CACHE_DIR, str(value)]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only copy of the package."""
    folder = tmp_path_factory.mktemp("site")
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "fgnet_pipeline", folder / "fgnet_pipeline", ignore=leave_out)
    make_read_only(folder)
    return folder


def chosen(site: Path, **variables: str) -> tuple[bool, str]:
    """Whether compiled code is kept, and where, in an environment without a HOME; the kernel's result is checked."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "NUMBA_"))}
    environment |= {"PYTHONPATH": str(site), "HOME": "/proc/no-home", **variables}
    done = run_unprivileged(code=CODE, env=environment, cwd=site)
    assert done.returncode == 0, done.stderr
    file, kept, folder, value = json.loads(done.stdout)
    assert file.startswith(str(site)) and int(value) == (2**62 + 1) * (2**62 + 3)
    return kept, folder


def test_a_folder_of_the_user_is_taken(site: Path, tmp_path: Path) -> None:
    own, home, temporary = tmp_path / "own", tmp_path / "home", tmp_path / "tmp"
    for folder in (own, home, temporary):
        folder.mkdir()
    places = {"TMPDIR": str(temporary)}
    assert chosen(site, **places)[1].startswith(f"{temporary}/fgnet-cache-{os.geteuid()}/kernels-")
    places |= {"HOME": str(home)}
    assert chosen(site, **places)[1].startswith(f"{home}/.cache/fgnet/kernels-")
    places |= {"XDG_CACHE_HOME": str(tmp_path / "xdg")}
    kept, folder = chosen(site, **places)
    assert kept and folder.startswith(f"{tmp_path}/xdg/fgnet/kernels-") and list(Path(folder).rglob("*.nbc"))
    assert chosen(site, **places, NUMBA_CACHE_DIR=str(own)) == (True, str(own))
    assert chosen(site, **places, NUMBA_CACHE_DIR=str(site / "x"))[1] == folder, (
        "one that cannot be made is passed over"
    )


@pytest.mark.parametrize("taken", ["file", "link", "open to all"])
def test_no_folder_is_safe(taken: str, site: Path, tmp_path: Path) -> None:
    """Compiled code is loaded without checks, so a folder that others could have filled is not used."""
    place = tmp_path / f"fgnet-cache-{os.geteuid()}"
    if taken == "file":
        place.write_text("")
    elif taken == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.mkdir()
        place.chmod(0o777)
    assert chosen(site, TMPDIR=str(tmp_path)) == (False, "")


def test_an_installation_that_can_be_written_keeps_its_code_beside_the_source() -> None:
    from fgnet_pipeline.kernels import compiled

    if "NUMBA_CACHE_DIR" not in os.environ:
        assert compiled.is_kept() and not numba.config.CACHE_DIR


def test_a_command_runs(site: Path, tmp_path: Path, small_raw: str) -> None:
    from pipeline_tools import standard_config

    config = standard_config(tmp_path, small_raw)
    environment = {**os.environ, "PYTHONPATH": str(site), "HOME": "/proc/no-home", "TMPDIR": str(tmp_path)}
    done = run_unprivileged("run", config, "--dry-run", env=environment, cwd=site)
    assert done.returncode == 0 and "relabel" in done.stdout and done.stderr == "", done.stderr
