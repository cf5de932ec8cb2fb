"""Damage, full disks and read-only disks of faults.py.

Imported by faults.py.

It measures whether `fgnet verify --repair` and a run after it end in the bytes of an undisturbed run, for each kind of
damage, and whether a run on a full or read-only disk stops with a sentence and goes on later. The tally counts each
damaged output and each disk as a trial.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from fault_runs import COMPARED, Tally, TrialError, compare, fgnet, finish, write_config

from fgnet_pipeline.core.errors import PipelineError
from fgnet_pipeline.execution.run import run
from fgnet_pipeline.stages.configuration import load_config
from fgnet_pipeline.store.layout import state_of
from fgnet_pipeline.verification.verify import verify


def a_file(out: Path, pattern: str, rng: random.Random) -> Path:
    """A random file of those that a pattern finds."""
    return rng.choice(sorted(path for path in out.glob(pattern) if path.is_file()))


def torn_shard(out: Path, rng: random.Random) -> None:
    path = a_file(out, f"{rng.choice(COMPARED[:3])}/c/**/*", rng)
    os.truncate(path, rng.randrange(path.stat().st_size))


def lost_shard(out: Path, rng: random.Random) -> None:
    a_file(out, f"{rng.choice(COMPARED[:3])}/c/**/*", rng).unlink()


def flipped_byte(out: Path, rng: random.Random) -> None:
    flip(a_file(out, f"{rng.choice(COMPARED[:3])}/c/**/*", rng), rng)


def flipped_byte_in_table(out: Path, rng: random.Random) -> None:
    flip(a_file(state_of(out), "tables/**/*.parquet", rng), rng)


def flip(path: Path, rng: random.Random) -> None:
    """Invert one random bit of a file."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def truncated_table(out: Path, rng: random.Random) -> None:
    path = a_file(state_of(out), "tables/**/*.parquet", rng)
    os.truncate(path, rng.randrange(path.stat().st_size))


def torn_record(out: Path, rng: random.Random) -> None:
    path = a_file(state_of(out), "progress/*/done-*.jsonl", rng)
    os.truncate(path, path.stat().st_size - rng.randrange(1, 200))


def clock_jump(out: Path, rng: random.Random) -> None:
    """Records of a random half of the workers say that they finished in another year."""
    for path in sorted(state_of(out).glob("progress/*/done-*.jsonl")):
        if rng.random() < 0.5:
            records = [json.loads(line) for line in path.read_text().splitlines()]
            shift = rng.choice([-1, 1]) * 3.2e7
            lines = [json.dumps({**r, "finished": r["finished"] + shift}) for r in records]
            path.write_text("".join(f"{line}\n" for line in lines))


def driver_lost(out: Path, rng: random.Random) -> None:
    (state_of(out) / "progress" / "driver.json").unlink()


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
#: After these the results are right as they are, so that verify must find nothing.
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
        for path in state_of(place / "out.zarr").glob("progress/relabel/done-*"):
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
