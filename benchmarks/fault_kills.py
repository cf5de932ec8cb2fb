"""Histories of faults.py: one output each, whose driver and workers are killed until it is finished.

Imported by faults.py.

It measures whether the output of a history equals that of an undisturbed run, byte for byte. The tally counts each kill
as a trial, by what was killed (driver or worker) and in which stage.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fault_runs import COMMAND, LIMIT, Tally, TrialError, compare, finish, write_config

from fgnet_pipeline.store.layout import state_of

#: One kill in so many is of the driver, the others of a worker.
DRIVER_SHARE = 8
#: Kills in one history. Most of the time of so small a run is its start, and a driver's kill costs one.
KILLS_IN_A_HISTORY = 40


@dataclass
class Killer:
    """Kills processes of one driver at random moments and notes what each was."""

    rng: random.Random
    out: Path
    kills: Counter[str]
    left: int

    def disturb(self, driver: subprocess.Popen[bytes]) -> None:
        """Until the driver ends, by itself or by us, or nothing is left to kill."""
        give_up = time.monotonic() + LIMIT
        while self.left and driver.poll() is None:
            self._wait_for_work(driver, give_up)
            time.sleep(self.rng.expovariate(1 / 0.25))
            if driver.poll() is not None:
                return
            if self.rng.randrange(DRIVER_SHARE) == 0:
                self._note("driver", self._stage_at_work(driver))
                driver.send_signal(signal.SIGKILL)
                driver.wait()
                return
            self._kill_worker(driver)

    def _kill_worker(self, driver: subprocess.Popen[bytes]) -> None:
        workers = self._workers(driver)
        if workers:
            pid = self.rng.choice(sorted(workers))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            self._note("worker", workers[pid])

    def _note(self, what: str, stage: str) -> None:
        self.kills[f"SIGKILL of a {what}, {stage}"] += 1
        self.left -= 1

    def _wait_for_work(self, driver: subprocess.Popen[bytes], give_up: float) -> None:
        """Most of the time of so small a run is starting up, in which there is little to break."""
        while driver.poll() is None and not self._workers(driver):
            if time.monotonic() > give_up:
                driver.kill()
                raise TrialError("no worker in time")
            time.sleep(0.02)

    def _workers(self, driver: subprocess.Popen[bytes]) -> dict[int, str]:
        """Living workers of `driver`: process -> stage, which the name of its log tells."""
        found = {}
        for pid in descendants(driver.pid):
            log = next((state_of(self.out) / "logs").glob(f"*-{pid}.log"), None)
            if log is not None:
                found[pid] = log.name.split("-")[0]
        return found

    def _stage_at_work(self, driver: subprocess.Popen[bytes]) -> str:
        stages = sorted(self._workers(driver).values())
        return stages[0] if stages else "starting"


def descendants(pid: int) -> list[int]:
    """The processes below `pid`."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [p for child in map(int, children) for p in (child, *descendants(child))]


def history(number: int, seed: int, kills: int, folder: Path, reference: Path, tally: Tally) -> int:
    """One output that is disturbed `kills` times; returns how many kills there were."""
    out = folder / f"history-{number}" / "out.zarr"
    config = write_config(out.parent / "config.toml", folder / "raw.zarr", out)
    killer = Killer(random.Random(f"{seed} {number}"), out, Counter(), kills)
    try:
        while killer.left:
            driver = subprocess.Popen(
                [*COMMAND, "run", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            killer.disturb(driver)
            if killer.left and driver.wait(LIMIT) == 0:
                break  # it ended before there were as many kills
            if driver.poll() is None and driver.wait(LIMIT) not in (0, 1):
                raise TrialError(f"fgnet run ended with {driver.returncode}")
        finish(config)
        compare(reference, out)
        tally.equal += killer.kills
    except (TrialError, subprocess.TimeoutExpired) as error:
        tally.failures.append(f"history {number} ({dict(killer.kills)}): {error}")
        return killer.kills.total()
    finally:
        tally.trials += killer.kills
    shutil.rmtree(out.parent)
    return killer.kills.total()
