"""Changes of where files lie and how the user names them; they carry no meaning.

POSIX (pubs.opengroup.org, "Pathname"): every character but "/" and NUL may stand in a name; a link stands for its
target.
"""

from __future__ import annotations

import random

from lab_files.specimen import Rendered

from campaign.mutation import Changes

ODD_FOLDERS = (
    "two words",
    "50%25 #1",
    "a[1]",
    "what?",
    "é μ",
    "x" * 200,
    "a+b=c&d",
    "~lab",
    "-v",
    "v1.zarr.bak",
    "c.old",
)


#: For a format of any kind.
ANY_PATH = Changes()


@ANY_PATH.preserving("odd names of the folder above", on_files=True)
def _folder(files: Rendered, rng: random.Random) -> None:
    below(files, rng.choice(ODD_FOLDERS))


@ANY_PATH.preserving("a link to the folder above", on_files=True)
def _link(files: Rendered, rng: random.Random) -> None:
    files.linked = "folder"


#: For formats whose path is a folder.
FOLDER_PATH = Changes()


@FOLDER_PATH.preserving("a slash after the path", on_files=True)
def _slash(files: Rendered, rng: random.Random) -> None:
    files.given["after"] = "/"


def below(files: Rendered, folder: str) -> None:
    """Move all files into a folder."""
    files.documents = {f"{folder}/{name}": content for name, content in files.documents.items()}
    files.files = {f"{folder}/{name}": content for name, content in files.files.items()}
    files.path = f"{folder}/{files.path}"
    if "folder" in files.given:
        files.given["folder"] = f"{folder}/{files.given['folder']}"
