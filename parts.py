"""Makes the parts and hands them to each other: for one process alone, for web, for workers."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import IO, Protocol

from sqlalchemy import Engine

from access_token import AccessToken
from addresses import PublicAdapter
from agent_sessions import AgentSessions
from agentforce import Agentforce
from answer_cache import AnswerCache
from audio import Ffmpeg
from breakers import Breakers
from connections import requests_session
from conversation import Conversation
from database import hold, open_database
from delivery import Delivery
from figures import Figures
from health import Health, clouds_down, count_workers
from housekeeping import Housekeeper
from inbound import Inbound
from inbox import Acceptance, Inbox
from kept_answers import KeptAnswers
from leases import Leases
from logs import ContextPool
from media import Media
from metrics import Metrics
from narration import Narration
from phrases import Phrases
from prewarming import Prewarmer
from processes import Processes
from public_questions import public_questions
from quotas import Quotas, quotas_of
from receipts import Receipts
from recording import Recorder
from redelivery import Redelivery
from refusals import Refusals
from runner import Runner
from sendings import Sendings
from settings import Settings
from shared_inbox import SharedInbox
from shared_metrics import SharedMetrics
from spare_sessions import SpareSessions
from speech import Speech, Voice
from speech_cache import SpeechCache
from spoken_pieces import SpokenPieces
from standard_replies import StandardReplies
from store import Store
from turn_queue import TurnQueue, TurnWorker
from warming import Routes, Warmer
from whatsapp import WhatsApp

# A web process starts sessions for turns that workers run.
PREWARM_THREADS = 16
# All processes together share more than the memory of one holds.
SHARED_PIECES = 8
# What ending spare sessions may add to a stop.
END_SECONDS = 2.0
# Of the time after which a session counts as idle; the rest is for the turn that takes it.
SPARE_LIFETIME = 5 / 6


class AnyInbox(Protocol):
    """Where the webhook hands messages in: ``inbox.py`` or ``shared_inbox.py``."""

    def accept(self, message: Inbound) -> Acceptance: ...

    def recover(self) -> int: ...

    def close(self, timeout: float) -> bool: ...


@dataclass(frozen=True)
class Base:
    """What every process has."""

    settings: Settings
    metrics: Metrics
    store: Store
    sendings: Sendings
    quotas: Quotas
    leases: Leases
    processes: Processes
    phrases: Phrases
    replies: StandardReplies
    token: AccessToken
    breakers: Breakers
    agent: Agentforce
    spares: SpareSessions
    sessions: AgentSessions
    answer_cache: AnswerCache
    pieces: SpokenPieces
    # Threads for what is done beside turns.
    aside: ContextPool
    health: Health
    housekeeper: Housekeeper
    engine: Engine
    # Keeps other processes off the SQLite file.
    held: IO[str] | None


@dataclass(frozen=True)
class WebParts:
    """What answers webhooks."""

    base: Base
    inbox: AnyInbox
    refusals: Refusals
    prewarmer: Prewarmer
    receipts: Receipts
    warmer: Warmer
    # Only where this process runs turns too.
    redelivery: Redelivery | None = None
    # Only where several processes share a database.
    shared: SharedMetrics | None = None

    def figures(self) -> dict[str, Figures]:
        """By process; where there is but one it has no name."""
        return self.shared.figures() if self.shared else {"": self.base.metrics.figures()}

    def start(self) -> None:
        """Let the threads begin that serve no message."""
        _start(self.base, self.warmer)
        if self.redelivery:
            self.redelivery.start()

    def close(self, timeout: float) -> bool:
        """Let running turns finish and figures be kept; ``False`` if some turns still run."""
        self.base.spares.stop()
        self.warmer.stop()
        finished = self.inbox.close(timeout)
        self.base.spares.join(END_SECONDS)
        self.receipts.stop()
        if self.redelivery:
            self.redelivery.stop()
        if self.shared:
            self.shared.stop()
        return finished


@dataclass(frozen=True)
class WorkerParts:
    """What runs turns for web processes elsewhere."""

    base: Base
    worker: TurnWorker
    redelivery: Redelivery
    shared: SharedMetrics
    speech: Speech
    warmer: Warmer

    def start(self) -> None:
        """Let the threads begin that run no turn."""
        _start(self.base, self.warmer)
        self.redelivery.start()
        self.shared.start()


def _start(base: Base, warmer: Warmer) -> None:
    base.housekeeper.start()
    if base.settings.KEEP_WARM:
        warmer.start()
        base.spares.start()


def build_web(settings: Settings) -> WebParts:
    """A process that answers webhooks; it also runs their turns where it is alone."""
    if not settings.DATABASE_URL:
        return _alone(_base(settings, _aside(settings), spares=settings.AGENTFORCE_SPARE_SESSIONS))
    aside = ContextPool(PREWARM_THREADS, thread_name_prefix="prewarm")
    base = _base(settings, aside, spares=settings.AGENTFORCE_SPARE_SESSIONS)
    queue = TurnQueue(engine=base.engine)
    shared = _shared(base, "web")
    shared.start()
    return WebParts(
        base=base,
        inbox=SharedInbox(store=base.store, queue=queue, limit=settings.INBOX_LIMIT),
        refusals=_refusals(base),
        prewarmer=Prewarmer(sessions=base.sessions, pool=aside, limit=settings.TURN_DEADLINE),
        receipts=_receipts(base),
        warmer=Warmer(token=base.token, clients=[base.agent.routes]),
        shared=shared,
    )


def build_worker(settings: Settings) -> WorkerParts:
    """A process that runs turns; ``DATABASE_URL`` must be set."""
    # The web processes start sessions; spare ones are of use there.
    base = _base(settings, _aside(settings), spares=0)
    talk = _Talk(base)
    worker = TurnWorker(
        url=settings.DATABASE_URL,
        store=base.store,
        leases=base.leases,
        runner=talk.runner,
        queue=TurnQueue(engine=base.engine),
        threads=settings.TURN_THREADS,
    )
    shared = _shared(base, "worker")
    return WorkerParts(
        base=base,
        worker=worker,
        redelivery=talk.redelivery,
        shared=shared,
        speech=talk.speech,
        warmer=Warmer(token=base.token, clients=talk.routes),
    )


def _aside(settings: Settings) -> ContextPool:
    return ContextPool(settings.TURN_THREADS * 2, thread_name_prefix="aside")


def _base(settings: Settings, aside: ContextPool, *, spares: int) -> Base:
    public = public_questions(settings)
    # Two processes on one file would both take up what a third one left.
    held = None if settings.DATABASE_URL else hold(settings.STATE_DIR)
    engine = open_database(settings)
    metrics = Metrics()
    quotas = Quotas(engine=engine, quotas=quotas_of(settings))
    store = Store(
        engine=engine,
        notes_asked=settings.ANSWER_CACHE_SECONDS > 0,
        room=quotas.room(),
    )
    sendings = Sendings(engine=engine, note_lifetime=settings.MEDIA_LIFETIME)
    leases, processes = Leases(engine=engine), Processes(engine=engine)
    # As many as there are threads that may ask, start and end.
    http = requests_session(settings, width=settings.TURN_THREADS * 3)
    token = AccessToken(session=http, settings=settings, metrics=metrics)
    breakers = Breakers(
        failures=settings.BREAKER_FAILURES, seconds=settings.BREAKER_SECONDS, metrics=metrics
    )
    agent = Agentforce(
        session=http,
        token=token,
        metrics=metrics,
        settings=settings,
        breakers=breakers,
        drains=aside,
    )
    spare = SpareSessions(
        agent=agent,
        metrics=metrics,
        number=spares,
        lifetime=settings.AGENTFORCE_SESSION_IDLE * SPARE_LIFETIME,
    )
    sessions = AgentSessions(
        agent=agent,
        spares=spare,
        store=store,
        leases=leases,
        metrics=metrics,
        beside=aside,
        idle=settings.AGENTFORCE_SESSION_IDLE,
    )
    phrases = Phrases(default=settings.DEFAULT_LANGUAGE)
    # Without workers elsewhere this process is its own.
    workers = partial(count_workers, processes) if settings.DATABASE_URL else lambda: 1
    down = partial(clouds_down, processes) if settings.DATABASE_URL else breakers.tripped
    health = Health(backlog=store.backlog, workers=workers, down=down)
    pieces = SpokenPieces(engine=engine, most_bytes=SHARED_PIECES * settings.SPEECH_CACHE_BYTES)
    answers = KeptAnswers(engine=engine, lifetime=settings.ANSWER_CACHE_SECONDS)
    return Base(
        settings=settings,
        metrics=metrics,
        store=store,
        sendings=sendings,
        quotas=quotas,
        leases=leases,
        processes=processes,
        phrases=phrases,
        replies=StandardReplies(phrases=phrases, store=store),
        token=token,
        breakers=breakers,
        agent=agent,
        spares=spare,
        sessions=sessions,
        answer_cache=AnswerCache(
            store=store,
            answers=answers,
            public=public,
            metrics=metrics,
            agent_id=settings.AGENTFORCE_AGENT_ID,
            enabled=settings.ANSWER_CACHE_SECONDS > 0,
        ),
        pieces=pieces,
        aside=aside,
        health=health,
        housekeeper=Housekeeper(
            store=store,
            sendings=sendings,
            leases=leases,
            processes=processes,
            caches=(pieces, answers),
            sessions=sessions,
            health=health,
            retention=settings.RETENTION_HOURS * 3600,
            session_idle=settings.AGENTFORCE_SESSION_IDLE,
        ),
        engine=engine,
        held=held,
    )


def _alone(base: Base) -> WebParts:
    talk = _Talk(base)
    inbox = Inbox(
        store=base.store,
        leases=base.leases,
        runner=talk.runner,
        pool=ThreadPoolExecutor(base.settings.TURN_THREADS, thread_name_prefix="turn"),
        suspects=ThreadPoolExecutor(1, thread_name_prefix="suspect"),
        limit=base.settings.INBOX_LIMIT,
    )
    return WebParts(
        base=base,
        inbox=inbox,
        refusals=_refusals(base),
        prewarmer=talk.prewarmer,
        receipts=talk.receipts,
        warmer=Warmer(token=base.token, clients=talk.routes),
        redelivery=talk.redelivery,
    )


def _refusals(base: Base) -> Refusals:
    retention = base.settings.RETENTION_HOURS * 3600
    return Refusals(replies=base.replies, leases=base.leases, longest=retention)


def _shared(base: Base, kind: str) -> SharedMetrics:
    return SharedMetrics(
        metrics=base.metrics, breakers=base.breakers, processes=base.processes, kind=kind
    )


def _receipts(base: Base) -> Receipts:
    return Receipts(
        engine=base.engine, metrics=base.metrics, log_key=base.settings.TWILIO_AUTH_TOKEN
    )


class _Talk:
    """What running turns takes."""

    def __init__(self, base: Base) -> None:
        settings, metrics, store = base.settings, base.metrics, base.store
        threads, aside = settings.TURN_THREADS, base.aside
        ffmpeg = Ffmpeg(path=settings.FFMPEG_PATH, longest_seconds=settings.VOICE_NOTE_MAX_SECONDS)
        whatsapp = WhatsApp(
            settings=settings, metrics=metrics, width=threads, typing_width=threads * 2
        )
        # Transcriptions of as many turns, and as many pieces of speech.
        self.speech = Speech(
            settings=settings,
            ffmpeg=ffmpeg,
            metrics=metrics,
            breakers=base.breakers,
            width=threads * 2,
        )
        media = _media(settings)
        self.routes: list[Routes] = [
            base.agent.routes,
            whatsapp.routes,
            media.routes,
            self.speech.routes,
        ]
        self.prewarmer = Prewarmer(sessions=base.sessions, pool=aside, limit=settings.TURN_DEADLINE)
        conversation = Conversation(
            whatsapp=whatsapp,
            delivery=Delivery(whatsapp=whatsapp, sendings=base.sendings, metrics=metrics),
            sessions=base.sessions,
            answer_cache=base.answer_cache,
            prewarmer=self.prewarmer,
            recorder=Recorder(
                media=media,
                ffmpeg=ffmpeg,
                longest_seconds=settings.VOICE_NOTE_MAX_SECONDS,
            ),
            speech=self.speech,
            narrate=partial(
                Narration,
                speech=_voice(base, self.speech, aside),
                ffmpeg=ffmpeg,
                phrases=base.phrases,
                metrics=metrics,
                pool=ContextPool(threads, thread_name_prefix="speak"),
                longest=settings.SPEECH_MAX_CHARACTERS,
            ),
            phrases=base.phrases,
            replies=base.replies,
            store=store,
            metrics=metrics,
            settings=settings,
            answers=ContextPool(threads, thread_name_prefix="answer"),
            aside=aside,
        )
        self.receipts = _receipts(base)
        self.redelivery = Redelivery(
            receipts=self.receipts,
            sendings=base.sendings,
            whatsapp=whatsapp,
            ffmpeg=ffmpeg,
            metrics=metrics,
            log_key=settings.TWILIO_AUTH_TOKEN,
        )
        self.runner = Runner(
            store=store,
            talk=conversation,
            replies=base.replies,
            log_key=settings.TWILIO_AUTH_TOKEN,
            patience=settings.CLOUD_PATIENCE,
        )


def _voice(base: Base, speech: Speech, pool: Executor) -> Voice:
    settings = base.settings
    if not settings.SPEECH_CACHE_BYTES:
        return speech
    return SpeechCache(
        speech=speech,
        metrics=base.metrics,
        most_bytes=settings.SPEECH_CACHE_BYTES,
        lifetime=settings.RETENTION_HOURS * 3600,
        # One process alone has all of it in memory.
        shared=base.pieces if settings.DATABASE_URL else None,
        pool=pool,
    )


def _media(settings: Settings) -> Media:
    hosts = (settings.TWILIO_API_URL, *settings.TWILIO_MEDIA_HOSTS)
    public = partial(PublicAdapter, named=hosts)
    return Media(
        session=requests_session(settings, width=settings.TURN_THREADS, adapter=public),
        api_url=settings.TWILIO_API_URL,
        account_sid=settings.TWILIO_ACCOUNT_SID,
        auth_token=settings.TWILIO_AUTH_TOKEN,
        media_hosts=settings.TWILIO_MEDIA_HOSTS,
        patience=settings.CLOUD_PATIENCE,
    )
