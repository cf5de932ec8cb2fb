"""A headless Chromium that looks at a view: what it draws, what it reads, and what it complains of."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import numpy.typing as npt
import requests
from PIL import Image

PROGRAMS = ("chromium", "chromedriver")
#: Software rendering: neither a GPU nor a display is needed. Root may not use Chromium's sandbox.
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1", "--window-size=700,600",
)  # fmt: skip
PATIENCE = 60.0


def missing_programs() -> list[str]:
    """Programs that are not installed here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Browser:
    """A running browser.

    Args:
        driver: of selenium.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Load a view, and wait until everything that is visible has been read and drawn."""
        self.driver.get("about:blank")  # otherwise only the part behind # changes, and nothing is loaded
        self.driver.get(address)
        self.wait("return window.viewer !== undefined && viewer.isReady()")

    def wait(self, script: str) -> Any:
        """Run a script until it returns something true; that value."""
        give_up = time.monotonic() + PATIENCE
        while not (found := self.driver.execute_script(script)):
            assert time.monotonic() < give_up, f"no answer in time: {script}"
            time.sleep(0.05)
        return found

    def picture(self) -> npt.NDArray[np.uint8]:
        """The pixels (y, x, RGB) of the first panel."""
        box = self.driver.execute_script(
            "const b = document.querySelector('.neuroglancer-rendered-data-panel').getBoundingClientRect();"
            "return [b.left, b.top, b.right, b.bottom]"
        )
        left, top, right, bottom = (round(value) for value in box)
        whole = np.asarray(Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB"))
        return whole[top:bottom, left:right]

    def values(self, layer: str, positions: npt.NDArray[np.float64]) -> list[int | float | None]:
        """What the browser has read at positions (n, 3) of the state, xyz; None where it has read nothing."""
        found: list[str | None] = self.driver.execute_script(
            "const layer = viewer.layerManager.getLayerByName(arguments[0]).layer;"
            "return arguments[1].map(p => { const v = layer.renderLayers.map(r => r.getValueAt?.(Float32Array.from(p)))"
            ".find(v => v !== undefined && v !== null); return v === undefined ? null : String(v); })",
            layer,
            positions.tolist(),
        )
        return [None if text is None else json.loads(text) for text in found]

    def complaints(self) -> list[str]:
        """What the console holds since the last call, but for what is no error."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")]


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a browser, and end it with the `with` block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


def state_at(url: str) -> tuple[str, dict[str, Any]]:
    """The address of the page to which a view leads, without the state, and the state."""
    answer = requests.get(url, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    page, _, state = answer.headers["Location"].partition("#!")
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{page}", json.loads(unquote(state))


def address_of(page: str, state: dict[str, Any]) -> str:
    """The address of a view with another state."""
    return f"{page}#!{quote(json.dumps(state))}"
