from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Float, bindparam

from agentforce import Agentforce
from core.models import AgentSession, Turn
from core.settings import Settings, load_settings
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.oauth_token import AccessToken
from http_clients.sessions import requests_session
from metrics import Metrics
from sandbox import CREDENTIALS
from sandbox.call_recorder import CallRecorder
from sandbox.faults import Faults
from sandbox.latency import INSTANT
from sandbox.postgres import Postgres
from sandbox.twilio.standin import TwilioStandIn
from speech import cache as speech_cache
from storage import agent_sessions, leases, outbound_messages, preferences
from storage import answers as kept_answers
from storage import speech as spoken_pieces
from storage.agent_sessions import AgentSessionTable
from storage.claims import Claims
from storage.database import Database
from storage.engine import open_postgres, open_sqlite
from storage.leases import InMemoryLeases
from storage.preferences import PreferenceTable
from storage.schema import metadata
from storage.turn_queue import TurnQueue
from text.phrases import Phrases
from turns.notices import Notices
from whatsapp import client as whatsapp_module
from whatsapp.client import WhatsApp

START = 1_700_000_000.0
# Nobody is there; Twilio finds that out only after it took a message.
PUBLIC_URL = "http://127.0.0.1:9"
USER = "whatsapp:+14155550100"


class Clock:
    """Seconds since the epoch, as a test wants them."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What all that keeps something takes for the time."""
    clock = Clock()
    for module in (
        agent_sessions,
        preferences,
        outbound_messages,
        leases,
        kept_answers,
        spoken_pieces,
        speech_cache,
    ):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock))
    now = bindparam(None, callable_=clock, type_=Float, unique=True)
    monkeypatch.setattr(Database, "now", now)
    return clock


def put_session(table: AgentSessionTable, sender: str, session: AgentSession) -> None:
    """Replace the sender's session, if there is one."""
    table.delete(sender)
    assert table.insert(sender, session)


def notices_of(database: Database, phrases: Phrases) -> Notices:
    """Notices of a process that is alone."""
    return Notices(
        phrases=phrases,
        preferences=PreferenceTable(database=database),
        leases=InMemoryLeases(),
        longest=3600.0,
    )


def agent_of(settings: Settings, *, width: int = 4) -> Agentforce:
    """An agent whose breakers never open."""
    metrics = Metrics()
    session = requests_session(settings, width=width)
    return Agentforce(
        session=session,
        token=AccessToken(session=session, settings=settings, metrics=metrics),
        metrics=metrics,
        settings=settings,
        breakers=CircuitBreakers(failures=0, seconds=30, metrics=metrics),
        background=ThreadPoolExecutor(1),
    )


class Unclaimed(Claims):
    """Those of a process that may do anything."""

    def __init__(self) -> None: ...

    def confirm(self, turn: Turn) -> None: ...


def begin(database: Database, turn: Turn) -> Turn:
    """The turn as whoever begins it now has it; who held it so far has lost it."""
    queue = TurnQueue(database=database, single_process=True)
    queue.release_all()
    return next(claimed for claimed in queue.claim(1000) if claimed.id == turn.id)


@pytest.fixture(scope="session")
def postgres(server: Postgres) -> Iterator[Database]:
    database = open_postgres(server.database("unit"), connections=4)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database."""
    if request.param == "sqlite":
        return open_sqlite(str(tmp_path))
    return emptied(request.getfixturevalue("postgres"))


def emptied(database: Database) -> Database:
    """Without a row."""
    with database.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return database


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def faults() -> Faults:
    """What Twilio suffers from."""
    return Faults()


@pytest.fixture
def twilio(faults: Faults) -> Iterator[TwilioStandIn]:
    """Just Twilio, to whose number ``USER`` has written."""
    standin = TwilioStandIn(
        recorder=CallRecorder(),
        faults=faults,
        latency=INSTANT,
        account_sid=CREDENTIALS["TWILIO_ACCOUNT_SID"],
        auth_token=CREDENTIALS["TWILIO_AUTH_TOKEN"],
    )
    standin.start()
    standin.open_window(USER)
    yield standin
    standin.stop()


@pytest.fixture
def whatsapp(twilio: TwilioStandIn, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> WhatsApp:
    monkeypatch.setattr(whatsapp_module, "LISTING_DELAY", 0.0)
    addresses = {
        "TWILIO_API_URL": twilio.url,
        "SALESFORCE_INSTANCE_URL": twilio.url,
        "PUBLIC_URL": PUBLIC_URL,
    }
    for name, value in (CREDENTIALS | addresses).items():
        monkeypatch.setenv(name, value)
    return WhatsApp(settings=load_settings(), metrics=metrics, width=4, typing_width=1)
