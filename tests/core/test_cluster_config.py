"""Sizes of memory as people write them, and options of sbatch that would undo what fgnet sets."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from fgnet_pipeline.core.cluster_config import ClusterTables, SlurmConfig
from fgnet_pipeline.core.config_file import input_error
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.memory_size import megabytes
from fgnet_pipeline.execution.cluster.slurm import SlurmCluster

#: Value of schedule.slurm.memory -> what sbatch gets, and megabytes of 2^20 bytes.
MEMORY = {
    "16G": ("16G", 16384), "16GB": ("16G", 16384), "16 GiB": ("16G", 16384), "16g": ("16G", 16384),
    "16384M": ("16384M", 16384), "16384 mb": ("16384M", 16384), "16384": ("16384", 16384), 16384: ("16384", 16384),
    "1.5G": ("1536M", 1536), ".5 TB": ("524288M", 524288), "1T": ("1T", 2**20), "2 gigabytes": ("2G", 2048),
    "1048576K": ("1048576K", 1024), "0.3M": ("1M", 1),
}  # fmt: skip


@pytest.mark.parametrize("value", MEMORY)
def test_memory(value: str | int) -> None:
    slurm = SlurmConfig.model_validate_json(json.dumps({"memory": value, "edges": {"memory": value}}))
    text, size = MEMORY[value]
    assert (slurm.memory, slurm.of("edges").memory) == (text, text)
    assert megabytes(text) == size
    assert SlurmCluster(ClusterTables(slurm=slurm)).memory_limit("edges") == size * 2**20


@pytest.mark.parametrize(
    "value", ["", "0", "0G", "lots", "16X", "16GBs", "-4G", "16 G B", "16,5G", "1e3", "G", 0, -1, 1.5]
)
def test_what_is_no_memory(value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        SlurmConfig.model_validate_json(json.dumps({"memory": value}))
    sentence = str(input_error(refused.value, SlurmConfig))
    assert "memory" in sentence and ("e.g. 16G" in sentence or "string" in sentence)


@pytest.mark.parametrize("value", ["1h", "1:2:3:4", "", "2 days", "-5", "1-", "8:00:00\n"])
def test_what_is_no_time(value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SlurmConfig(time=value)
    assert "hours:minutes:seconds" in str(input_error(refused.value, SlurmConfig))


OWN = [
    "--array=0-3", "--arr=0-3", "--a=1", "-a0-3", "-a", "-o/x", "-e/x", "-i/x", "-Jname", "-dsingleton", "-D/x",
    "-bnow", "-H", "-Ha0-3", "-W", "-h", "-V", "-u", "-Qa0-3", "-vvJx", "-sJx", "-OH", "--help", "--usage", "--version",
    "--wait", "--wrap=x", "--sig=USR1", "--requeue", "--no-requeue", "--array 0-3", " --array=0-3", "--array\t0-3",
    "-p=gpu", "-p gpu", "gpu", "--", "-", "—array=0-3", "--Array=0-3", "-5", "--=x", "",
]  # fmt: skip


@pytest.mark.parametrize("option", OWN)
def test_options_that_are_refused(option: str) -> None:
    with pytest.raises((InputError, ValidationError)):
        SlurmConfig(options=(option,))


TAKEN = [
    "--exclusive", "--partition=gpu", "-pgpu", "-p", "-N1", "-n4", "-t60", "--nodes=1", "--export=ALL,X=a b",
    "--hint=x", "--wait-all-nodes=1", "--exclude=n1", "-xn1", "--mem-per-cpu=2G", "-Cfast", "-v", "-Q",
    "--reservation=x",
]  # fmt: skip


@pytest.mark.parametrize("option", TAKEN)
def test_options_that_are_taken(option: str) -> None:
    assert SlurmConfig(options=(option,)).options == (option,)
