"""Change files of every format at random: what they mean must be read rightly, or be refused, and nothing may crash.

    python benchmarks/odd_files.py --cases 10000 --seed 0

A case is a small volume of known voxels, voxel size and offset, written as a laboratory's program writes it, with some
changes of its metadata or its container. Every change says what must follow:

- preserving: the same voxels, voxel size and offset are read. *Wrong value* and *refused wrongly* are failures.
- destroying: the file is refused with an `InputError`. *Accepted* is a failure.
- undecidable: any value or refusal is right, but some changes (a feature that a reader need not have) allow a refusal
  or the right value only: *of these wrong* are failures.

A *fault* is an error that is none of the program's own, a crash, or no answer. The exit code is 1 if anything failed.
The log has the traceback of every fault, and what was understood of undecidable files. Seed and number determine a
case: `--case 17 --folder DIR` runs only this case and keeps its files. The writers are in `tests/lab_files`, the
changes in `tests/campaign`. On one core about 100 cases run per second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from campaign.cases import Verdict
from campaign.run import Log, campaign
from campaign.tally import Tally


def one_case(seed: int, number: int, folder: Path | None) -> int:
    """Run one case and tell what became of it; gives the exit code."""
    verdicts: list[Verdict] = []
    campaign(seed, [number], None, verdicts.append, folder)
    verdict = verdicts[0]
    print(json.dumps(verdict.as_dict(), indent=1))
    return int(verdict.failed)


def told(tally: Tally, log: Path, seconds: float) -> str:
    """The report, as Markdown."""
    total, failed = tally.count(), len(tally.failures)
    lines = [f"Seed {tally.seed}, {total} cases, {failed} failures, {seconds:.0f} s. Log: {log}", "", tally.table()]
    for verdict in tally.failures[:50]:
        last = (verdict.detail.strip().splitlines() or [""])[-1]
        lines.append(
            f"FAILED case {verdict.number}, {verdict.form}: {'; '.join(verdict.changes)}: {verdict.outcome}: {last}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, help="begin no further case after that time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print counts and failures as one JSON document")
    parser.add_argument("--log", type=Path, help="file for tracebacks and what was understood")
    parser.add_argument("--case", type=int, help="run only the case with this number")
    parser.add_argument("--folder", type=Path, help="with --case: keep the files of the case in this folder")
    arguments = parser.parse_args()
    if arguments.case is not None:
        sys.exit(one_case(arguments.seed, arguments.case, arguments.folder))
    log = Log(arguments.log or Path(tempfile.gettempdir()) / f"odd_files-{arguments.seed}.log")
    started = time.monotonic()
    tally = campaign(arguments.seed, range(arguments.cases), arguments.seconds, log)
    seconds = time.monotonic() - started
    if arguments.json:
        print(json.dumps(tally.as_dict() | {"seconds": seconds, "log": str(log.path)}))
    else:
        print(told(tally, log.path, seconds))
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
