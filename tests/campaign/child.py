"""A process of its own for cases that may crash or hang it: `python -m campaign.child` answers one line per case."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import subprocess
import sys
from typing import Any

from campaign.cases import Verdict, form_and_kind, make, run

#: Seconds that a case may take; on an idle machine it takes a few hundredths.
PATIENCE = 60.0
#: Bytes of memory that the process may allocate.
MEMORY = 6 * 2**30


class Child:
    """Runs cases in another process, and begins a new one after a crash or a case that does not end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, seed: int, number: int, changes: list[str]) -> Verdict:
        """The verdict of a case; a crash, or no answer in time, is a fault.

        Args:
            seed: of the campaign.
            number: of the case.
            changes: names of its changes, for a verdict that the process does not give.
        """
        process = self._started()
        assert process.stdin and process.stdout
        process.stdin.write(f"{seed} {number}\n".encode())
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        line = process.stdout.readline() if ready else b""
        if line:
            return Verdict(**json.loads(line))
        reason = f"the process ended with {process.wait()}" if ready else f"no answer within {PATIENCE:.0f} s"
        self._stop()
        form, kind = form_and_kind(number)
        return Verdict(number, form.name, kind.value, changes, "fault", reason)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "campaign.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env=environment,
            )  # fmt: skip
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main() -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        seed, number = map(int, line.split())
        with contextlib.redirect_stdout(sys.stderr):
            verdict: dict[str, Any] = run(make(seed, number)).as_dict()
        answers.write(json.dumps(verdict) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
