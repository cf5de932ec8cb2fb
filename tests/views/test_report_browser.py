"""A real browser opens the report without a network, as wide as a phone and as a desk, and complains of nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_tools import write_volume
from required import skip_or_fail

from fgnet_pipeline.commands.report import report
from fgnet_pipeline.stages.configuration import load_result

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
except ImportError as error:
    skip_or_fail("browser", f"the packages of the extra `test` are missing ({error})")
if missing := [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]:
    skip_or_fail("browser", f"{', '.join(missing)} not installed")

#: Neither a GPU nor a display is needed. Root may not use the sandbox.
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """A browser that notes what pages load."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        yield running
    finally:
        running.quit()


@pytest.fixture(scope="module")
def page(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a finished run with labels, whose large ids make tables wide."""
    folder = tmp_path_factory.mktemp("page")
    ids = (np.indices((40, 50, 60)) // 25).sum(0).astype(np.uint64) + np.uint64((1 << 64) - 100)
    return report(load_result(str(finished_run / "out.zarr")), folder / "r.html", write_volume(folder / "l", ids)).path


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_and_complains_of_nothing(page: Path, driver: Any, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get_log("performance")
    driver.get(page.as_uri())
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    broken = "return [...document.images].filter(i => !i.complete || i.naturalWidth === 0 || !i.alt).length"
    assert driver.execute_script(broken) == 0
    assert driver.execute_script("return document.images.length") == 3 * 3 * 4
    levels = driver.execute_script("return [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    links = driver.execute_script("return [...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    assert len(links) == 10 and all(driver.execute_script("return !!document.getElementById(arguments[0])", link)
                                   for link in links)  # fmt: skip
    assert driver.get_log("browser") == []
    loaded = [
        entry["message"] for entry in driver.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    assert not [entry for entry in loaded if '"url":"http' in entry]
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
