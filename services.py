"""The composition root: builds each part of a process once, in the order of the packages."""

from __future__ import annotations

import gc
import threading
import time
from enum import Enum
from functools import cached_property, partial
from typing import Protocol

import requests
import structlog

from agentforce import Agentforce
from audio.ffmpeg import Ffmpeg
from checks.checklist import start_checks
from checks.salesforce import SESSION_SECONDS
from checks.start import StartCheck
from core.logs import ContextPool
from core.settings import Settings
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.oauth_token import AccessToken
from http_clients.sessions import requests_session
from http_clients.warming import ConnectionWarmer, Routes
from media import MediaDownloader, VoiceNoteLoader
from metrics import Metrics, MetricsSnapshot
from speech.cache import SpeechCache
from speech.elevenlabs import Speech, Synthesizer
from speech.synthesis import StartSynthesis, StreamingSynthesis
from storage.storage import Storage
from text.phrases import Phrases
from turns.agent_sessions import AgentSessions
from turns.answer_cache import AnswerCache
from turns.answers import AnswerWriter
from turns.asking import AgentAsker
from turns.cleanup import Cleanup
from turns.commands import Commands
from turns.health import Health, count_workers, providers_down
from turns.heartbeat import Heartbeat
from turns.intake import Intake
from turns.listener import Listener
from turns.notices import Notices
from turns.pipeline import Pipeline
from turns.prewarming import Prewarmer
from turns.public_questions import public_questions
from turns.questions import QuestionReader
from turns.redelivery import Redelivery
from turns.reply_delivery import ReplyDelivery
from turns.runner import TurnRunner
from turns.session_pool import SessionPool
from turns.worker import TurnWorker
from web.history import History
from web.history_recorder import HistoryRecorder
from web.shared_metrics import ProcessMetrics
from web.state import State
from whatsapp.client import WhatsApp
from whatsapp.delivery import Delivery
from whatsapp.delivery_status import DeliveryStatuses

log = structlog.get_logger(__name__)

# After BREAKER_FAILURES failures in a row, a provider is not called for this time.
BREAKER_SECONDS = 30.0
# The fraction of AGENTFORCE_SESSION_IDLE that a session may wait in the pool.
POOL_LIFETIME_FRACTION = 5 / 6
# A web process next to workers does nothing in the background but end idle sessions.
WEB_BACKGROUND_THREADS = 4
# Extra seconds of a stop, for ending the sessions of the pool.
END_SESSIONS_SECONDS = 1.0


class Role(Enum):
    """The role of a process. Without DATABASE_URL, one process is both web and worker."""

    SINGLE = "single"
    WEB = "web"
    WORKER = "worker"


# Reserved database connections, and the seconds that a call on them may take. On them a web process
# stores messages, for which Twilio waits 15 s. A worker renews its claims, several times before
# they expire, and listens for new turns.
RESERVED_CONNECTIONS = {Role.SINGLE: (0, 0.0), Role.WEB: (3, 9.0), Role.WORKER: (2, 3.0)}


class _BackgroundTask(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


class Services:
    """The parts of one process. Each is built once, when it is first used.

    ``start`` begins the background work, ``close`` ends it. Building raises ``SettingsError``.
    """

    def __init__(self, settings: Settings, role: Role) -> None:
        self.settings = settings
        self.role = role
        self.metrics = Metrics()
        self.log_key = settings.TWILIO_AUTH_TOKEN
        self._retention = settings.RETENTION_HOURS * 3600
        self._runs_turns = role is not Role.WEB
        self._start_lock = threading.Lock()
        self._started = False
        # Errors in the settings must show at the start, before the database is touched.
        self._public_questions = public_questions(settings)
        self._build_all()

    # Shared by the other parts

    @cached_property
    def background(self) -> ContextPool:
        """Threads for background work."""
        threads = self.settings.TURN_THREADS * 2 if self._runs_turns else WEB_BACKGROUND_THREADS
        return ContextPool(threads, thread_name_prefix="background")

    @cached_property
    def breakers(self) -> CircuitBreakers:
        return CircuitBreakers(
            failures=self.settings.BREAKER_FAILURES,
            seconds=BREAKER_SECONDS * self.settings.PROVIDER_TIMEOUT_FACTOR,
            metrics=self.metrics,
        )

    @cached_property
    def warmer(self) -> ConnectionWarmer:
        routes: list[Routes] = [self.agent.routes]
        if self._runs_turns:
            routes += [self.whatsapp.routes, self.media.routes, self.speech.routes]
        return ConnectionWarmer(token=self.agent_token, clients=routes)

    @cached_property
    def storage(self) -> Storage:
        connections, seconds = RESERVED_CONNECTIONS[self.role]
        return Storage(self.settings, reserved_connections=connections, reserved_seconds=seconds)

    # Text and audio

    @cached_property
    def phrases(self) -> Phrases:
        return Phrases(default=self.settings.DEFAULT_LANGUAGE)

    @cached_property
    def ffmpeg(self) -> Ffmpeg:
        return Ffmpeg(
            path=self.settings.FFMPEG_PATH,
            max_seconds=self.settings.VOICE_NOTE_MAX_SECONDS,
        )

    # WhatsApp and speech

    @cached_property
    def whatsapp(self) -> WhatsApp:
        threads = self.settings.TURN_THREADS
        return WhatsApp(
            settings=self.settings,
            metrics=self.metrics,
            connections=threads,
            typing_connections=threads * 2,
        )

    @cached_property
    def delivery(self) -> Delivery:
        return Delivery(
            claims=self.storage.claims,
            whatsapp=self.whatsapp,
            outbound_messages=self.storage.outbound_messages,
            metrics=self.metrics,
        )

    @cached_property
    def delivery_statuses(self) -> DeliveryStatuses:
        return DeliveryStatuses(
            database=self.storage.database, metrics=self.metrics, log_key=self.log_key
        )

    @cached_property
    def speech(self) -> Speech:
        return Speech(
            settings=self.settings,
            ffmpeg=self.ffmpeg,
            metrics=self.metrics,
            breakers=self.breakers,
            # One transcription for each turn, and as many segments of speech.
            connections=self.settings.TURN_THREADS * 2,
        )

    @cached_property
    def synthesizer(self) -> Synthesizer:
        if not self.settings.SPEECH_CACHE_BYTES:
            return self.speech
        return SpeechCache(
            speech=self.speech,
            metrics=self.metrics,
            max_bytes=self.settings.SPEECH_CACHE_BYTES,
            lifetime=self._retention,
            # A single process needs no table: it has the audio in memory.
            shared=self.storage.speech if self.storage.is_shared else None,
            pool=self.background,
        )

    @cached_property
    def start_synthesis(self) -> StartSynthesis:
        return partial(
            StreamingSynthesis,
            speech=self.synthesizer,
            ffmpeg=self.ffmpeg,
            phrases=self.phrases,
            metrics=self.metrics,
            pool=ContextPool(self.settings.TURN_THREADS, thread_name_prefix="speak"),
            max_characters=self.settings.SPEECH_MAX_CHARACTERS,
            segment_seconds=self.settings.TURN_DEADLINE,
        )

    # Agentforce and recordings

    @cached_property
    def salesforce_http(self) -> requests.Session:
        # A connection for each thread that asks, starts a session or ends one.
        return requests_session(self.settings, connections=self.settings.TURN_THREADS * 3)

    @cached_property
    def agent_token(self) -> AccessToken:
        return AccessToken(
            session=self.salesforce_http, settings=self.settings, metrics=self.metrics
        )

    @cached_property
    def agent(self) -> Agentforce:
        return Agentforce(
            session=self.salesforce_http,
            token=self.agent_token,
            metrics=self.metrics,
            settings=self.settings,
            breakers=self.breakers,
            background=self.background,
        )

    @cached_property
    def media(self) -> MediaDownloader:
        settings = self.settings
        return MediaDownloader(
            session=requests_session(settings, connections=settings.TURN_THREADS),
            metrics=self.metrics,
            api_url=settings.TWILIO_API_URL,
            account_sid=settings.TWILIO_ACCOUNT_SID,
            auth_token=settings.TWILIO_AUTH_TOKEN,
            media_hosts=settings.TWILIO_MEDIA_HOSTS,
            timeout_factor=settings.PROVIDER_TIMEOUT_FACTOR,
        )

    @cached_property
    def voice_note_loader(self) -> VoiceNoteLoader:
        return VoiceNoteLoader(
            media=self.media,
            ffmpeg=self.ffmpeg,
            max_seconds=self.settings.VOICE_NOTE_MAX_SECONDS,
        )

    # Turns

    @cached_property
    def notices(self) -> Notices:
        return Notices(
            phrases=self.phrases,
            preferences=self.storage.preferences,
            leases=self.storage.leases,
            max_seconds=self._retention,
        )

    @cached_property
    def session_pool(self) -> SessionPool:
        return SessionPool(
            agent=self.agent,
            metrics=self.metrics,
            number=self.settings.AGENTFORCE_SPARE_SESSIONS if self._runs_turns else 0,
            lifetime=self.settings.AGENTFORCE_SESSION_IDLE * POOL_LIFETIME_FRACTION,
        )

    @cached_property
    def sessions(self) -> AgentSessions:
        return AgentSessions(
            agent=self.agent,
            session_pool=self.session_pool,
            table=self.storage.sessions,
            leases=self.storage.leases,
            metrics=self.metrics,
            background=self.background,
            idle=self.settings.AGENTFORCE_SESSION_IDLE,
        )

    @cached_property
    def prewarmer(self) -> Prewarmer:
        return Prewarmer(
            turns=self.storage.turns,
            sessions=self.sessions,
            pool=self.background,
            limit=self.settings.TURN_DEADLINE,
            threads=self.settings.TURN_THREADS,
        )

    @cached_property
    def answer_cache(self) -> AnswerCache:
        return AnswerCache(
            sessions=self.storage.sessions,
            answers=self.storage.answers,
            public=self._public_questions,
            metrics=self.metrics,
            agent_id=self.settings.AGENTFORCE_AGENT_ID,
            enabled=self.settings.ANSWER_CACHE_SECONDS > 0,
        )

    @cached_property
    def pipeline(self) -> Pipeline:
        return Pipeline(
            settings=self.settings,
            metrics=self.metrics,
            preferences=self.storage.preferences,
            questions=QuestionReader(
                voice_note_loader=self.voice_note_loader,
                speech=self.speech,
                phrases=self.phrases,
                metrics=self.metrics,
            ),
            commands=Commands(
                claims=self.storage.claims,
                sessions=self.sessions,
                preferences=self.storage.preferences,
                phrases=self.phrases,
                voice_replies=self.settings.VOICE_REPLIES,
            ),
            agent=AgentAsker(
                claims=self.storage.claims,
                prewarmer=self.prewarmer,
                sessions=self.sessions,
                answer_cache=self.answer_cache,
                metrics=self.metrics,
            ),
            answers=AnswerWriter(
                phrases=self.phrases,
                metrics=self.metrics,
                transcript_echo=self.settings.TRANSCRIPT_ECHO,
                handoff_contact=self.settings.HANDOFF_CONTACT,
            ),
            replies=ReplyDelivery(
                whatsapp=self.whatsapp,
                delivery=self.delivery,
                notices=self.notices,
                metrics=self.metrics,
                start_synthesis=self.start_synthesis,
                voice_seconds=self.settings.TURN_DEADLINE,
                background=self.background,
            ),
            notices=self.notices,
            threads=ContextPool(self.settings.TURN_THREADS, thread_name_prefix="answer"),
        )

    @cached_property
    def worker(self) -> TurnWorker:
        runner = TurnRunner(
            turns=self.storage.turns,
            handler=self.pipeline,
            notices=self.notices,
            metrics=self.metrics,
            log_key=self.log_key,
            retry_factor=self.settings.PROVIDER_TIMEOUT_FACTOR,
        )
        return TurnWorker(
            claims=self.storage.claims, runner=runner, threads=self.settings.TURN_THREADS
        )

    @cached_property
    def redelivery(self) -> Redelivery:
        return Redelivery(
            queue=self.storage.resends,
            outbound_messages=self.storage.outbound_messages,
            whatsapp=self.whatsapp,
            ffmpeg=self.ffmpeg,
            metrics=self.metrics,
            log_key=self.log_key,
        )

    @cached_property
    def health(self) -> Health:
        if self.storage.is_shared:
            workers = partial(count_workers, self.storage.processes)
            down = partial(providers_down, self.storage.processes)
            return Health(backlog=self.storage.turns.backlog, workers=workers, down=down)
        down_here = self.breakers.providers_down
        return Health(backlog=self.storage.turns.backlog, workers=lambda: 1, down=down_here)

    @cached_property
    def cleanup(self) -> Cleanup:
        return Cleanup(
            database=self.storage.database,
            turns=self.storage.turns,
            leases=self.storage.leases,
            session_table=self.storage.sessions,
            retained=(
                self.storage.preferences,
                self.storage.processes,
                self.storage.speech,
                self.storage.answers,
            ),
            expiring=(
                self.storage.leases,
                self.storage.outbound_messages,
                self.storage.metrics_history,
            ),
            sessions=self.sessions,
            health=self.health,
            retention=self._retention,
            session_idle=self.settings.AGENTFORCE_SESSION_IDLE,
        )

    # The web process

    @cached_property
    def intake(self) -> Intake:
        # A web process has no worker to wake; PostgreSQL notifies those of other processes.
        wake = self.worker.wake if self._runs_turns else lambda: None
        limit = self.settings.INBOX_LIMIT
        return Intake(
            turns=self.storage.accepted_turns,
            user_ids=self.storage.user_ids,
            quotas=self.storage.quotas,
            limit=limit,
            wake=wake,
        )

    @cached_property
    def checks(self) -> StartCheck:
        return StartCheck(
            partial(
                start_checks,
                self.settings,
                database=self.storage.database if self.storage.is_shared else None,
                token=self.agent_token,
                # The sessions that this process starts anyway.
                try_session=partial(self.session_pool.last_start, SESSION_SECONDS),
            )
        )

    @cached_property
    def process_metrics(self) -> ProcessMetrics:
        return ProcessMetrics(
            metrics=self.metrics,
            breakers=self.breakers,
            processes=self.storage.processes,
            kind=self.role.value,
        )

    @cached_property
    def history_recorder(self) -> HistoryRecorder:
        return HistoryRecorder(
            metrics=self.metrics,
            history=self.storage.metrics_history,
            # All processes would see the same; a web process has time for it.
            gauges=self.health.gauges if self.role is not Role.WORKER else dict,
        )

    @cached_property
    def history(self) -> History:
        return History(
            settings=self.settings,
            recorder=self.history_recorder,
            table=self.storage.metrics_history,
        )

    @cached_property
    def state(self) -> State:
        return State(
            settings=self.settings,
            metrics=self.metrics,
            health=self.health,
            recorder=self.history_recorder,
            table=self.storage.metrics_history,
            history=self.history,
            checks=self.checks.results,
        )

    def snapshots(self) -> dict[str, MetricsSnapshot]:
        """The metrics of each process by its name; a single process has no name."""
        if self.storage.is_shared:
            return self.process_metrics.snapshots()
        return {"": self.metrics.snapshot()}

    # From start to stop

    def start(self) -> None:
        """Resume the turns that an earlier process left, and start all threads; only once.

        Call it in the process that serves, not in gunicorn's master: a turn that kills the process
        must be found at the next start.
        """
        with self._start_lock:
            if self._started:
                return
            self._started = True
            if self.role is Role.SINGLE:
                self._resume_turns()
            for task in self._background_tasks:
                task.start()
            if self._runs_turns:
                self.worker.start()
            if self.role is not Role.WORKER:
                self._log_ready()
                self.checks.start()

    def settle(self) -> None:
        """Exempt all objects that exist now from garbage collection.

        They live as long as the process, and each full collection of them takes 0.2 s.
        """
        gc.collect()
        gc.freeze()

    def close(self, timeout: float) -> bool:
        """Stop; running turns get ``timeout`` seconds. ``False`` if some did not finish."""
        until = time.monotonic() + timeout
        self.session_pool.stop()
        finished = True
        if self._runs_turns:
            finished = self.worker.close(max(until - time.monotonic(), 0.0))
        for task in self._background_tasks:
            task.stop()
        self.session_pool.join(END_SESSIONS_SECONDS)
        self.delivery_statuses.stop()
        self.storage.close()
        return finished

    @cached_property
    def _background_tasks(self) -> list[_BackgroundTask]:
        """All background tasks but the worker that runs turns."""
        tasks: list[_BackgroundTask] = [self.cleanup, self.history_recorder]
        if self.settings.KEEP_WARM:
            tasks += [self.warmer, self.session_pool]
        if self.storage.is_shared:
            tasks.append(self.process_metrics)
        if self.role is Role.WEB:
            tasks.append(Heartbeat([self.storage.leases.renew]))
        if self.role is Role.WORKER:
            tasks.append(Heartbeat([self.storage.claims.renew, self.storage.leases.renew]))
            tasks.append(Listener(database=self.storage.reserved, wake=self.worker.wake))
        if self._runs_turns:
            tasks.append(self.redelivery)
        return tasks

    def _build_all(self) -> None:
        """Build what this role needs, so that errors show now and no turn waits for it."""
        _ = self._background_tasks
        if self._runs_turns:
            _ = self.worker
        if self.role is not Role.WORKER:
            _ = self.intake, self.checks

    def _log_ready(self) -> None:
        settings = self.settings
        if not settings.PUBLIC_URL:
            log.warning("Not ready: PUBLIC_URL is missing")
            return
        webhook = f"Twilio's webhook is {settings.PUBLIC_URL}/ (POST)"
        log.info(f"Ready: answers {settings.TWILIO_WHATSAPP_FROM}; {webhook}")

    def _resume_turns(self) -> None:
        """Put the turns back into the queue that an earlier process was running when it died."""
        self.storage.queue.requeue_running()
        unfinished = self.storage.turns.count_unfinished(limit=self.settings.INBOX_LIMIT)
        if unfinished:
            log.info("Resuming turns that an earlier process left", turns=unfinished)


def build_web(settings: Settings) -> Services:
    """The parts of a process that answers webhooks, and without DATABASE_URL also runs turns."""
    return Services(settings, Role.WEB if settings.DATABASE_URL else Role.SINGLE)


def build_worker(settings: Settings) -> Services:
    """The parts of a process that runs turns; DATABASE_URL must be set."""
    return Services(settings, Role.WORKER)
