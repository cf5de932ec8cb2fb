"""A real PostgreSQL for tests: its own data, on a free port of the loopback device, as an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

#: Debian keeps the server's programs outside PATH.
PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
SUPERUSER, PASSWORD = "chief", "only for tests"


def missing_programs() -> list[str]:
    """Programs of the server that are not installed."""
    return [name for name in ("initdb", "postgres") if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([*map(str, PLACES), os.environ.get("PATH", "")]))


def _as_user() -> list[str]:
    """The server refuses to run as root."""
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.geteuid() == 0 else []


class PostgresServer:
    """A server whose users need a password (scram-sha-256).

    Its data lie in a folder of the system's temporary one, which every user can enter.

    Attributes:
        port: on 127.0.0.1.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.data = self.folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the data if there are none, and start the server."""
        if not self.data.exists():
            self._make()
        options = ["-p", self.port, "-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "log_statement=all"]
        command = [*_as_user(), _program("postgres"), "-D", self.data, *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, cwd=self.folder)
        for _ in range(600):
            if self._process.poll() is None and (self.data / "postmaster.pid").exists():
                if (self.data / "postmaster.pid").read_text().splitlines()[-1].strip() == "ready":
                    return
            elif self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def _make(self) -> None:
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        secret = self.folder / "password"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o644)
        options = ["-U", SUPERUSER, "--pwfile", secret, "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C"]
        command = [*_as_user(), _program("initdb"), "-D", self.data, *options]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=self.folder)

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self.folder)

    def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            self._process.terminate()  # SIGTERM waits for clients
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.send_signal(3)  # SIGQUIT does not
                self._process.wait()
            self._process = None

    def url(self, database: str = "lab", user: str = SUPERUSER, more: str = "") -> str:
        """A URL without a password."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}{more}"

    def connect(self, database: str = "lab", user: str = SUPERUSER, password: str = PASSWORD) -> object:
        """A connection of psycopg2 that commits every statement."""
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, dbname=database, user=user, password=password
        )  # fmt: skip
        connection.autocommit = True
        return connection

    def execute(self, *statements: str, database: str = "lab") -> list[tuple]:
        """Run statements as the superuser; returns the rows of the last one."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()
