"""The graph in a real PostgreSQL, read by funlib.persistence."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import psycopg2
import pytest
from funlib.geometry import Roi
from funlib.persistence.graphs import PgSQLGraphDatabase, SQLiteGraphDataBase
from pipeline_tools import Command, Refused
from postgres_server import PASSWORD, SUPERUSER, PostgresServer, missing_programs
from required import skip_or_fail

TABLES = ["edges", "fgnet_export", "metadata", "nodes"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with the database lab and the user guest, who has no rights."""
    if missing := missing_programs():
        skip_or_fail("postgres", f"PostgreSQL is not installed here ({', '.join(missing)} missing)")
    started = PostgresServer()
    try:
        started.start()
        started.execute("CREATE DATABASE lab", f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'", database="postgres")
        yield started
    finally:
        started.remove()


@pytest.fixture
def empty(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """The server with nothing in the database. The password of its users stands in the file of PGPASSFILE."""
    schemas = [name for (name,) in server.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^inf'")]
    server.execute(
        *(f"DROP SCHEMA {name} CASCADE" for name in schemas),
        "CREATE SCHEMA public",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
    )
    write_passwords(tmp_path, server, PASSWORD, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return server


def write_passwords(folder: Path, server: PostgresServer, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "passwords"
    path.write_text(f"127.0.0.1:{server.port}:*:*:{password}\n")
    path.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(path))


def found(server: PostgresServer, schema: str = "public") -> list[str]:
    """Tables of a schema."""
    query = f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1"
    return [name for (name,) in server.execute(query)]


def content(server: PostgresServer) -> list[list[tuple]]:
    """All rows of all tables, in the order in which they are stored."""
    return [server.execute(f"SELECT * FROM {name}") for name in TABLES]


def graph_of(server: PostgresServer, roi: Roi | None = None) -> nx.Graph:
    graph = PgSQLGraphDatabase(
        "position", "lab", db_host="127.0.0.1", db_port=server.port, db_user=SUPERUSER, mode="r"
    )  # fmt: skip
    try:
        return graph.read_graph(roi)
    finally:
        graph.close()


@pytest.mark.parametrize("name", ["odd_run", "lab_run"])
def test_funlib_reads_the_graph_of_the_sqlite_file(
    name: str, empty: PostgresServer, tmp_path: Path, command: Command, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(name)
    config = run / "config.toml"
    assert command("export", config, "graph", "--to", empty.url(), "--workers", 0)[0] == 0
    assert command("export", config, "graph", "--to", tmp_path / "graph.db", "--workers", 0)[0] == 0
    sqlite = SQLiteGraphDataBase(tmp_path / "graph.db", "position", "r")
    for roi in (None, Roi((20, 90, 130), (197, 203, 301))):
        one, other = graph_of(empty, roi), sqlite.read_graph(roi)
        assert len(one.edges) > 10
        for node, data in other.nodes(data=True):
            expected = {**data, "position": list(data["position"])} if data else {}
            assert one.nodes[node] == expected
        assert set(one.nodes) == set(other.nodes)
        assert nx.utils.edges_equal(one.edges(data=True), other.edges(data=True))
    sqlite.close()


def test_a_second_run_of_the_command_writes_nothing(
    finished_run: Path, empty: PostgresServer, command: Command, refused: Refused
) -> None:
    arguments = ("export", finished_run / "out.zarr", "graph", "--to", empty.url(), "--workers", 0)
    assert command(*arguments)[0] == 0
    before = empty.execute("SELECT xmin, ctid, * FROM nodes")
    assert command(*arguments)[0] == 0
    assert empty.execute("SELECT xmin, ctid, * FROM nodes") == before
    # Without its records it is a graph like any other.
    assert "another schema" in refused(*arguments, "--progress", "records")
    assert empty.execute("SELECT xmin, ctid, * FROM nodes") == before
    empty.execute("DROP TABLE nodes, edges, metadata, fgnet_export")
    assert command(*arguments)[0] == 0
    assert [row[2:] for row in empty.execute("SELECT xmin, ctid, * FROM nodes")] == [row[2:] for row in before]


def test_two_exports_share_a_database_by_schemas(
    finished_run: Path, lab_run: Path, empty: PostgresServer, command: Command, refused: Refused
) -> None:
    url = empty.url(more="?options=-csearch_path%3Dother")
    assert "CREATE SCHEMA" in refused("export", lab_run / "config.toml", "graph", "--to", url)
    empty.execute("CREATE SCHEMA other")
    assert command("export", finished_run / "out.zarr", "graph", "--to", empty.url(), "--workers", 0)[0] == 0
    assert command("export", lab_run / "config.toml", "graph", "--to", url, "--workers", 0)[0] == 0
    assert found(empty) == found(empty, "other") == TABLES
    assert empty.execute("SELECT COUNT(*) FROM nodes") != empty.execute("SELECT COUNT(*) FROM other.nodes")


@pytest.mark.parametrize("name", ["nodes", "metadata", "pos_index"])
def test_other_data_stay(name: str, finished_run: Path, empty: PostgresServer, refused: Refused) -> None:
    kind = "VIEW pos_index AS SELECT 1" if name == "pos_index" else f"TABLE {name}(mine INTEGER)"
    empty.execute(f"CREATE {kind}")
    sentence = refused("export", finished_run / "out.zarr", "graph", "--to", empty.url())
    assert f"(it has {name})" in sentence
    assert found(empty) == ([] if name == "pos_index" else [name])
    assert [path.name for path in Path.cwd().iterdir()] == ["passwords"]


def test_a_database_that_does_not_let_in_is_refused(
    finished_run: Path, empty: PostgresServer, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sentence(url: str) -> str:
        text = refused("export", finished_run / "out.zarr", "graph", "--to", url)
        assert PASSWORD not in text and "wrong one" not in text and text.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["passwords"]
        return text

    assert 'database "nowhere" does not exist' in sentence(empty.url("nowhere"))
    assert "GRANT CREATE ON SCHEMA public TO guest" in sentence(empty.url(user="guest"))
    empty.execute("CREATE SCHEMA closed")
    assert "that guest may use" in sentence(empty.url(user="guest", more="?options=-csearch_path%3Dclosed"))
    write_passwords(tmp_path, empty, "wrong one", monkeypatch)
    assert "password authentication failed" in sentence(empty.url())
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    assert "PGPASSFILE" in sentence(empty.url())
    empty.stop()
    try:
        assert "Connection refused" in sentence(empty.url())
    finally:
        empty.start()
    assert found(empty) == []


def test_a_kill_within_the_transaction_leaves_nothing_and_the_command_completes_it(
    finished_run: Path, empty: PostgresServer, command: Command
) -> None:
    arguments = ["export", finished_run / "out.zarr", "graph", "--to", empty.url()]
    assert command(*arguments, "--workers", 0, "--progress", "undisturbed")[0] == 0
    undisturbed = content(empty)
    empty.execute("DROP TABLE nodes, edges, metadata, fgnet_export")
    wait = (
        "CREATE FUNCTION wait() RETURNS event_trigger AS 'BEGIN PERFORM pg_advisory_xact_lock(1); END' LANGUAGE plpgsql"
    )
    empty.execute(
        wait, "CREATE EVENT TRIGGER w ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION wait()"
    )
    holder = empty.connect()
    holder.cursor().execute("SELECT pg_advisory_lock(1)")  # type: ignore[attr-defined]
    entry = [sys.executable, "-c", "from fgnet_pipeline.commands.entry import main; main()", *map(str, arguments)]
    with subprocess.Popen([*entry, "--workers", "2"], stderr=subprocess.DEVNULL) as process:
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        give_up = time.monotonic() + 120
        while not (pids := empty.execute(waiting)):
            assert process.poll() is None and time.monotonic() < give_up
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    empty.execute(f"SELECT pg_terminate_backend({pids[0][0]})", "DROP EVENT TRIGGER w", "DROP FUNCTION wait")
    holder.close()  # type: ignore[attr-defined]
    while empty.execute(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pids[0][0]}"):
        time.sleep(0.05)
    assert found(empty) == []
    assert command(*arguments, "--workers", 0)[0] == 0
    again = content(empty)
    assert again[0] == undisturbed[0] and again[3] == undisturbed[3]
    assert [len(rows) for rows in again] == [len(rows) for rows in undisturbed]


def test_passwords_stand_in_no_record(
    finished_run: Path, empty: PostgresServer, tmp_path: Path, command: Command
) -> None:
    assert command("export", finished_run / "out.zarr", "graph", "--to", empty.url(), "--workers", 0)[0] == 0
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or path.name == "passwords" or PASSWORD.encode() not in path.read_bytes()
    with pytest.raises(psycopg2.OperationalError):
        empty.connect(password="wrong")
