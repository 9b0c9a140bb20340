"""A PostgreSQL server of one's own, of any version that this machine has."""

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

# Part of the socket's name; said everywhere, so that a PGPORT of this shell changes nothing.
PORT = 5432
START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02

# The data is lost with the machine, not with the server: faster, and nobody here needs more.
_SPEED = {"fsync": "off", "full_page_writes": "off"}

# $0 is the home, $@ the server, which becomes this process. The end of our input means that whoever
# started us is gone without stopping the server, paused or not; then nobody needs its data either.
_WATCHED = """
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
    """The server ended instead of starting; the message holds the end of its log."""


class Postgres(Service):
    """One server on a Unix socket, logging to ``folder/postgres.log``.

    ``programs`` say of which version, by default the one in requirements-sandbox.txt. Its data is
    new, lies in the system's folder for temporary files, survives ``stop`` and ``start``, and goes
    with ``close`` or when this process ends. Use it as a context manager, or ``start`` and
    ``close`` it.
    """

    def __init__(self, folder: Path, programs: Programs | None = None) -> None:
        self._installed = programs or bundled_server()
        # What runs; for another user than ours, what lies in its home.
        self._programs = self._installed
        self._log_file = folder / "postgres.log"
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process. Raises ``RuntimeError`` while it is stopped."""
        return self._running().pid

    def start(self) -> None:
        """Return once it takes connections. Raises ``PostgresDied``."""
        if self._home is None:
            self._create()
        self._server = self._launch()
        try:
            self._wait_until_ready(self._server)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Hang up on every client and stop; the data stays."""
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
        _dismiss_watcher(server)

    def close(self) -> None:
        """Stop and delete the data."""
        self.stop()
        if self._home is not None:
            self._home.cleanup()
            self._home = None

    def restart(self) -> None:
        """Stop and start; clients lose their connections, the data stays."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: clients stay connected and get no answer until ``resume``."""
        server = psutil.Process(self.pid)
        # The server first, so that it starts no more children.
        server.suspend()
        for child in server.children():
            child.suspend()

    def resume(self) -> None:
        _resume(self.pid)

    @property
    def socket(self) -> Path:
        """Where it listens. Raises ``RuntimeError`` before the first start."""
        return self._folder / f".s.PGSQL.{PORT}"

    def url(self, database: str) -> str:
        """The address of ``database`` for psycopg and SQLAlchemy."""
        return f"postgresql://postgres@/{database}?host={self._folder}&port={PORT}"

    def database(self, name: str) -> str:
        """Create the empty database ``name``, instead of one that has this name; its address."""
        identifier = sql.Identifier(name)
        with self._connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        return self.url(name)

    def connections(self, name: str) -> int:
        """How many clients are connected to the database ``name``."""
        return self._count("count(*)", name)

    def kill_connections(self, name: str) -> int:
        """Hang up on the clients of the database ``name``; how many there were."""
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

    def _running(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            raise RuntimeError("PostgreSQL is not running")
        return self._server

    def _create(self) -> None:
        self._home = _new_home()
        self._programs = self._settled(Path(self._home.name))
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        options = "--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync".split()
        with self._log_file.open("ab") as log:
            made = subprocess.run(
                [self._program("initdb"), "--pgdata", self._folder / "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                check=False,
                **_unprivileged(),
            )
        if made.returncode:
            self.close()
            raise self._died()

    def _settled(self, home: Path) -> Programs:
        """What the server's user can run, once all of ``home`` is theirs."""
        server = _unprivileged()
        if not server:
            return self._installed
        programs = self._installed.open_to_all(home)
        for path in (home, *home.rglob("*")):
            os.chown(path, server["user"], server["group"], follow_symlinks=False)
        return programs

    def _launch(self) -> subprocess.Popen[bytes]:
        socket = {"listen_addresses": "", "unix_socket_directories": self._folder, "port": PORT}
        options = [f"--{name}={value}" for name, value in (_SPEED | socket).items()]
        server = [str(self._program("postgres")), "-D", f"{self._folder}/data", *options]
        with self._log_file.open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, str(self._folder), *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                # Ctrl-C in a terminal is for whoever started us; we are stopped in our turn.
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
        raise self._died()

    def _died(self) -> PostgresDied:
        return PostgresDied("\n".join(self.log().splitlines()[-20:]))

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=10)

    def _count(self, what: LiteralString, name: str) -> int:
        query: LiteralString = (
            f"SELECT {what} FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND datname = %s AND pid <> pg_backend_pid()"
        )
        with self._connect() as admin:
            row = admin.execute(query, [name]).fetchone()
        return int(row[0]) if row else 0


def _new_home() -> tempfile.TemporaryDirectory[str]:
    """A folder that only the server's user, and root, may enter.

    In /tmp whatever TMPDIR says: a socket's path has 107 characters at most, and every folder on
    the way must let the server's user through.
    """
    return tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp", ignore_cleanup_errors=True)


def _unprivileged() -> dict[str, Any]:
    """What lets a child of root run as nobody; PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _resume(pid: int) -> None:
    """Let the server and its children run on; does nothing where they do."""
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        for child in server.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.resume()
        server.resume()


def _dismiss_watcher(server: subprocess.Popen[bytes]) -> None:
    """Tell it that the server was stopped, so that it leaves the data alone."""
    assert server.stdin is not None
    with contextlib.suppress(OSError):
        server.stdin.write(b"\n")
        server.stdin.close()
