"""Draw the figures of docs/guides/look-and-hand-on.md: a generated volume, seen through the tools that results go to.

    python benchmarks/guide_figures.py docs/guides/figures

Needs Chromium, chromedriver and the extra `test`. Neuroglancer is the client of `fgnet view`; the exports are served to
it from a folder, as a lab's web server would do.
"""

from __future__ import annotations

import argparse
import http.server
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet
import zarr
from PIL import Image, ImageDraw

from fgnet_pipeline.datasets.phantom import Phantom, generate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from browser_tools import Browser, address_of, running_browser, state_at
from web_server import web_server

SHAPE, VOXEL_NM, SHOWN = (96, 160, 160), 10.0, 12
COLOURS = 128  # of a figure, which keeps the files small
CONFIG = """
[volume]
path = "raw.zarr"
[affinities]
path = "affinities.zarr"
[output]
path = "out.zarr"
[agglomerate]
threshold = 0.5
[schedule]
workers = 2
block_shape = [48, 80, 80]
"""


class _Lab(http.server.SimpleHTTPRequestHandler):
    """A lab's web server, which lets pages of other origins read, and gives parts of files: chunks lie in shards."""

    def do_GET(self) -> None:
        path, wanted = Path(self.translate_path(self.path)), self.headers.get("Range")
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin = int(first) if first else max(0, len(content) - int(last))
        end = min(len(content), int(last) + 1) if first and last else len(content)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        self.wfile.write(content[begin:end])

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


def fgnet(folder: Path, *words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "fgnet_pipeline", *words]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def make_result(folder: Path) -> None:
    """A finished run: generated raw, and affinities that follow the generated cells with some noise."""
    raw, labels = generate(Phantom(SHAPE))
    affinities = np.zeros((3, *SHAPE), np.float32)
    for axis in range(3):
        here, before = ([slice(None)] * 3 for _ in range(2))
        here[axis], before[axis] = slice(1, None), slice(None, -1)
        affinities[(axis, *here)] = labels[tuple(here)] == labels[tuple(before)]
    noisy = affinities * 0.9 + np.random.default_rng(0).random(affinities.shape, np.float32) * 0.1
    for name, data, axes in (("raw", raw, "zyx"), ("affinities", np.rint(noisy * 255).astype(np.uint8), "czyx")):
        attributes = {"voxel_size": [VOXEL_NM] * 3, "offset": [0.0] * 3, "axis_names": list(axes)}
        chunks = (3,) * (data.ndim - 3) + (48, 80, 80)
        array = zarr.create_array(
            folder / f"{name}.zarr", shape=data.shape, dtype="uint8", chunks=chunks, attributes=attributes
        )
        array[:] = data
    (folder / "config.toml").write_text(CONFIG)
    fgnet(folder, "run", "config.toml", "--yes")


@contextmanager
def view(folder: Path) -> Iterator[str]:
    """The address of a running view."""
    words = [sys.executable, "-m", "fgnet_pipeline", "view", "config.toml", "--no-browser"]
    command = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert command.stdout is not None
        yield command.stdout.readline().strip()
    finally:
        command.terminate()
        command.wait()


def screenshot(browser: Browser, address: str, path: Path) -> None:
    """Save what the browser shows at an address, once everything is drawn."""
    browser.open(address)
    save(Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())), path)
    if complaints := browser.complaints():
        raise SystemExit(f"{path.name}: {complaints}")


def save(picture: Image.Image, path: Path) -> None:
    """Save a picture with few colours."""
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def of_export(state: dict[str, Any], layers: list[dict[str, Any]], layout: str) -> dict[str, Any]:
    """The state of a view with the layers of an export."""
    return {**state, "layers": layers, "layout": layout}


def largest(folder: Path) -> list[str]:
    """The ids of the largest segments."""
    values, counts = np.unique(zarr.open_array(folder / "out.zarr/segmentation", mode="r")[...], return_counts=True)
    return [str(values[i]) for i in np.argsort(-counts) if values[i]][:SHOWN]


def draw_skeletons(folder: Path, path: Path, ids: list[str]) -> None:
    """SWC files, seen along z: any program that reads the format can do this."""
    side, scale = 480, 480 / (SHAPE[2] * VOXEL_NM / 1000)  # SWC is in micrometres
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    colours = np.random.default_rng(3).integers(0, 200, (len(ids), 3))
    for colour, segment in zip(colours.tolist(), ids, strict=True):
        nodes = np.loadtxt(folder / "skeletons" / "swc" / f"{segment}.swc", ndmin=2)
        place = {int(row[0]): (row[2] * scale, row[3] * scale) for row in nodes}
        for row in nodes[nodes[:, 6] > 0]:
            draw.line([place[int(row[0])], place[int(row[6])]], fill=tuple(colour), width=3)
    save(picture, path)


def draw_scores(folder: Path, path: Path) -> None:
    """How many faces of fragments have which mean affinity: a histogram of the Parquet table."""
    table = parquet.read_table(folder / "edges.parquet")
    score = table["score"].to_numpy()
    count, _ = np.histogram(score, bins=40, range=(0, 1))
    bars: npt.NDArray[np.float64] = np.sqrt(count / count.max())
    picture = Image.new("RGB", (480, 260), "white")
    draw = ImageDraw.Draw(picture)
    for i, bar in enumerate(bars.tolist()):
        draw.rectangle((40 + i * 10, 220 - 190 * bar, 48 + i * 10, 220), fill=(60, 110, 180))
    draw.line((40, 221, 440, 221), fill="black")
    for i in range(6):
        draw.text((32 + i * 80, 226), f"{i / 5:.1f}", fill="black")
    draw.text((40, 242), f"score of {len(score)} edges (square root of their number)", fill="black")
    save(picture, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="folder for the pictures")
    figures = parser.parse_args().figures.absolute()
    figures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, running_browser() as browser:
        folder = Path(name)
        make_result(folder)
        for format_, to in (("ome-zarr", "volume.zarr"), ("precomputed", "precomputed"), ("meshes", "meshes"),
                            ("skeletons", "skeletons"), ("edges", "edges.parquet")):  # fmt: skip
            fgnet(folder, "export", "config.toml", format_, "--to", to)
        ids = largest(folder)
        with view(folder) as url, web_server(folder, _Lab) as (lab, _):
            page, state = state_at(url)
            screenshot(browser, url, figures / "view.png")
            pyramid = [
                {"type": "image", "source": f"zarr3://{lab}/volume.zarr/", "name": "raw"},
                {"type": "segmentation", "source": f"zarr3://{lab}/volume.zarr/labels/segmentation/", "name": "ids"},
            ]
            screenshot(browser, address_of(page, of_export(state, pyramid, "xy")), figures / "ome-zarr.png")
            shapes = [{"type": "segmentation", "source": [f"precomputed://{lab}/precomputed",
                       f"precomputed://{lab}/meshes"], "segments": ids, "name": "meshes"}]  # fmt: skip
            screenshot(browser, address_of(page, of_export(state, shapes, "4panel")), figures / "meshes.png")
        draw_skeletons(folder, figures / "skeletons.png", ids)
        draw_scores(folder, figures / "edges.png")
        listed = {path.name: path.stat().st_size for path in sorted(figures.glob("*.png"))}
        print(json.dumps(listed))


if __name__ == "__main__":
    main()
