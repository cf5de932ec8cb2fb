"""The row of folders of pictures, and its changes."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from lab_files.picture_folders import PictureFolder, render
from lab_files.specimen import Rendered, truth_of
from PIL import Image

from campaign import path_changes
from campaign.mutation import Changes, Format


def _make(rng: random.Random) -> PictureFolder:
    return PictureFolder(truth_of(rng, rng.choice(["uint8", "uint8", "uint16"])), rng.choice(["png", "tif"]))


def _sections(files: Rendered) -> list[str]:
    """The pictures; files whose name begins with a dot are those of other programs."""
    found = (n for n in files.files if n.lower().endswith((".png", ".tif", ".tiff")))
    return sorted(n for n in found if not n.rpartition("/")[2].startswith("."))


#: Other names, and other ways to store the same sections.
SAME_MEANING = Changes()


@SAME_MEANING.preserving("another pattern of names")
def _name(folder: PictureFolder, rng: random.Random) -> None:
    folder.name = rng.choice(
        ["{}", "{:04d}", "em-{:03d}", "s{}", "Section {:05d}", "a.b_{:02d}".replace(".", "-"), "z={}"]
    )


@SAME_MEANING.preserving("a running number that is not the last")
def _not_last(folder: PictureFolder, rng: random.Random) -> None:
    folder.name = rng.choice(["s{:04d}_4nm", "{}_8bit", "slice{:03d}_em_v2", "z{:03d}_c0", "{:05d}-20240131"])


@SAME_MEANING.preserving("a number before the running number")
def _before(folder: PictureFolder, rng: random.Random) -> None:
    folder.name = rng.choice(["wafer4_{}", "run12_z{:04d}", "2024-01-31_{:04d}", "4nm_s{:02d}"])


@SAME_MEANING.preserving("another number of the first section")
def _first(folder: PictureFolder, rng: random.Random) -> None:
    folder.first = rng.choice([1, 7, 98, 995, 2600])


@SAME_MEANING.preserving("another compression of PNG", lambda f: f.kind == "png")
def _level(folder: PictureFolder, rng: random.Random) -> None:
    folder.level = rng.choice([0, 1, 9])


@SAME_MEANING.preserving("text in the PNG", lambda f: f.kind == "png")
def _text(folder: PictureFolder, rng: random.Random) -> None:
    folder.text = {"Software": "microscope", "Comment": "7 kV"}


@SAME_MEANING.preserving("other storage of TIFF", lambda f: f.kind == "tif")
def _storage(folder: PictureFolder, rng: random.Random) -> None:
    folder.options |= rng.choice([
        {"compression": "zlib"}, {"byteorder": ">"}, {"bigtiff": True}, {"rowsperstrip": 3}, {"tile": (16, 16)},
        {"resolution": (300, 300)}, {"software": "microscope"},
    ])  # fmt: skip


@SAME_MEANING.preserving("other files in the folder")
def _bystanders(folder: PictureFolder, rng: random.Random) -> None:
    folder.bystanders |= rng.choice(
        [{".DS_Store": b"x"}, {"notes.txt": b"z 7"}, {"._section_3.png": b"x"}, {"log/1.txt": b"x"}]
    )


@SAME_MEANING.preserving("the ending in capitals", on_files=True)
def _capitals(files: Rendered, rng: random.Random) -> None:
    for name in _sections(files):
        stem, _, ending = name.rpartition(".")
        files.files[f"{stem}.{ending.upper()}"] = files.files.pop(name)


@SAME_MEANING.undecidable("white is zero, and values inverted", lambda f: f.kind == "tif", exact=True)
def _white(folder: PictureFolder, rng: random.Random) -> None:
    folder.options["photometric"] = "miniswhite"


#: Lost sections, colours, and pictures that do not fit each other.
NO_MEANING = Changes()


def one(change: Callable[[Any], Any]) -> Callable[[Rendered, random.Random], None]:
    """A change of the picture of one section."""

    def apply(files: Rendered, rng: random.Random) -> None:
        name = rng.choice(_sections(files))
        files.files[name] = _saved(change(_loaded(files.files[name], name)), _kind(name))

    return apply


@NO_MEANING.destroying("a section left out", on_files=True)
def _left_out(files: Rendered, rng: random.Random) -> None:
    del files.files[rng.choice(_ordered(files)[1:-1])]


@NO_MEANING.destroying("two sections of one number", lambda f: "{:0" not in f.name)
def _twice(folder: PictureFolder, rng: random.Random) -> None:
    section = folder.truth.voxels[0]
    name = folder.name.format(f"0{folder.first}")
    folder.bystanders[f"{name}.{folder.kind}"] = _saved(section, folder.kind)


@NO_MEANING.destroying("no section at all", on_files=True)
def _none(files: Rendered, rng: random.Random) -> None:
    for name in _sections(files):
        del files.files[name]
    files.files[f"{files.path}/readme.txt"] = b"moved"


@NO_MEANING.destroying("sections of PNG and of TIFF", on_files=True)
def _mixed(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_sections(files))
    picture = _loaded(files.files.pop(name), name)
    kind = {"png": "tif", "tif": "png"}[_kind(name)]
    files.files[name.rpartition(".")[0] + "." + kind] = _saved(picture, kind)


NO_MEANING.destroying("a section of another size", on_files=True)(one(lambda p: p[:-1]))
NO_MEANING.destroying("a section of another type", on_files=True)(
    one(lambda p: p.astype({1: "uint16", 2: "uint8"}[p.itemsize]))
)
NO_MEANING.destroying("a coloured section", on_files=True)(one(lambda p: np.stack([p.astype("uint8")] * 3, -1)))
NO_MEANING.destroying("a section with transparency", on_files=True)(
    one(lambda p: np.stack([p.astype("uint8")] * 4, -1))
)


@NO_MEANING.destroying("a section that is no picture", on_files=True)
def _no_picture(files: Rendered, rng: random.Random) -> None:
    files.files[rng.choice(_sections(files))] = rng.choice([b"", b"hello", b"\x89PNG\r\n\x1a\n", b"II*\0"])


@NO_MEANING.destroying("a section cut off", on_files=True)
def _cut(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_sections(files))
    files.files[name] = files.files[name][: len(files.files[name]) // 2]


@NO_MEANING.destroying("all sections coloured", on_files=True)
def _colours(files: Rendered, rng: random.Random) -> None:
    for name in _sections(files):
        picture = _loaded(files.files[name], name).astype("uint8")
        files.files[name] = _saved(np.stack([picture] * 3, -1), _kind(name))


@NO_MEANING.destroying("no number in a name", on_files=True)
def _bare(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_sections(files))
    files.files[f"{files.path}/overview." + name.rpartition(".")[2]] = files.files.pop(name)


@NO_MEANING.undecidable("bytes of a section flipped", on_files=True, native=True)
def _flip(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_sections(files))
    content = bytearray(files.files[name])
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    files.files[name] = bytes(content)


@NO_MEANING.undecidable("a section under another name", on_files=True)
def _renamed(files: Rendered, rng: random.Random) -> None:
    name = rng.choice(_sections(files))
    new = rng.choice(["a1b2c3", "999999999999999999999", "-5", "1.5", "é7", "0", " 3"])
    files.files[f"{files.path}/{new}." + name.rpartition(".")[2]] = files.files.pop(name)


def _ordered(files: Rendered) -> list[str]:
    """The sections in the order of their numbers: names of one length sort as text, and longer ones come later."""
    return sorted(_sections(files), key=lambda name: (len(name), name))


def _kind(name: str) -> str:
    return "png" if name.lower().endswith("png") else "tif"


def _loaded(content: bytes, name: str) -> Any:
    if _kind(name) == "png":
        return np.asarray(Image.open(io.BytesIO(content)))
    return tifffile.imread(io.BytesIO(content))


def _saved(picture: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "tif":
        tifffile.imwrite(buffer, picture, photometric="rgb" if picture.ndim == 3 else "minisblack")
    else:
        Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()


def formats() -> list[Format]:
    """The row of folders."""
    changes = (SAME_MEANING, NO_MEANING, path_changes.ANY_PATH, path_changes.FOLDER_PATH)
    return [Format("folder of PNG or TIFF", _make, render, changes)]
