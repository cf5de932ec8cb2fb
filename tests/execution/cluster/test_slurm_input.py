"""What Slurm is told, and what is refused before anything is written: one sentence, exit code 2."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pipeline_tools import Refused, fgnet, standard_config
from slurm_cluster import Cluster

from fgnet_pipeline.core.cluster_config import ClusterTables, SlurmConfig, SlurmStage, minutes
from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.core.geometry import Box, indices
from fgnet_pipeline.core.plan import Plan
from fgnet_pipeline.execution.cluster.interface import Request
from fgnet_pipeline.execution.cluster.job_chain import shown
from fgnet_pipeline.execution.cluster.slurm import SlurmCluster
from fgnet_pipeline.execution.cluster.submission import Share, read_submission
from fgnet_pipeline.execution.cluster.submit import planned_chain
from fgnet_pipeline.stages.configuration import load_config

PATIENCE = 240.0


NOT_TAKEN = {
    "partition that does not exist": ("schedule.slurm.partition=gpuu", "partitions here are closed, work"),
    "partition of one stage": ("schedule.slurm.relabel.partition=nix", "schedule.slurm.relabel.partition"),
    "account without access": ("schedule.slurm.partition=closed|schedule.slurm.account=other", "schedule.slurm"),
    "more memory than a node has": ("schedule.slurm.memory=900G", "sbatch: "),
    "longer than the partition allows": ("schedule.slurm.time=2-0", "schedule.slurm.time"),
    "unknown feature": ("schedule.slurm.constraint=fast", "schedule.slurm.constraint = 'fast'"),
    "GPUs where there are none": ("schedule.slurm.gpus=a100:4", "schedule.slurm.gpus"),
}


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_what_slurm_would_not_take(
    case: str, small_raw: str, cluster: Cluster, tmp_path: Path, refused: Refused
) -> None:
    overrides, named = NOT_TAKEN[case]
    options = [part for o in overrides.split("|") for part in ("--set", o)]
    assert named in refused("submit", standard_config(tmp_path, small_raw, workers=2), *options)
    assert not (tmp_path / "out.zarr").exists()


KEYS = {
    "newline": ('schedule.slurm.partition="a\\nb"', "schedule.slurm.partition"),
    "newline in the prologue": ('schedule.slurm.prologue=["true\\ntouch /tmp/x"]', "schedule.slurm.prologue"),
    "an option of our own": ('schedule.slurm.options=["--array=0-9"]', "--array=0-9"),
    "an abbreviation of it": ('schedule.slurm.options=["--depend=1"]', "--depend=1"),
    "a word that is no option": ('schedule.slurm.options=["x.sh"]', "x.sh"),
    "mistyped key": ("schedule.slurm.partitoin=gpu", "schedule.slurm.partitoin"),
    "mistyped backend": ("schedule.backend=slrum", "schedule.backend"),
    "no host": ("schedule.backend=slurm|schedule.workers=1", "schedule.slurm.host"),
    "host of another machine": (
        "schedule.backend=slurm|schedule.workers=1|schedule.slurm.host=192.0.2.1",
        "schedule.slurm.host",
    ),
    "no processors": ("schedule.slurm.edges.cpus=0", "schedule.slurm.edges.cpus"),
    "time in words": ("schedule.slurm.time=1h", "schedule.slurm.time"),
    "memory in words": ("schedule.slurm.memory=lots", "schedule.slurm.memory"),
    "growing by nothing": ("schedule.slurm.grow=1", "schedule.slurm.grow"),
    "no workers": ("schedule.backend=array|schedule.workers=0", "schedule.workers"),
}


@pytest.mark.parametrize("case", KEYS)
def test_refused_keys(case: str, small_raw: str, tmp_path: Path, refused: Refused) -> None:
    overrides, named = KEYS[case]
    options = [part for o in overrides.split("|") for part in ("--set", o)]
    assert named in refused("run", standard_config(tmp_path, small_raw), *options)
    assert not (tmp_path / "out.zarr").exists()


def test_without_sbatch(small_raw: str, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    config = standard_config(tmp_path, small_raw, workers=2)
    assert "no sbatch on this machine" in refused("submit", config)
    assert "no sbatch on this machine" in refused("run", config, "--set", "schedule.backend=array")
    assert not (tmp_path / "out.zarr").exists()
    assert shown(planned_chain(load_config(config))), "the scripts can be looked at anywhere"


def test_a_worker_that_has_nobody_to_talk_to(small_raw: str, tmp_path: Path) -> None:
    config = load_config(standard_config(tmp_path, small_raw, workers=2))
    chain = planned_chain(config)
    (tmp_path / "progress").mkdir()
    path = chain.submission.write(tmp_path / "progress")
    done = fgnet("worker", path, "--task", "edges", "--share", 99, check=False)
    assert done.returncode == 2 and "--share" in done.stderr
    done = fgnet("worker", path, "--task", "edges", "--connect", tmp_path / "gone", check=False)
    assert done.returncode == 1 and "driver" in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "connect").write_text("hostname=127.0.0.1:port=9:task_id=edges:worker_id=0")
    done = fgnet("worker", path, "--task", "edges", "--connect", tmp_path / "connect", check=False)
    assert done.returncode == 1 and "127.0.0.1 port 9" in done.stderr and len(done.stderr.splitlines()) == 1


NASTY = 'it\'s "x" $(touch /tmp/pwned) `id` \\ ; & | > * é %j'


def test_nasty_values_arrive_as_they_are(cluster: Cluster, tmp_path: Path) -> None:
    """Options and words reach Slurm and the worker byte for byte, through a real job."""
    folder = tmp_path / "50%j 'logs'" / "logs"
    folder.mkdir(parents=True)
    asked = SlurmConfig(
        options=(f"--export=ALL,X={NASTY.replace(',', '')}",),
        prologue=("printf '%s\\n' \"$X\"",),
        command=("printf", "%s\\n", NASTY),
    )
    slurm = SlurmCluster(ClusterTables(slurm=asked))
    array = slurm.build(Request("edges", "nasty", 1, folder, ("last word",), "comment"))
    done = subprocess.run(
        [*slurm.command(array), "--wait"],
        input=array.script,
        text=True,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    job = done.stdout.strip()
    assert (folder / f"nasty-{job}_0.log").read_text().splitlines() == [NASTY, NASTY, "last word"]


def test_script_is_shell_that_quotes_every_word() -> None:
    slurm = SlurmCluster(ClusterTables(slurm=SlurmConfig(command=("run it", "a'b"))))
    array = slurm.build(Request("edges", "fgnet-edges", 3, Path("/out/logs"), ("--x", "$HOME"), "c"))
    last = array.script.splitlines()[-1]
    assert shlex.split(last) == ["exec", "run it", "a'b", "--x", "$HOME"]
    assert "--array=0-2" in array.arguments and array.script.startswith("#!/bin/bash\n")


@pytest.mark.parametrize(
    "text, expected",
    [("90", 90), ("1:30", 1.5), ("2:00:00", 120), ("1-0", 1440), ("1-2:30", 1590), ("1-2:30:30", 1590.5)],
)
def test_times(text: str, expected: float) -> None:
    assert minutes(text) == expected
    more = SlurmStage(time=text, memory="3G", grow=2.0).grown()
    assert minutes(more.time or "") == np.ceil(2 * expected) and more.memory == "6144M"


def test_stage_tables_override_key_by_key(small_raw: str, tmp_path: Path) -> None:
    config = standard_config(tmp_path, small_raw)
    config.write_text(
        config.read_text() + '[schedule.slurm]\npartition = "cpu"\ntime = 60\noptions = ["--exclusive"]\n'
        '[schedule.slurm.predict]\npartition = "gpu"\ngpus = 1\noptions = []\n'
    )
    slurm = load_config(config).schedule.slurm
    predict, edges = slurm.of("predict"), slurm.of("edges")
    assert (predict.partition, predict.time, predict.gpus, predict.options) == ("gpu", "60", "1", ())
    assert (edges.partition, edges.time, edges.gpus, edges.options) == ("cpu", "60", None, ("--exclusive",))


def test_shares_are_contiguous_disjoint_and_even() -> None:
    rng = np.random.default_rng(0)
    blocks = Box((2, 0, 5), (9, 6, 13))
    todo = rng.random(blocks.shape) < 0.3
    share = Share.read(Share(blocks, todo, 7).document())
    parts = [share.of(i) for i in range(7)]
    expected = [b for b in indices(blocks) if todo[tuple(np.subtract(b, blocks.begin))]]
    assert [block for part in parts for block in part] == expected
    assert {len(part) for part in parts} <= {len(expected) // 7, len(expected) // 7 + 1}


def test_a_submission_is_the_plan_that_was_made(small_raw: str, tmp_path: Path) -> None:
    chain = planned_chain(load_config(standard_config(tmp_path, small_raw, workers=2)))
    (tmp_path / "progress").mkdir()
    found = read_submission(chain.submission.write(tmp_path / "progress"))
    assert found.spec == chain.submission.spec
    plans = [Plan(s.spec.roi, s.spec.tasks) for s in (found, chain.submission)]
    for name in plans[0].tasks:
        assert np.array_equal(plans[0].all_keys(name), plans[1].all_keys(name))
        assert found.work[name].of(0) == chain.submission.work[name].of(0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}'])
def test_a_torn_submission_is_damage(text: str, tmp_path: Path) -> None:
    path = tmp_path / "submission-1.json"
    path.write_text(text)
    with pytest.raises(DamageError, match=r"submission-1\.json .*fgnet submit again"):
        read_submission(path)


def test_the_slurm_tables_change_no_fingerprint(small_raw: str, tmp_path: Path) -> None:
    path = standard_config(tmp_path, small_raw, workers=2)
    plain = planned_chain(load_config(path)).submission.spec
    other = load_config(path, ["schedule.backend=array", "schedule.slurm.time=9", "schedule.slurm.edges.cpus=3"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert planned_chain(other).submission.spec.tasks == plain.tasks


def test_large_submissions_stay_small() -> None:
    """10^7 blocks, half of them to do at random: the worst case of a bit a block."""
    blocks = Box((0, 0, 0), (250, 200, 200))
    todo = np.random.default_rng(0).random(blocks.shape) < 0.5
    assert len(Share(blocks, todo, 100).document().todo) < 2_000_000


def test_every_second_array_asks_for_more(small_raw: str, tmp_path: Path) -> None:
    config = load_config(
        standard_config(tmp_path, small_raw, workers=2), ["schedule.slurm.grow=2", "schedule.slurm.memory=4G"]
    )
    arrays = shown(planned_chain(config))
    second = arrays[1]
    assert "--mem=8192M" in second.command and "--dependency=afternotok:PREDICT" in second.command
    assert "--dependency=afterok:PREDICT?afterok:PREDICT-SECOND" in arrays[2].command
    assert all("--kill-on-invalid-dep=yes" in array.command for array in arrays[1:])
