from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from sqlalchemy import Float, bindparam

from agentforce import Agentforce
from core.models import AgentSession
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
from storage import agent_sessions, answers, leases, outbound_messages, preferences, resend_queue
from storage import speech as storage_speech
from storage.agent_sessions import AgentSessionTable
from storage.database import Database
from storage.engine import open_postgres, open_sqlite
from storage.leases import InMemoryLeases
from storage.preferences import PreferenceTable
from storage.schema import metadata
from tests.unit.delivery_process import USER, DeliveryProcess
from text.phrases import Phrases
from turns.notices import Notices
from whatsapp import client as whatsapp_client
from whatsapp import delivery_status
from whatsapp.client import WhatsApp

START = 1_700_000_000.0
# Nothing listens there; Twilio notices only after it has taken a message.
PUBLIC_URL = "http://127.0.0.1:9"
# The modules that date what they store.
DATED = (
    resend_queue,
    agent_sessions,
    preferences,
    outbound_messages,
    leases,
    answers,
    storage_speech,
    speech_cache,
    delivery_status,
)


class Clock:
    """Seconds since the epoch; the time stands still until a test sets ``now``."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def install(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Let these modules read this clock, both as the time of day and as the monotonic time."""
        for module in modules:
            monkeypatch.setattr(module, "time", SimpleNamespace(time=self, monotonic=self))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of everything that is stored, in Python and in SQL."""
    clock = Clock()
    clock.install(monkeypatch, *DATED)
    now = bindparam(None, callable_=clock, type_=Float, unique=True)
    monkeypatch.setattr(Database, "now", now)
    return clock


def put_session(table: AgentSessionTable, sender: str, session: AgentSession) -> None:
    """Make ``session`` the sender's, in place of any other."""
    table.delete(sender)
    assert table.insert(sender, session)


def notices_of(database: Database, phrases: Phrases) -> Notices:
    """The notices of a single process."""
    return Notices(
        phrases=phrases,
        preferences=PreferenceTable(database=database),
        leases=InMemoryLeases(),
        max_seconds=3600.0,
    )


def agent_of(
    settings: Settings, *, connections: int = 4, metrics: Metrics | None = None
) -> Agentforce:
    """A client of Agentforce whose circuit breakers never open."""
    metrics = metrics or Metrics()
    session = requests_session(settings, connections=connections)
    return Agentforce(
        session=session,
        token=AccessToken(session=session, settings=settings, metrics=metrics),
        metrics=metrics,
        settings=settings,
        breakers=CircuitBreakers(failures=0, seconds=30, metrics=metrics),
        background=ThreadPoolExecutor(1),
    )


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
    return empty(request.getfixturevalue("postgres"))


def empty(database: Database) -> Database:
    """The database with all rows deleted."""
    with database.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return database


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def faults() -> Faults:
    """The faults of the Twilio stand-in."""
    return Faults()


@pytest.fixture
def twilio(faults: Faults) -> Iterator[TwilioStandIn]:
    """The Twilio stand-in alone; ``USER`` has written to its number."""
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
    monkeypatch.setattr(whatsapp_client, "LISTING_DELAY", 0.0)
    addresses = {
        "TWILIO_API_URL": twilio.url,
        "SALESFORCE_INSTANCE_URL": twilio.url,
        "PUBLIC_URL": PUBLIC_URL,
    }
    for name, value in (CREDENTIALS | addresses).items():
        monkeypatch.setenv(name, value)
    return WhatsApp(settings=load_settings(), metrics=metrics, connections=4, typing_connections=1)


@pytest.fixture
def process(
    database: Database,
    metrics: Metrics,
    clock: Clock,
    twilio: TwilioStandIn,
    faults: Faults,
    whatsapp: WhatsApp,
) -> DeliveryProcess:
    return DeliveryProcess(
        database=database,
        metrics=metrics,
        clock=clock,
        twilio=twilio,
        faults=faults,
        whatsapp=whatsapp,
    )
