"""Opening the database, new or old, and refusing what cannot hold it."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, insert, inspect, select, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool

from core.errors import SettingsError
from core.models import Inbound, Kind
from sandbox.postgres import Postgres
from storage import engine as storage_engine
from storage.database import Database, StorageError
from storage.engine import FILE_NAME, lock_state_dir, open_postgres, open_sqlite
from storage.schema import metadata, outbound_messages, preferences
from storage.turns import TurnTable

# SQLAlchemy cannot read them back from SQLite, so another test compares them.
EXPRESSION_INDEXES = pytest.mark.filterwarnings("ignore:.*expression-based index")


def languages(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.execute(select(preferences.c.language)).scalars())


def add_language(database: Database, sender: str, language: str) -> None:
    with database.engine.begin() as connection:
        row = {"sender": sender, "language": language, "used_at": 1.0}
        connection.execute(insert(preferences).values(row))


def differences(database: Database) -> list[object]:
    options = {"compare_type": True}
    with database.engine.connect() as connection:
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )


@EXPRESSION_INDEXES
def test_the_migrations_produce_the_schema(tmp_path: Path) -> None:
    assert differences(open_sqlite(str(tmp_path))) == []


def test_the_migrations_produce_the_schema_in_postgresql(each_server: Postgres) -> None:
    """Even if several processes start at the same time."""
    url = each_server.database("schema")
    with ThreadPoolExecutor(4) as pool:
        databases = list(pool.map(lambda _: open_postgres(url, connections=1), range(4)))
    assert differences(databases[0]) == []
    for database in databases:
        database.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql://me:very-secret@127.0.0.1:1/bridge", "refused"),
        ("postgresql://me:made-up@very-secret@nowhere.invalid/bridge", "nowhere.invalid"),
        ("postgresql://me:very-secret@nowhere.invalid/bridge", "nowhere.invalid"),
    ],
)
def test_a_database_that_cannot_be_reached_stops_the_start_with_one_sentence(
    address: str, reason: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        open_postgres(address, connections=1, wait_seconds=0)
    error = str(raised.value)
    assert re.fullmatch(r"the database of DATABASE_URL [^\n]{1,400}", error)
    assert reason in error
    assert "very-secret" not in error


def test_a_database_that_is_missing_is_named(server: Postgres) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        open_postgres(server.url("missing"), connections=1, wait_seconds=0)


def test_a_server_that_is_about_to_start_is_waited_for(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Postgres(tmp_path_factory.mktemp("restarting")) as server:
        url = server.database("bridge")
        server.stop()
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(open_postgres, url, connections=1)
            server.start()
            opening.result().close()


@EXPRESSION_INDEXES
def test_the_migrations_produce_the_constraints_of_the_schema(tmp_path: Path) -> None:
    """Alembic's autogenerate does not compare constraints without a name."""
    created = create_engine("sqlite://")
    metadata.create_all(created)
    migrated = open_sqlite(str(tmp_path))
    for table in metadata.tables:
        assert constraints(created, table) == constraints(migrated.engine, table)


def test_the_migrations_lead_to_the_same_indexes(tmp_path: Path) -> None:
    """SQLAlchemy does not read those of expressions back from SQLite."""
    drawn = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(drawn)
    assert index_statements(drawn) == index_statements(open_sqlite(str(tmp_path)).engine)


def index_statements(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        statements = connection.exec_driver_sql(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        )
        return {" ".join(str(statement).split()) for statement in statements.scalars()}


def constraints(engine: Engine, table: str) -> tuple[object, ...]:
    seen = inspect(engine)
    return (
        seen.get_unique_constraints(table),
        seen.get_foreign_keys(table),
        seen.get_pk_constraint(table),
        [index | {"dialect_options": conditions(index)} for index in seen.get_indexes(table)],
    )


def conditions(index: ReflectedIndex) -> dict[str, str]:
    return {name: str(text) for name, text in index.get("dialect_options", {}).items()}


def test_a_missing_folder_is_created_for_the_service_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "100% new"
    open_sqlite(str(folder))
    assert (folder / FILE_NAME).is_file()
    assert folder.stat().st_mode & 0o077 == 0


def test_rows_survive_reopening(tmp_path: Path) -> None:
    first = open_sqlite(str(tmp_path))
    add_language(first, "ana", "en")
    first.close()
    assert languages(open_sqlite(str(tmp_path))) == ["en"]


def test_a_file_may_be_opened_twice(tmp_path: Path) -> None:
    """As while one process is being replaced by the next."""
    first, second = open_sqlite(str(tmp_path)), open_sqlite(str(tmp_path))
    add_language(first, "ana", "en")
    add_language(second, "ben", "ar")
    assert languages(first) == languages(second) == ["en", "ar"]


def test_committed_rows_survive_a_killed_process(tmp_path: Path) -> None:
    """The copied files include a write-ahead log that was not checkpointed."""
    database = open_sqlite(str(tmp_path / "live"))
    add_language(database, "ana", "en")
    shutil.copytree(tmp_path / "live", tmp_path / "found")
    assert languages(open_sqlite(str(tmp_path / "found"))) == ["en"]


def test_every_connection_has_a_write_ahead_log_and_checks_foreign_keys(tmp_path: Path) -> None:
    database = open_sqlite(str(tmp_path))
    for _ in range(2):
        with database.engine.connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
            # NORMAL
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 1
        database.close()
    with pytest.raises(IntegrityError), database.engine.begin() as connection:
        connection.execute(insert(outbound_messages).values(turn_id=1, part="voice", begun_at=1.0))


def test_the_migrations_work_in_a_folder_with_a_percent_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(storage_engine.MIGRATIONS, tmp_path / "50%(x)s")
    monkeypatch.setattr(storage_engine, "MIGRATIONS", tmp_path / "50%(x)s")
    assert languages(open_sqlite(str(tmp_path / "state"))) == []


def not_a_folder(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file"


def under_a_file(folder: Path) -> Path:
    return not_a_folder(folder) / "state"


def no_database(folder: Path) -> Path:
    (folder / FILE_NAME).write_bytes(b"not a database" * 1000)
    return folder


def a_folder_instead(folder: Path) -> Path:
    (folder / FILE_NAME).mkdir()
    return folder


def of_a_newer_service(folder: Path) -> Path:
    open_sqlite(str(folder)).close()
    with sqlite3.connect(folder / FILE_NAME) as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
    return folder


def of_something_else(folder: Path) -> Path:
    with sqlite3.connect(folder / FILE_NAME) as file:
        file.execute("CREATE TABLE turns (x)")
    return folder


@pytest.mark.parametrize(
    ("unusable", "reason"),
    [
        (not_a_folder, "File exists"),
        (under_a_file, "Not a directory"),
        (no_database, "file is not a database"),
        (a_folder_instead, "unable to open database file"),
        (of_a_newer_service, "9999"),
        (of_something_else, "already exists"),
        (lambda _: Path("/proc/state"), "No such file"),
    ],
)
def test_an_unusable_folder_stops_the_start_with_one_sentence(
    tmp_path: Path, unusable: Callable[[Path], Path], reason: str
) -> None:
    folder = str(unusable(tmp_path))
    with pytest.raises(SettingsError) as raised:
        open_sqlite(folder)
    error = str(raised.value)
    assert error.startswith(f"STATE_DIR {folder!r} cannot hold the database (")
    assert re.fullmatch(r"[^\n]{1,300}", error)
    assert reason in error


def test_a_folder_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    held = lock_state_dir(str(tmp_path))
    with pytest.raises(SettingsError, match="another process uses STATE_DIR"):
        lock_state_dir(str(tmp_path), wait_seconds=0)
    held.close()
    lock_state_dir(str(tmp_path), wait_seconds=0).close()


def test_an_error_does_not_quote_the_message(tmp_path: Path) -> None:
    """The message goes to the log, with the statement but without its values."""
    store = TurnTable(database=open_sqlite(str(tmp_path)))
    with store._database.engine.begin() as connection:
        connection.execute(text("DROP TABLE turns"))
    with pytest.raises(StorageError) as raised:
        store.insert(Inbound(sid="SM1", sender="whatsapp:+1", kind=Kind.TEXT, text="a secret"))
    assert "a secret" not in str(raised.value)
    assert "whatsapp" not in str(raised.value)
