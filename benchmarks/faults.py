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
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fault_damage import DAMAGE, can_mount, damaged, full_disk, read_only_disk
from fault_kills import KILLS_IN_A_HISTORY, history
from fault_runs import Tally, finish, write_config, write_raw


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
