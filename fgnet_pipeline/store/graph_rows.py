"""Nodes and edges of a graph in the form in which `funlib.persistence` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fgnet_pipeline.core.errors import DamageError
from fgnet_pipeline.store.tables import Columns

#: Rows that are handed to funlib at once. It keeps them in memory as Python objects.
ROWS = 1 << 14


class Rows:
    """Rows as funlib.persistence takes them: a mapping from the keys of nodes or edges to their attributes.

    Args:
        columns: name -> values (n,) or (n, k).
        keys: names of the columns that make the key: one for nodes, two for edges.
    """

    def __init__(self, columns: Columns, keys: tuple[str, ...]) -> None:
        self.columns, self.keys = columns, keys

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def pieces(self) -> Iterator[Rows]:
        """The same rows, `ROWS` at a time."""
        for begin in range(0, len(self), ROWS):
            yield Rows({name: values[begin : begin + ROWS] for name, values in self.columns.items()}, self.keys)

    def items(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Pairs (key, attributes) of Python's numbers: numpy's would become BLOBs in SQLite."""
        names = [name for name in self.columns if name not in self.keys]
        values = zip(*(self.columns[name].tolist() for name in names), strict=True)
        ids = [self.columns[name].tolist() for name in self.keys]
        for key, row in zip(ids[0] if len(ids) == 1 else zip(*ids, strict=True), values, strict=True):
            yield key, dict(zip(names, row, strict=True))


def attribute_types(nodes: Mapping[str, type], edges: Mapping[str, type]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The types of attributes in the form of funlib.persistence. Nodes get a position of three floats.

    Args:
        nodes: type per further attribute of nodes: int, float or bool.
        edges: type per attribute of edges.
    """
    from funlib.persistence.types import Vec

    return {"position": Vec(float, 3), **nodes}, dict(edges)


def fill(graph: Any, parts: Iterable[Rows]) -> int:
    """Write all rows, and check that none was lost; returns their number."""
    nodes = edges = 0
    for part in parts:
        for piece in part.pieces():
            if len(piece.keys) == 1:
                graph.bulk_write_nodes(piece)
                nodes += len(piece)
            else:
                graph.bulk_write_edges({}, piece)
                edges += len(piece)
    for table, wanted in (("nodes", nodes), ("edges", edges)):
        (found,) = next(iter(graph._select_query(f"SELECT COUNT(*) FROM {table}")))
        if found != wanted:
            raise DamageError(f"{wanted - found} rows of {table} have the ids of other rows: run fgnet verify")
    return nodes + edges
