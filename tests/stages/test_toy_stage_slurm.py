"""A stage of another distribution in job arrays of a real Slurm: submitted, requeued, watched, finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster_tools import wait_for
from pipeline_tools import Command, assert_same_output, records, state_of
from slurm_cluster import Cluster
from toy_stage import BLOCKS, assert_outlines, write_after_prediction

POLL = ("--set", "schedule.slurm.poll_seconds=0.5")


def test_a_requeued_element_ends_in_the_bytes_of_a_local_run(
    cluster: Cluster, affinities: Path, tmp_path: Path, toy_here: None, command: Command
) -> None:
    fewer = {f"{stage}.workers": 1 for stage in ("fragments", "edges", "agglomerate", "relabel")}
    config = write_after_prediction(tmp_path, affinities, backend="array", workers=2, **fewer)
    out = tmp_path / "out.zarr"
    local = ("--set", "schedule.backend=local", "--set", f"output.path={tmp_path / 'local.zarr'}", "--workers", 0)

    def status() -> dict[str, Any]:
        return json.loads(command("status", config, *POLL, "--json")[1])

    def states() -> dict[str, dict[str, int]]:
        return {job["task"]: job["states"] for job in status()["jobs"]}

    code, sent, text = command("submit", config, *POLL, "--json")
    assert code == 0, text
    job = {job["task"]: job["job"] for job in json.loads(sent)["jobs"]}
    assert list(job) == ["fragments", "edges", "agglomerate-0", "lut-0", "relabel", "outlines", "finish"]
    cluster.command("scontrol", "hold", job["outlines"])
    assert command("run", config, *local)[0] == 0
    wait_for(lambda: states()["relabel"] == {"COMPLETED": 1}, "the stages before it")
    assert states()["outlines"] == {"PENDING": 2}
    assert [stage["left"] for stage in status()["stages"] if stage["stage"] == "outlines"] == [BLOCKS]

    # Slurm may fail an element that is requeued while it is launched; one that has ended runs a second time.
    element = f"{job['outlines']}_0"
    cluster.command("scontrol", "hold", job["finish"])
    cluster.command("scontrol", "release", job["outlines"])
    wait_for(lambda: states()["outlines"] == {"COMPLETED": 2}, "both elements to end")
    cluster.command("scontrol", "requeue", element)
    wait_for(lambda: cluster.state(element) == "PENDING", "the element to be queued again")
    # Slurm starts it two minutes later. At once is too early: the node refuses a job that ended in the same second.
    cluster.command("scontrol", "update", f"JobId={element}", "StartTime=now+3")
    cluster.wait_for_state(element, "COMPLETED")
    log = state_of(out) / "logs" / f"fgnet-outlines-{job['outlines']}_0.log"
    assert log.read_text().count("outlines: computed") == 2
    assert "outlines: computed 0 blocks" in log.read_text()
    cluster.command("scontrol", "release", job["finish"])
    wait_for(lambda: not status()["running"], "the jobs to end")
    assert (states()["outlines"], states()["finish"]) == ({"COMPLETED": 2}, {"COMPLETED": 1})
    assert sum(stage["left"] for stage in status()["stages"]) == 0

    blocks = [tuple(record["block"]) for record in records(out, "outlines")]
    assert len(blocks) == len(set(blocks)) == BLOCKS
    assert_outlines(out)
    assert_same_output(tmp_path / "local.zarr", out, ("fragments", "segmentation", "outlines", "tables"))
    assert json.loads(command("submit", config, *POLL, "--json")[1])["jobs"] == []
