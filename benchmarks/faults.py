"""Kill and damage real runs at random: each must end as an undisturbed run does, or name what is wrong.

    python benchmarks/faults.py --kills 200 --seed 0 --folder /dev/shm/faults

A *history* is one output. `fgnet run` is started; its workers and itself are killed (SIGKILL) at random moments, and it
is started again, until it ends by itself. Then the output is compared, byte for byte, with that of a run that nobody
disturbed. Histories go on until there were --kills kills. Then come the kinds of damage; each is repaired by
`fgnet verify --repair` and `fgnet run` and compared as well. Full and read-only disks need a tmpfs, so root (Linux).

The table has one row per kind of trial: how many there were, how many ended byte-identical, how many stopped with an
error that names the damage, and how many failed. The exit code is 1 if one failed; a run that hangs has failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zarr
from scipy import ndimage

from fgnet_pipeline.core.errors import PipelineError
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.verification.verify import verify

COMMAND = [sys.executable, "-m", "fgnet_pipeline"]
SHAPE, BLOCK = (48, 48, 64), 16
#: After this many seconds a run counts as hanging.
LIMIT = 600.0
#: One kill in so many is of the driver, the others of a worker.
DRIVER_SHARE = 8
#: Kills in one history. Most of the time of so small a run is its start, and a driver's kill costs one.
KILLS_IN_A_HISTORY = 40
COMPARED = ("affinities", "fragments", "segmentation", "tables")


class TrialError(Exception):
    """A trial that did not end as it must."""


@dataclass
class Tally:
    """What was done and how it ended: (what) -> number of trials and of those that ended well."""

    trials: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def table(self) -> str:
        lines = ["| what | trials | byte-identical | stopped, naming the damage | failed |", "|---|---|---|---|---|"]
        for what, n in self.trials.items():
            failed = n - self.equal[what] - self.named[what]
            lines.append(f"| {what} | {n} | {self.equal[what]} | {self.named[what]} | {failed} |")
        total = self.trials.total(), self.equal.total(), self.named.total()
        lines.append(f"| all | {total[0]} | {total[1]} | {total[2]} | {total[0] - total[1] - total[2]} |")
        return "\n".join(lines)


# The runs


def write_raw(folder: Path) -> Path:
    """Bright cells of a Voronoi diagram with dark membranes, uint8."""
    rng = np.random.default_rng(0)
    centres = rng.random((25, 3)) * SHAPE
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    near = np.sort(np.linalg.norm(grid[..., None, :] - centres, axis=-1), axis=-1)
    noise = ndimage.gaussian_filter(rng.normal(0, 40, SHAPE), 1.0)
    data = np.clip(60 * (near[..., 1] - near[..., 0]) + noise, 0, 250).astype(np.uint8)
    array = zarr.create_array(str(folder / "raw.zarr"), shape=SHAPE, dtype="uint8", chunks=SHAPE)
    array[:] = data
    array.attrs.update({"voxel_size": [10, 10, 10], "offset": [0, 0, 0], "axis_names": ["z", "y", "x"]})
    return folder / "raw.zarr"


def write_config(path: Path, raw: Path, out: Path) -> Path:
    """A configuration of small blocks and the identity network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'[volume]\npath = "{raw}"\n[output]\npath = "{out}"\n[model]\ncheckpoint = "identity"\n'
        f"[schedule]\nworkers = 2\nblock_shape = [{BLOCK}, {BLOCK}, {BLOCK}]\n[agglomerate]\nleaf_blocks = 2\n"
    )
    return path


def fgnet(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; one that hangs is a failed trial."""
    try:
        return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise TrialError(f"fgnet {arguments[0]} hangs") from error


def finish(config: Path, *more: object) -> None:
    """Run to the end; it must."""
    done = fgnet("run", config, *more)
    if done.returncode != 0:
        raise TrialError(f"fgnet run ended with {done.returncode}: {done.stderr[-600:]}")


def compare(reference: Path, out: Path) -> None:
    """Arrays and tables of two outputs are equal, byte for byte; unfinished files of killed writers do not count."""
    for name in COMPARED:
        first, second = _files(reference / name), _files(out / name)
        different = sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
        if different:
            raise TrialError(f"{name} differs from the undisturbed run in {len(different)} files, e.g. {different[0]}")


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.suffix != ".partial"}


# Kills


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
        for pid in _descendants(driver.pid):
            log = next((self.out / "logs").glob(f"*-{pid}.log"), None)
            if log is not None:
                found[pid] = log.name.split("-")[0]
        return found

    def _stage_at_work(self, driver: subprocess.Popen[bytes]) -> str:
        stages = sorted(self._workers(driver).values())
        return stages[0] if stages else "starting"


def _descendants(pid: int) -> list[int]:
    """The processes below `pid`."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [p for child in map(int, children) for p in (child, *_descendants(child))]


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


# Damage


def a_file(out: Path, pattern: str, rng: random.Random) -> Path:
    return rng.choice(sorted(path for path in out.glob(pattern) if path.is_file()))


def torn_shard(out: Path, rng: random.Random) -> None:
    path = a_file(out, f"{rng.choice(COMPARED[:3])}/c/**/*", rng)
    os.truncate(path, rng.randrange(path.stat().st_size))


def lost_shard(out: Path, rng: random.Random) -> None:
    a_file(out, f"{rng.choice(COMPARED[:3])}/c/**/*", rng).unlink()


def flipped_byte(out: Path, rng: random.Random) -> None:
    _flip(a_file(out, f"{rng.choice(COMPARED[:3])}/c/**/*", rng), rng)


def flipped_byte_in_table(out: Path, rng: random.Random) -> None:
    _flip(a_file(out, "tables/**/*.parquet", rng), rng)


def _flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def truncated_table(out: Path, rng: random.Random) -> None:
    path = a_file(out, "tables/**/*.parquet", rng)
    os.truncate(path, rng.randrange(path.stat().st_size))


def torn_record(out: Path, rng: random.Random) -> None:
    path = a_file(out, "progress/*/done-*.jsonl", rng)
    os.truncate(path, path.stat().st_size - rng.randrange(1, 200))


def clock_jump(out: Path, rng: random.Random) -> None:
    """Records of a random half of the workers say that they finished in another year."""
    for path in sorted(out.glob("progress/*/done-*.jsonl")):
        if rng.random() < 0.5:
            records = [json.loads(line) for line in path.read_text().splitlines()]
            shift = rng.choice([-1, 1]) * 3.2e7
            lines = [json.dumps({**r, "finished": r["finished"] + shift}) for r in records]
            path.write_text("".join(f"{line}\n" for line in lines))


def driver_lost(out: Path, rng: random.Random) -> None:
    (out / "progress" / "driver.json").unlink()


def metadata_torn(out: Path, rng: random.Random) -> None:
    path = out / rng.choice(COMPARED[:3]) / "zarr.json"
    os.truncate(path, rng.randrange(path.stat().st_size))


DAMAGE: dict[str, Callable[[Path, random.Random], None]] = {
    "torn shard": torn_shard,
    "lost shard": lost_shard,
    "flipped bit in a shard": flipped_byte,
    "flipped bit in a table": flipped_byte_in_table,
    "truncated table": truncated_table,
    "torn record line": torn_record,
    "array metadata torn": metadata_torn,
    "clock jump, then another threshold and back": clock_jump,
    "driver.json lost": driver_lost,
}
#: Which of them leave results that are right as they are, so that verify must find nothing.
HARMLESS = (clock_jump, driver_lost)


def damaged(what: str, number: int, seed: int, folder: Path, reference: Path, tally: Tally) -> None:
    """Damage a finished output, repair it, go on, and compare."""
    rng = random.Random(f"{seed} {what} {number}")
    out = folder / "damaged" / "out.zarr"
    shutil.rmtree(out.parent, ignore_errors=True)
    shutil.copytree(reference, out)
    config = write_config(out.parent / "config.toml", folder / "raw.zarr", out)
    tally.trials[what] += 1
    try:
        DAMAGE[what](out, rng)
        if DAMAGE[what] is clock_jump:
            run(load_config(config, ["schedule.workers=0", "agglomerate.threshold=0.9"]))
        found = verify(load_config(config, ["schedule.workers=0"]), repair=True)
        if found.ok != (DAMAGE[what] in HARMLESS):
            raise TrialError(f"verify found {found.damage or 'nothing'}")
        run(load_config(config, ["schedule.workers=0"]))
        compare(reference, out)
        tally.equal[what] += 1
    except (TrialError, PipelineError) as error:
        tally.failures.append(f"{what} {number}: {error}")


# Disks


def full_disk(number: int, seed: int, folder: Path, reference: Path, tally: Tally) -> None:
    """The disk is full at a random point of the run; with more room it goes on."""
    what = "full disk, then more room"
    size = sum(p.stat().st_size for p in reference.rglob("*") if p.is_file())
    room = int(size * random.Random(f"{seed} full {number}").uniform(0.05, 0.9)) + (1 << 18)
    place = folder / "disk"
    with Disk(place, f"size={room}") as disk:
        config = write_config(folder / "disk.toml", folder / "raw.zarr", place / "out.zarr")
        tally.trials[what] += 1
        try:
            done = fgnet("run", config)
            if (done.returncode != 0 and "space" not in done.stderr) or "Traceback" in done.stderr:
                raise TrialError(f"it does not say that the disk is full: {done.stderr[-600:]}")
            if done.returncode not in (0, 1, 2):
                raise TrialError(f"exit code {done.returncode}")
            disk.remount(f"size={64 << 20}")
            finish(config)
            compare(reference, place / "out.zarr")
            tally.equal[what] += 1
        except TrialError as error:
            tally.failures.append(f"{what} {number}: {error}")


def read_only_disk(folder: Path, reference: Path, tally: Tally) -> None:
    """Nothing can be written: refused before the first block, and then it goes on."""
    what = "read-only disk, then writable"
    place = folder / "disk"
    with Disk(place, f"size={64 << 20}") as disk:
        config = write_config(folder / "disk.toml", folder / "raw.zarr", place / "out.zarr")
        shutil.copytree(reference, place / "out.zarr")
        for path in place.glob("out.zarr/progress/relabel/done-*"):
            path.unlink()
        disk.remount("ro")
        tally.trials[what] += 1
        try:
            done = fgnet("run", config)
            if done.returncode != 2 or "Traceback" in done.stderr:
                raise TrialError(f"exit code {done.returncode}: {done.stderr[-600:]}")
            disk.remount("rw")
            finish(config)
            compare(reference, place / "out.zarr")
            tally.equal[what] += 1
        except TrialError as error:
            tally.failures.append(f"{what}: {error}")


class Disk:
    """A small file system in memory, mounted for the block of a `with`."""

    def __init__(self, place: Path, options: str) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, capture_output=True)

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.place], check=True, capture_output=True)

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", self.place], check=True, capture_output=True)


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a tmpfs."""
    try:
        with Disk(folder / "probe", "size=64k"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


# The campaign


def campaign(folder: Path, kills: int, seed: int, repeats: int, disks: int, say: Callable[[str], None]) -> Tally:
    """Everything, with `repeats` trials of each damage and `disks` full disks."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_raw(folder)
    reference, tally = folder / "undisturbed" / "out.zarr", Tally()
    finish(write_config(folder / "undisturbed" / "config.toml", folder / "raw.zarr", reference))
    for what in DAMAGE:
        for number in range(repeats):
            damaged(what, number, seed, folder, reference, tally)
        say(f"{what}: {tally.equal[what]} of {tally.trials[what]}")
    if disks and can_mount(folder):
        for number in range(disks):
            full_disk(number, seed, folder, reference, tally)
        read_only_disk(folder, reference, tally)
        say("disks done")
    elif disks:
        say("full and read-only disks left out: this process may not mount a tmpfs")
    done = number = 0
    while done < kills:
        done += history(number, seed, min(KILLS_IN_A_HISTORY, kills - done), folder, reference, tally)
        number += 1
        say(f"history {number}: {done} of {kills} kills, {len(tally.failures)} failures")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5, help="trials of each kind of damage")
    parser.add_argument("--disks", type=int, default=5, help="full disks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="emptied first")
    arguments = parser.parse_args()
    started = time.monotonic()
    tally = campaign(
        arguments.folder, arguments.kills, arguments.seed, arguments.repeats, arguments.disks,
        lambda sentence: print(f"{time.monotonic() - started:7.0f} s  {sentence}", file=sys.stderr, flush=True),
    )  # fmt: skip
    print(tally.table())
    for failure in tally.failures:
        print(f"FAILED {failure}")
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
