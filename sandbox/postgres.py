"""Runs a private PostgreSQL server, of any version that is installed.

docs/decisions.md, "Libraries used or refused", says why pytest-postgresql and the wheel's own API
are not used.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
from psycopg import sql

from sandbox.postgres_programs import Programs, bundled_server
from sandbox.service import Service

# Part of the socket's file name. It is always passed explicitly, so that PGPORT has no effect.
PORT = 5432
START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02

# Faster, and safe enough for tests: data survives the server's end, but not the machine's.
_FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}

# $0 is the home folder, $@ the server's command, which replaces this shell. A subshell waits in the
# background for the end of the standard input: it comes when our process has ended without stopping
# the server. Then the subshell stops the server, even if it is paused, and deletes its data.
_START_SCRIPT = """
exec 3<&0
( (
    read -r _ <&3 || {
        kill -INT $$
        kill -CONT $(cat /proc/$$/task/$$/children) $$
        for _ in $(seq 100); do [ -e "$0/data/postmaster.pid" ] && sleep 0.1; done
        rm -rf "$0"
    }
) & )
exec "$@" 3<&- </dev/null
"""


class PostgresDied(RuntimeError):
    """The server ended or was not ready in time; the message is the end of its log."""


class Postgres(Service):
    """One server on a Unix socket, which logs to ``folder/postgres.log``.

    ``programs`` decide the version, by default that of requirements-sandbox.txt. The data is
    created at the first start in a temporary folder. It survives ``stop`` and ``start``, and is
    deleted by ``close`` or when this process ends. Use it as a context manager, or call ``start``
    and ``close``.
    """

    def __init__(self, folder: Path, programs: Programs | None = None) -> None:
        self._installed = programs or bundled_server()
        # The programs that run: a copy, if the server's user cannot read the installed ones.
        self._programs = self._installed
        self._log_file = folder / "postgres.log"
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The PID of the server. Raises ``RuntimeError`` while it is stopped."""
        if self._server is None:
            raise RuntimeError("PostgreSQL is not running")
        return self._server.pid

    def start(self) -> None:
        """Return when it accepts connections. Raises ``PostgresDied``."""
        if self._home is None:
            self._create_data()
        self._server = self._launch()
        try:
            self._wait_until_ready(self._server)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Close all connections and stop; the data is kept."""
        if self._server is None:
            return
        server, self._server = self._server, None
        _resume(server.pid)
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        _stop_watching(server)

    def close(self) -> None:
        """Stop and delete the data."""
        self.stop()
        if self._home is not None:
            self._home.cleanup()
            self._home = None

    def restart(self) -> None:
        """Stop and start; clients lose their connections, the data is kept."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Suspend it: clients stay connected and get no answer until ``resume``."""
        server = psutil.Process(self.pid)
        # The parent first, so that it starts no more children.
        server.suspend()
        for child in server.children():
            child.suspend()

    def resume(self) -> None:
        _resume(self.pid)

    @property
    def socket(self) -> Path:
        """The socket it listens on. Raises ``RuntimeError`` before the first start."""
        return self._folder / f".s.PGSQL.{PORT}"

    def url(self, database: str) -> str:
        """The URL of ``database`` for psycopg and SQLAlchemy."""
        return f"postgresql://postgres@/{database}?host={self._folder}&port={PORT}"

    def database(self, name: str) -> str:
        """Create the empty database ``name``, replacing an existing one; returns its URL."""
        identifier = sql.Identifier(name)
        with self._connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        return self.url(name)

    def connections(self, name: str) -> int:
        """The number of clients that are connected to the database ``name``."""
        return self._count("count(*)", name)

    def kill_connections(self, name: str) -> int:
        """Close all client connections to the database ``name``; returns their number."""
        return self._count("count(pg_terminate_backend(pid, 5000))", name)

    def log(self) -> str:
        """Everything it has logged."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _folder(self) -> Path:
        if self._home is None:
            raise RuntimeError("PostgreSQL was not started")
        return Path(self._home.name)

    def _create_data(self) -> None:
        self._home = _create_home()
        self._programs = self._prepare_home(Path(self._home.name))
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        options = "--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync".split()
        with self._log_file.open("ab") as log:
            initdb = subprocess.run(
                [self._program("initdb"), "--pgdata", self._folder / "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                check=False,
                **_unprivileged(),
            )
        if initdb.returncode:
            self.close()
            raise self._start_error()

    def _prepare_home(self, home: Path) -> Programs:
        """Give ``home`` to the server's user; returns programs that this user can run."""
        user = _unprivileged()
        if not user:
            return self._installed
        programs = self._installed.accessible_from(home)
        for path in (home, *home.rglob("*")):
            os.chown(path, user["user"], user["group"], follow_symlinks=False)
        return programs

    def _launch(self) -> subprocess.Popen[bytes]:
        socket = {"listen_addresses": "", "unix_socket_directories": self._folder, "port": PORT}
        options = [f"--{name}={value}" for name, value in (_FAST_SETTINGS | socket).items()]
        server = [str(self._program("postgres")), "-D", f"{self._folder}/data", *options]
        with self._log_file.open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _START_SCRIPT, str(self._folder), *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                # Ctrl-C in a terminal must not reach the server: ``stop`` ends it in order.
                start_new_session=True,
                **_unprivileged(),
            )

    def _program(self, name: str) -> Path:
        return self._programs.folder / "bin" / name

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), self._connect():
                return
            time.sleep(POLL_SECONDS)
        raise self._start_error()

    def _start_error(self) -> PostgresDied:
        return PostgresDied("\n".join(self.log().splitlines()[-20:]))

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=10)

    def _count(self, aggregate: LiteralString, name: str) -> int:
        query: LiteralString = (
            f"SELECT {aggregate} FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND datname = %s AND pid <> pg_backend_pid()"
        )
        with self._connect() as admin:
            row = admin.execute(query, [name]).fetchone()
        return int(row[0]) if row else 0


def _create_home() -> tempfile.TemporaryDirectory[str]:
    """A folder that only the server's user and root can access.

    It is always in /tmp: the path of a socket is limited to 107 characters, and the server's user
    must be able to access all parent folders.
    """
    return tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp", ignore_cleanup_errors=True)


def _unprivileged() -> dict[str, Any]:
    """Arguments of ``subprocess`` that run a child as nobody, if we are root.

    PostgreSQL refuses to run as root.
    """
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _resume(pid: int) -> None:
    """Resume the server and its children; does nothing if they are not suspended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        for child in server.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.resume()
        server.resume()


def _stop_watching(server: subprocess.Popen[bytes]) -> None:
    """End the subshell of ``_START_SCRIPT``, so that it does not delete the data."""
    assert server.stdin is not None
    with contextlib.suppress(OSError):
        server.stdin.write(b"\n")
        server.stdin.close()
