"""Reads skeletons: a folder of SWC files, or a folder in Neuroglancer's precomputed format.

SWC: one line per node, `id type x y z radius parent`, parent -1 for a root (Cannon et al. 1998; neuromorpho.org). The
format states no unit. A comment `# units: nm` is honoured; otherwise the caller names the unit.
Precomputed: github.com/google/neuroglancer, src/datasource/precomputed/skeletons.md; positions x, y, z in nm after the
`transform` of the info file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.core.units import length_unit

FIELD = "--skeletons"
_UNITS = re.compile(r"#\s*units?\s*[:=]\s*(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Skeleton:
    """One skeleton.

    Attributes:
        name: of its file; of a precomputed skeleton the id.
        nodes: (n, 3) float64, nm, zyx.
        edges: (m, 2) int64, indices of nodes.
    """

    name: str
    nodes: npt.NDArray[np.float64]
    edges: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.float64]:
        """(m,) length of each edge in nm."""
        ends = self.nodes[self.edges]
        return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)


def read_skeletons(folder: str, unit: str) -> list[Skeleton]:
    """Read all skeletons of a folder, sorted by name.

    Args:
        folder: of SWC files, or of precomputed skeletons.
        unit: of the positions in SWC files that state none, e.g. `"nm"`.

    Raises:
        InputError: no skeletons, a file that cannot be read, or an unknown unit.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(FIELD, folder, "a folder of SWC files or of precomputed skeletons", "check the path")
    try:
        files = sorted(path.iterdir())
    except OSError as error:
        raise _refusal(path, f"a folder that can be read ({error.strerror})") from error
    if (path / "info").is_file():
        found = _precomputed(path, files)
    else:
        factor = length_unit(unit, "--skeleton-unit", unit, "give e.g. nm or um")
        found = [_swc(file, factor) for file in files if file.suffix.lower() == ".swc"]
    if not found:
        raise _none_found(folder, files)
    return found


def _none_found(folder: str, files: list[Path]) -> InputError:
    """The error for a folder without skeletons; files of precomputed skeletons without their info are named."""
    numbered = [file.name for file in files if file.name.isdecimal()]
    if numbered and not any(file.name == "info" for file in files):
        expected = f"the info file of precomputed skeletons beside its {len(numbered)} files such as {numbered[0]}"
        return InputError(FIELD, folder, expected, "copy the info file as well: it states the place of the skeletons")
    expected = "at least one .swc file, or the info file and files of precomputed skeletons"
    return InputError(FIELD, folder, expected, "check the path")


def _swc(file: Path, factor: float) -> Skeleton:
    """One SWC file; `factor` is nm per unit, unless the file states its unit."""
    text = _text(file)
    stated = _UNITS.search(text)
    if stated is not None:
        factor = length_unit(stated[1], FIELD, str(file), "correct the comment, or remove it")
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        table = np.array([[float(value) for value in row[:7]] for row in rows], np.float64).reshape(len(rows), 7)
    except ValueError as error:
        raise _refusal(file, "seven numbers per line: id type x y z radius parent") from error
    if not np.isfinite(table).all() or not len(table):
        raise _refusal(file, "at least one node, and finite numbers")
    if (table[:, [0, 6]] != np.rint(table[:, [0, 6]])).any():
        raise _refusal(file, "whole numbers as ids of nodes and parents")
    ids, parents = table[:, 0].astype(np.int64), table[:, 6].astype(np.int64)
    order = np.argsort(ids, kind="stable")
    child = np.flatnonzero(parents >= 0)
    at = np.minimum(np.searchsorted(ids[order], parents[child]), len(ids) - 1)
    if len(np.unique(ids)) != len(ids) or (ids[order][at] != parents[child]).any():
        raise _refusal(file, "ids that occur once, and parents that exist")
    edges = np.stack([child, order[at]], axis=1)
    if _has_cycle(len(ids), edges):
        raise _refusal(file, "trees: no node may be among its own ancestors")
    return Skeleton(file.stem, table[:, [4, 3, 2]] * factor, edges)


def _has_cycle(count: int, edges: npt.NDArray[np.int64]) -> bool:
    """Whether parents form a circle: a forest has as many edges as it has nodes beyond one per tree."""
    if not len(edges):
        return False
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return bool(len(edges) + connected_components(graph, directed=False)[0] > count)


def _precomputed(folder: Path, files: list[Path]) -> list[Skeleton]:
    """All skeletons of a folder in Neuroglancer's format."""
    try:
        info = json.loads(_text(folder / "info"))
    except ValueError as error:
        raise _refusal(folder / "info", "JSON") from error
    if not isinstance(info, dict) or info.get("@type") != "neuroglancer_skeletons":
        raise _refusal(folder / "info", '"@type": "neuroglancer_skeletons"')
    if info.get("sharding"):
        raise _refusal(folder / "info", "skeletons without sharding: one file per id")
    try:
        matrix = np.array(info.get("transform") or [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.size != 12 or not np.isfinite(matrix).all():
        raise _refusal(folder / "info", "a transform of 12 numbers")
    numbered = sorted((file for file in files if file.name.isdecimal()), key=lambda file: int(file.name))
    return [_encoded(file, matrix.reshape(3, 4)) for file in numbered]


def _encoded(file: Path, matrix: npt.NDArray[np.float64]) -> Skeleton:
    """One file: uint32 nodes, uint32 edges, float32 x, y, z per node, two uint32 per edge; then attributes."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise _refusal(file, f"a file that can be read ({error.strerror})") from error
    count, edges = (int(n) for n in np.frombuffer(data[:8], "<u4")) if len(data) >= 8 else (0, 0)
    if len(data) < 8 + 12 * count + 8 * edges:
        raise _refusal(file, f"{count} nodes and {edges} edges, as it states")
    positions = np.frombuffer(data, "<f4", 3 * count, 8).reshape(-1, 3).astype(np.float64)
    pairs = np.frombuffer(data, "<u4", 2 * edges, 8 + 12 * count).reshape(-1, 2).astype(np.int64)
    if (pairs.size and pairs.max() >= count) or not np.isfinite(positions).all():
        raise _refusal(file, "edges between nodes that exist, and finite positions")
    return Skeleton(file.name, (positions @ matrix[:, :3].T + matrix[:, 3])[:, ::-1], pairs)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError) as error:
        raise _refusal(file, f"a text that can be read ({error})") from error


def _refusal(file: Path, expected: str) -> Any:
    return InputError(FIELD, str(file), expected, "correct the file, or take it away")
