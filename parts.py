"""Makes the parts and hands them to each other: for one process alone, for web, for workers."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import IO, Protocol

from sqlalchemy import Engine

from access_token import AccessToken
from agentforce import Agentforce
from answer_cache import AnswerCache
from audio import Ffmpeg
from connections import requests_session
from conversation import Conversation
from database import hold, open_database
from delivery import Delivery
from figures import Figures
from health import Health, count_workers
from housekeeping import Housekeeper
from inbound import Inbound
from inbox import Acceptance, Inbox
from kept_answers import KeptAnswers
from leases import Leases
from logs import ContextPool
from media import Media
from metrics import Metrics
from narration import Narrator
from phrases import Phrases
from prewarming import Prewarmer
from processes import Processes
from public_questions import public_questions
from runner import Runner
from settings import Settings
from shared_inbox import SharedInbox
from shared_metrics import SharedMetrics
from speech import Speech, Voice
from speech_cache import SpeechCache
from spoken_pieces import SpokenPieces
from standard_replies import StandardReplies
from store import Store
from turn_queue import TurnQueue, TurnWorker
from whatsapp import WhatsApp

# A web process starts sessions for turns that workers run.
PREWARM_THREADS = 16
# All processes together share more than the memory of one holds.
SHARED_PIECES = 8
# Each is at it for a moment only, behind the end of an agent's turn.
DRAIN_THREADS = 4


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
    leases: Leases
    processes: Processes
    phrases: Phrases
    replies: StandardReplies
    agent: Agentforce
    answer_cache: AnswerCache
    pieces: SpokenPieces
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
    prewarmer: Prewarmer
    # Only where several processes share a database.
    shared: SharedMetrics | None = None

    def figures(self) -> dict[str, Figures]:
        """By process; where there is but one it has no name."""
        return self.shared.figures() if self.shared else {"": self.base.metrics.figures()}

    def close(self, timeout: float) -> bool:
        """Let running turns finish and figures be kept; ``False`` if some turns still run."""
        finished = self.inbox.close(timeout)
        if self.shared:
            self.shared.stop()
        return finished


@dataclass(frozen=True)
class WorkerParts:
    """What runs turns for web processes elsewhere."""

    base: Base
    worker: TurnWorker
    shared: SharedMetrics
    speech: Speech


def build_web(settings: Settings) -> WebParts:
    """A process that answers webhooks; it also runs their turns where it is alone."""
    base = _base(settings)
    if not settings.DATABASE_URL:
        return _alone(base)
    queue = TurnQueue(engine=base.engine)
    shared = SharedMetrics(metrics=base.metrics, processes=base.processes, kind="web")
    shared.start()
    return WebParts(
        base=base,
        inbox=SharedInbox(store=base.store, queue=queue, limit=settings.INBOX_LIMIT),
        prewarmer=Prewarmer(
            agent=base.agent, pool=ContextPool(PREWARM_THREADS, thread_name_prefix="prewarm")
        ),
        shared=shared,
    )


def build_worker(settings: Settings) -> WorkerParts:
    """A process that runs turns; ``DATABASE_URL`` must be set."""
    base = _base(settings)
    talk = _Talk(base)
    worker = TurnWorker(
        url=settings.DATABASE_URL,
        store=base.store,
        leases=base.leases,
        runner=talk.runner,
        queue=TurnQueue(engine=base.engine),
        threads=settings.TURN_THREADS,
    )
    shared = SharedMetrics(metrics=base.metrics, processes=base.processes, kind="worker")
    return WorkerParts(base=base, worker=worker, shared=shared, speech=talk.speech)


def _base(settings: Settings) -> Base:
    public = public_questions(settings)
    # Two processes on one file would both take up what a third one left.
    held = None if settings.DATABASE_URL else hold(settings.STATE_DIR)
    engine = open_database(settings)
    metrics = Metrics()
    store = Store(
        engine=engine,
        note_lifetime=settings.MEDIA_LIFETIME,
        notes_asked=settings.ANSWER_CACHE_SECONDS > 0,
    )
    leases, processes = Leases(engine=engine), Processes(engine=engine)
    agent = _agent(settings, store, leases, metrics)
    phrases = Phrases(default=settings.DEFAULT_LANGUAGE)
    # Without workers elsewhere this process is its own.
    workers = partial(count_workers, processes) if settings.DATABASE_URL else lambda: 1
    health = Health(backlog=store.backlog, workers=workers)
    pieces = SpokenPieces(engine=engine, most_bytes=SHARED_PIECES * settings.SPEECH_CACHE_BYTES)
    answers = KeptAnswers(engine=engine, lifetime=settings.ANSWER_CACHE_SECONDS)
    return Base(
        settings=settings,
        metrics=metrics,
        store=store,
        leases=leases,
        processes=processes,
        phrases=phrases,
        replies=StandardReplies(phrases=phrases, store=store),
        agent=agent,
        answer_cache=AnswerCache(
            store=store,
            answers=answers,
            public=public,
            metrics=metrics,
            agent_id=settings.AGENTFORCE_AGENT_ID,
            enabled=settings.ANSWER_CACHE_SECONDS > 0,
        ),
        pieces=pieces,
        health=health,
        housekeeper=Housekeeper(
            store=store,
            leases=leases,
            processes=processes,
            caches=(pieces, answers),
            agent=agent,
            health=health,
            retention=settings.RETENTION_HOURS * 3600,
            session_idle=settings.AGENTFORCE_SESSION_IDLE,
        ),
        engine=engine,
        held=held,
    )


def _agent(settings: Settings, store: Store, leases: Leases, metrics: Metrics) -> Agentforce:
    session = requests_session(settings, width=settings.TURN_THREADS)
    token = AccessToken(session=session, settings=settings, metrics=metrics)
    return Agentforce(
        session=session,
        token=token,
        store=store,
        leases=leases,
        metrics=metrics,
        settings=settings,
        drains=ContextPool(DRAIN_THREADS, thread_name_prefix="drain"),
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
    return WebParts(base=base, inbox=inbox, prewarmer=talk.prewarmer)


class _Talk:
    """What running turns takes."""

    def __init__(self, base: Base) -> None:
        settings, metrics, store = base.settings, base.metrics, base.store
        threads = settings.TURN_THREADS
        aside = ContextPool(threads * 2, thread_name_prefix="aside")
        ffmpeg = Ffmpeg(path=settings.FFMPEG_PATH, longest_seconds=settings.VOICE_NOTE_MAX_SECONDS)
        whatsapp = WhatsApp(settings=settings, metrics=metrics, width=threads)
        self.speech = Speech(settings=settings, ffmpeg=ffmpeg, metrics=metrics, width=threads)
        self.prewarmer = Prewarmer(agent=base.agent, pool=aside)
        conversation = Conversation(
            whatsapp=whatsapp,
            delivery=Delivery(whatsapp=whatsapp, store=store, metrics=metrics),
            agent=base.agent,
            answer_cache=base.answer_cache,
            prewarmer=self.prewarmer,
            media=_media(settings),
            ffmpeg=ffmpeg,
            speech=self.speech,
            narrator=Narrator(
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
        self.runner = Runner(
            store=store,
            talk=conversation,
            replies=base.replies,
            log_key=settings.TWILIO_AUTH_TOKEN,
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
    return Media(
        session=requests_session(settings, width=settings.TURN_THREADS),
        api_url=settings.TWILIO_API_URL,
        account_sid=settings.TWILIO_ACCOUNT_SID,
        auth_token=settings.TWILIO_AUTH_TOKEN,
        media_hosts=settings.TWILIO_MEDIA_HOSTS,
    )
