"""Time from typing `fgnet view` to the first picture, in a browser that is already running.

    python benchmarks/view_start.py OUTPUT --repeats 5

The browser is a headless Chromium with software rendering, as in the tests. Every view has a port and a token of its
own, so the browser has nothing of it in its cache. Times are counted from the start of the command:

- address: the address is printed;
- client: the page has made its viewer;
- picture: everything that is visible has been read and drawn.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests"


def first_picture(browser: Any, output: str) -> dict[str, float]:
    """Seconds until each step of one view."""
    words = [sys.executable, "-m", "fgnet_pipeline", "view", output, "--no-browser"]
    browser.driver.get("about:blank")
    began = time.perf_counter()
    command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert command.stdout is not None
        url = command.stdout.readline().strip()
        seconds = {"address": time.perf_counter() - began}
        browser.driver.get(url)
        browser.wait("return window.viewer !== undefined")
        seconds["client"] = time.perf_counter() - began
        browser.wait("return viewer.isReady()")
        seconds["picture"] = time.perf_counter() - began
        return seconds
    finally:
        command.send_signal(signal.SIGINT)
        command.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    from browser_tools import running_browser

    with running_browser() as browser:
        rows = [first_picture(browser, asked.output) for _ in range(asked.repeats)]
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"{name:8s} median {median(values):.2f} s, from {min(values):.2f} to {max(values):.2f} s")


if __name__ == "__main__":
    main()
