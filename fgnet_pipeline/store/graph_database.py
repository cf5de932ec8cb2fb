"""Graphs in databases that `funlib.persistence` reads: SQLite files and PostgreSQL.

The tables are those of funlib.persistence: `nodes` and `edges`, an index `pos_index` over the positions, and for
PostgreSQL a table `metadata`. SQLite keeps the metadata in the file STEM-meta.json beside the database. One more table,
`fgnet_export`, holds one JSON document: what the graph was made of.

funlib.persistence never sees another table: this file refuses a schema that holds tables of these names, since funlib
would drop them. It is stricter than funlib in three more things.

1. Positions and scores are 64-bit floats in PostgreSQL, too; funlib's REAL has 24 bits.
2. A graph in PostgreSQL is written in one transaction, so readers see all of it or nothing.
3. Duplicates are an error; funlib ignores them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.store.atomic_files import flush_to_disk
from fgnet_pipeline.store.graph_rows import Rows, fill

#: Schemes of URLs of PostgreSQL.
SCHEMES = ("postgresql", "postgres")
NAMES = ("nodes", "edges", "metadata", "pos_index", "fgnet_export")
_KEY = 0x66676E6574  # of the lock that writers of graphs take: "fgnet"


def meta_path(path: Path) -> Path:
    """The file beside an SQLite database in which funlib.persistence keeps the metadata."""
    return path.parent / f"{path.stem}-meta.json"


def write_sqlite(
    path: Path, types: tuple[dict[str, Any], dict[str, Any]], parts: Iterable[Rows], document: Mapping[str, Any]
) -> int:
    """Write a graph to a new SQLite file, whole or not at all. The same rows make the same bytes.

    Args:
        path: of the database. Metadata are written to `meta_path(path)`.
        types: of the attributes of nodes and edges, as `attribute_types` makes them.
        parts: all nodes and edges, in any order. An edge comes with u < v.
        document: what the graph is made of.

    Returns:
        The number of nodes and edges.

    Raises:
        DamageError: a node or edge occurs twice.
        OSError: the disk is full, or the folder cannot be written.
    """
    from funlib.persistence.graphs.sqlite_graph_database import SQLiteGraphDataBase  # takes a second

    folder = path.parent / f".{path.name}.{uuid.uuid4().hex}.partial"
    folder.mkdir(parents=True)
    partial = folder / path.name
    try:
        graph = SQLiteGraphDataBase(partial, "position", "w", node_attrs=types[0], edge_attrs=types[1])
        with closing(graph):
            # A database that is not complete is thrown away, so it needs no journal.
            graph.cur.execute("PRAGMA journal_mode=OFF")
            graph.cur.execute("PRAGMA synchronous=OFF")
            graph.cur.execute("DROP INDEX pos_index")
            rows = fill(graph, parts)
            graph.cur.execute("CREATE INDEX pos_index ON nodes(position_0, position_1, position_2)")
            graph.cur.execute("CREATE TABLE fgnet_export(document TEXT)")
            graph.cur.execute("INSERT INTO fgnet_export VALUES (?)", [json.dumps(document, sort_keys=True)])
            graph.con.commit()
        flush_to_disk([meta_path(partial), partial])
        meta_path(partial).replace(meta_path(path))
        partial.replace(path)
    finally:
        rmtree(folder, ignore_errors=True)
    return rows


class Server:
    """A schema of a PostgreSQL database.

    Args:
        url: a URL of libpq without a password: `postgresql://user@host:port/database`. Its parameter
            `options=-csearch_path%3DNAME` chooses another schema than `public`.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def held(self) -> dict[str, Any] | None:
        """The document of the graph in the schema; None if the schema has nothing in the way of a graph.

        Raises:
            InputError: the database does not answer or refuses the user, the schema does not exist or cannot be
                written, or it holds other data under the names of the tables.
        """
        with self._connected() as connection, connection.cursor() as cursor:
            self._require_schema(cursor)
            return self._held(cursor)

    def _held(self, cursor: Any) -> dict[str, Any] | None:
        query = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s)"
        cursor.execute(query, [list(NAMES)])
        taken = {name for (name,) in cursor.fetchall()}
        if not taken:
            return None
        if taken == set(NAMES):
            cursor.execute("SELECT document FROM fgnet_export")
            rows = cursor.fetchall()
            if len(rows) == 1:
                return dict(json.loads(rows[0][0]))
        raise self.in_the_way(", ".join(sorted(taken)))

    def in_the_way(self, names: str) -> InputError:
        """An error that says which tables are in the way of a graph."""
        expected = f"a schema without the tables {', '.join(NAMES)} (it has {names})"
        remedy = "name another schema: add ?options=-csearch_path%3DNAME to the URL, or drop these tables"
        return InputError("--to", self.url, expected, remedy)

    def write(
        self, types: tuple[dict[str, Any], dict[str, Any]], parts: Iterable[Rows], document: Mapping[str, Any]
    ) -> int:
        """Write a graph in one transaction. If the same graph is there already, nothing is done.

        Args:
            types: of the attributes of nodes and edges, as `attribute_types` makes them.
            parts: all nodes and edges, in any order. An edge comes with u < v.
            document: what the graph is made of. A graph of the same `made_of` is replaced if its `key` is another.

        Returns:
            The number of nodes and edges that were written.

        Raises:
            InputError: as `held`.
            DamageError: a node or edge occurs twice.
        """
        with self._connected() as connection, connection.cursor() as cursor:
            # A worker of a killed driver may still be writing. It ends before this one looks.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_KEY])
            self._require_schema(cursor)
            held = self._held(cursor)
            if held is not None and held.get("made_of") != document["made_of"]:
                raise self.in_the_way("another graph")
            if held == document:
                return 0
            if held is not None:
                cursor.execute("DROP TABLE nodes, edges, metadata, fgnet_export")
            graph = _graph(connection, types)
            rows = fill(graph, parts)
            cursor.execute("CREATE INDEX pos_index ON nodes(position)")
            cursor.execute("CREATE TABLE fgnet_export(document VARCHAR)")
            cursor.execute("INSERT INTO fgnet_export VALUES (%s)", [json.dumps(document, sort_keys=True)])
            connection.complete()
        return rows

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A connection whose transaction is rolled back unless it is completed."""
        import psycopg2

        try:
            connection = psycopg2.connect(self.url, connection_factory=_connection_class())
        except psycopg2.Error as error:
            raise self._refusal(str(error)) from error
        try:
            yield connection
        finally:
            connection.close()

    def _refusal(self, text: str) -> InputError:
        """An error with what libpq says, which never holds a password."""
        reason = " ".join(text.split())
        remedy = "start the database, or correct host, port, user and name in the URL"
        if "password" in reason:
            remedy = "write the password into ~/.pgpass or the file that PGPASSFILE names (mode 0600)"
        return InputError("--to", self.url, f"a PostgreSQL database that lets you in ({reason})", remedy)

    def _require_schema(self, cursor: Any) -> None:
        cursor.execute("SELECT current_schema(), current_user, current_setting('search_path')")
        schema, user, path = cursor.fetchone()
        if schema is None:
            expected = f"a schema that exists and that {user} may use (search_path is {path})"
            remedy = f"create it first: CREATE SCHEMA NAME AUTHORIZATION {user}"
            raise InputError("--to", self.url, expected, remedy)
        cursor.execute("SELECT has_schema_privilege(current_schema(), 'CREATE')")
        if not cursor.fetchone()[0]:
            expected = f"a schema in which {user} may create tables (not {schema})"
            remedy = f"have its owner run GRANT CREATE ON SCHEMA {schema} TO {user}, or name another schema or database"
            raise InputError("--to", self.url, expected, remedy)


def _connection_class() -> Any:
    from psycopg2.extensions import connection

    class OneTransaction(connection):  # type: ignore[valid-type]
        """funlib.persistence commits after every step; here nothing is committed until the graph is complete."""

        def commit(self) -> None:
            """Nothing."""

        def complete(self) -> None:
            """Commit."""
            super().commit()

    return OneTransaction


def _graph(connection: Any, types: tuple[dict[str, Any], dict[str, Any]]) -> Any:
    """funlib's graph over a connection that is open, with empty tables and without the index of positions."""
    from funlib.persistence.graphs.pgsql_graph_database import PgSQLGraphDatabase
    from funlib.persistence.graphs.sql_graph_database import SQLGraphDataBase

    class Graph(PgSQLGraphDatabase):
        """funlib's own constructor tries to create the database, for which few users have the right."""

        def __init__(self) -> None:
            self.connection, self.cur = connection, connection.cursor()
            SQLGraphDataBase.__init__(self, "w", "position", node_attrs=types[0], edge_attrs=types[1])

        def _drop_tables(self) -> None:
            """Nothing: there are none."""

        def _create_tables(self) -> None:
            """Create the tables, with 64-bit floats."""
            super()._create_tables()
            self.cur.execute("DROP INDEX pos_index")
            for table, attributes in (("nodes", types[0]), ("edges", types[1])):
                for name, type_ in attributes.items():
                    dtype = {"position": "DOUBLE PRECISION[3]"}.get(name, "DOUBLE PRECISION")
                    if type_ is float or name == "position":
                        self.cur.execute(f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {dtype}")

    return Graph()


def require_postgres_url(url: str) -> None:
    """Refuse a URL that is not one of PostgreSQL.

    Raises:
        InputError: another scheme, something that libpq does not understand, or no name of a database.
    """
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    remedy = "write it as postgresql://user@host:port/database"
    if url.partition("://")[0] not in SCHEMES:
        raise InputError("--to", url, "the path of an SQLite file, or a URL of PostgreSQL", remedy)
    try:
        parts = parse_dsn(url)
    except ProgrammingError as error:
        raise InputError("--to", url, f"a URL of PostgreSQL ({' '.join(str(error).split())})", remedy) from error
    if not parts.get("dbname"):
        raise InputError("--to", url, "a URL that names a database", remedy)
