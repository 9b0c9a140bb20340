"""What every process has, web or worker, built and handed to each other."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import partial
from typing import IO

from agentforce import Agentforce
from core.logs import ContextPool
from core.settings import Settings
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.oauth_token import AccessToken
from http_clients.sessions import requests_session
from metrics import Metrics
from storage.answers import AnswerTable
from storage.claims import Claims
from storage.database import Database
from storage.engine import connect_postgres, lock_state_dir, open_database
from storage.leases import DatabaseLeases, InMemoryLeases, Leases
from storage.outbound_messages import OutboundMessages
from storage.processes import Processes
from storage.quotas import Quotas, build_quotas
from storage.speech import AudioTable
from storage.store import Store
from storage.turn_queue import TurnQueue
from text.phrases import Phrases
from turns.agent_sessions import AgentSessions
from turns.answer_cache import AnswerCache
from turns.cleanup import Cleanup
from turns.health import Health, count_workers, providers_down
from turns.notices import Notices
from turns.prewarming import Prewarmer
from turns.public_questions import public_questions
from turns.session_pool import SessionPool
from whatsapp.delivery_status import DeliveryStatuses

# All processes together share more than the memory of one holds.
SHARED_PIECES = 8
# Of the time after which a session counts as idle; the rest is for the turn that takes it.
SPARE_LIFETIME = 5 / 6


@dataclass(frozen=True)
class CommonServices:
    """Its parts, by their names."""

    settings: Settings
    metrics: Metrics
    store: Store
    outbound_messages: OutboundMessages
    quotas: Quotas
    leases: Leases
    queue: TurnQueue
    claims: Claims
    processes: Processes
    phrases: Phrases
    notices: Notices
    token: AccessToken
    breakers: CircuitBreakers
    delivery_statuses: DeliveryStatuses
    agent: Agentforce
    session_pool: SessionPool
    sessions: AgentSessions
    prewarmer: Prewarmer
    answer_cache: AnswerCache
    audio_table: AudioTable
    # Threads for what is done beside turns.
    background: ContextPool
    health: Health
    cleanup: Cleanup
    database: Database
    # Connections that turns cannot use up: for accepting messages, and for keeping what is held.
    urgent: Database
    # Keeps other processes off the SQLite file.
    held: IO[str] | None

    def settle(self) -> None:
        """Make a process that is ready quick: nothing of what it has by now will go."""
        # Looking through it all again holds everything up for 0.2 s.
        gc.collect()
        gc.freeze()

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()
        self.urgent.close()


def background_threads(settings: Settings) -> ContextPool:
    """Threads for what the turns of a process do beside themselves."""
    return ContextPool(settings.TURN_THREADS * 2, thread_name_prefix="background")


def _urgent(settings: Settings, connections: int, seconds: float) -> Database:
    database = connect_postgres(
        settings.DATABASE_URL, connections=connections, ping=False, seconds=seconds
    )
    database.open(connections)
    return database


def build_common(
    settings: Settings, background: ContextPool, *, session_pool: int, urgent: tuple[int, float]
) -> CommonServices:
    """``session_pool`` is how many sessions are kept ready.

    ``urgent`` is how many connections are kept free and how many seconds a call on them may take,
    where several processes share the database. Raises ``SettingsError``.
    """
    public = public_questions(settings)
    # Two processes on one file would both take up what a third one left.
    held = None if settings.DATABASE_URL else lock_state_dir(settings.STATE_DIR)
    database = open_database(settings)
    kept_free = _urgent(settings, *urgent) if settings.DATABASE_URL else database
    metrics = Metrics()
    quotas = Quotas(database=database, quotas=build_quotas(settings))
    store = Store(
        database=database,
        keeps_privacy=settings.ANSWER_CACHE_SECONDS > 0,
        room=quotas.admission_condition(),
    )
    queue = TurnQueue(database=database, single_process=not settings.DATABASE_URL)
    outbound_messages = OutboundMessages(database=database, note_lifetime=settings.MEDIA_LIFETIME)
    leases = DatabaseLeases(database=kept_free) if settings.DATABASE_URL else InMemoryLeases()
    processes = Processes(database=database)
    # As many as there are threads that may ask, start and end.
    http = requests_session(settings, width=settings.TURN_THREADS * 3)
    token = AccessToken(session=http, settings=settings, metrics=metrics)
    breakers = CircuitBreakers(
        failures=settings.BREAKER_FAILURES, seconds=settings.BREAKER_SECONDS, metrics=metrics
    )
    agent = Agentforce(
        session=http,
        token=token,
        metrics=metrics,
        settings=settings,
        breakers=breakers,
        background=background,
    )
    spare = SessionPool(
        agent=agent,
        metrics=metrics,
        number=session_pool,
        lifetime=settings.AGENTFORCE_SESSION_IDLE * SPARE_LIFETIME,
    )
    sessions = AgentSessions(
        agent=agent,
        session_pool=spare,
        store=store,
        leases=leases,
        metrics=metrics,
        background=background,
        idle=settings.AGENTFORCE_SESSION_IDLE,
    )
    phrases = Phrases(default=settings.DEFAULT_LANGUAGE)
    # Without workers elsewhere this process is its own.
    workers = partial(count_workers, processes) if settings.DATABASE_URL else lambda: 1
    down = partial(providers_down, processes) if settings.DATABASE_URL else breakers.providers_down
    health = Health(backlog=store.backlog, workers=workers, down=down)
    pieces = AudioTable(database=database, most_bytes=SHARED_PIECES * settings.SPEECH_CACHE_BYTES)
    answers = AnswerTable(database=database, lifetime=settings.ANSWER_CACHE_SECONDS)
    return CommonServices(
        settings=settings,
        metrics=metrics,
        store=store,
        outbound_messages=outbound_messages,
        quotas=quotas,
        leases=leases,
        queue=queue,
        claims=Claims(
            queue=queue, renewals=TurnQueue(database=kept_free, single_process=queue.single_process)
        ),
        processes=processes,
        phrases=phrases,
        notices=Notices(phrases=phrases, store=store),
        token=token,
        breakers=breakers,
        delivery_statuses=DeliveryStatuses(
            database=database, metrics=metrics, log_key=settings.TWILIO_AUTH_TOKEN
        ),
        agent=agent,
        session_pool=spare,
        sessions=sessions,
        prewarmer=Prewarmer(
            store=store,
            sessions=sessions,
            pool=background,
            limit=settings.TURN_DEADLINE,
            threads=settings.TURN_THREADS,
        ),
        answer_cache=AnswerCache(
            store=store,
            answers=answers,
            public=public,
            metrics=metrics,
            agent_id=settings.AGENTFORCE_AGENT_ID,
            enabled=settings.ANSWER_CACHE_SECONDS > 0,
        ),
        audio_table=pieces,
        background=background,
        health=health,
        cleanup=Cleanup(
            database=database,
            store=store,
            outbound_messages=outbound_messages,
            leases=leases,
            processes=processes,
            caches=(pieces, answers),
            sessions=sessions,
            health=health,
            retention=settings.RETENTION_HOURS * 3600,
            session_idle=settings.AGENTFORCE_SESSION_IDLE,
        ),
        database=database,
        urgent=kept_free,
        held=held,
    )
