"""What setup.cfg installs is used, and what is used is installed."""

from __future__ import annotations

import ast
import configparser
import re
import sys

from pipeline_tools import CHECKOUT

#: Distribution -> the package that it provides, if the names differ.
PROVIDES = {
    "connected-components-3d": "cc3d",
    "funlib.geometry": "funlib",
    "funlib.persistence": "funlib",
    "hydra-core": "hydra",
    "pillow": "PIL",
    "psycopg2-binary": "psycopg2",
}
#: What sam2 imports and does not bring, since it is installed without its dependencies.
OF_SAM2 = {"hydra", "iopath", "tqdm"}
#: s3fs brings it.
OF_S3FS = {"botocore"}
#: Found by name: zarrs is named in Zarr's configuration, torch and sam2 are installed by `make` before the project.
BY_NAME = {"zarrs", "torch", "sam2"}


def required(*extras: str) -> set[str]:
    """Packages that setup.cfg installs, and those of some extras."""
    config = configparser.ConfigParser()
    config.read(CHECKOUT / "setup.cfg")
    text = config["options"]["install_requires"] + "".join(config["options.extras_require"][name] for name in extras)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    names = [re.split(r"[<>=\[ ]", line)[0] for line in lines]
    return {PROVIDES.get(name, name.replace("-", "_")) for name in names}


def imported() -> set[str]:
    """Packages that the two source trees import, at any place in a file."""
    found = set()
    for root in (CHECKOUT / "fgnet_pipeline", CHECKOUT / "model" / "fgnet"):
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {name.name.partition(".")[0] for name in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"fgnet", "fgnet_pipeline"}


def test_what_is_installed_is_used() -> None:
    assert required() - imported() - OF_SAM2 - BY_NAME == set()


def test_what_is_used_is_installed() -> None:
    extras = ("import", "tensorboard", "s3", "gs", "http", "view", "export")
    assert imported() - required(*extras) - BY_NAME - OF_S3FS == set()
