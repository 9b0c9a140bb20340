"""The parts of each kind of process: one alone, web, worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from core.logs import ContextPool
from core.settings import Settings
from http_clients.warming import ConnectionWarmer
from metrics import MetricsSnapshot
from services.base import CommonServices, background_threads, build_common
from services.turns import TurnServices
from speech.elevenlabs import Speech
from storage.store import Store
from turns.heartbeat import Heartbeat
from turns.intake import Intake
from turns.listener import Listener
from turns.redelivery import Redelivery
from turns.refusals import RefusalNotices
from turns.worker import TurnWorker
from web.shared_metrics import ProcessMetrics

log = structlog.get_logger(__name__)

# Of a web process whose turns workers run.
BACKGROUND_THREADS = 4
# Connections beside DATABASE_CONNECTIONS, and how long a call on them may take. Those of a web
# process are for messages that are accepted at once: Twilio waits 15 s. Those of a worker are to
# renew what it holds, more than once before that ends, and to hear of new turns.
WEB_CONNECTIONS = 3, 9.0
WORKER_CONNECTIONS = 2, 3.0
# What ending spare sessions may add to a stop.
END_SECONDS = 1.0


@dataclass(frozen=True)
class WebServices:
    """What answers webhooks."""

    base: CommonServices
    intake: Intake
    refusals: RefusalNotices
    warmer: ConnectionWarmer
    # Only where this process runs turns too.
    worker: TurnWorker | None = None
    redelivery: Redelivery | None = None
    # Only where several processes share a database.
    shared: ProcessMetrics | None = None
    heartbeat: Heartbeat | None = None
    _starting: threading.Lock = field(default_factory=threading.Lock, init=False)
    _started: threading.Event = field(default_factory=threading.Event, init=False)

    def snapshots(self) -> dict[str, MetricsSnapshot]:
        """By process; where there is but one it has no name."""
        return self.shared.snapshots() if self.shared else {"": self.base.metrics.snapshot()}

    def start(self) -> None:
        """Take up what a former process left, and let all threads begin, once.

        To be called by a process that serves: what kills it is to be seen as its death.
        """
        with self._starting:
            if self._started.is_set():
                return
            self._started.set()
            _start(self.base, self.warmer)
            for part in (self.shared, self.heartbeat, self.redelivery):
                if part:
                    part.start()
            if self.worker:
                self._take_up()
                self.worker.start()

    def _take_up(self) -> None:
        """Give back to the queue what a former process ran when it died."""
        base = self.base
        base.queue.release_all()
        left = base.store.count_unfinished(limit=base.settings.INBOX_LIMIT)
        if left:
            log.info("Taking up turns that a former process left", turns=left)

    def close(self, timeout: float) -> bool:
        """Let running turns finish and figures be kept; ``False`` if some turns still run."""
        until = time.monotonic() + timeout
        self.base.session_pool.stop()
        self.warmer.stop()
        if self.redelivery:
            self.redelivery.stop()
        self.base.cleanup.stop()
        finished = True
        if self.worker:
            finished = self.worker.close(max(until - time.monotonic(), 0.0))
        self.base.session_pool.join(END_SECONDS)
        self.base.delivery_statuses.stop()
        for part in (self.shared, self.heartbeat):
            if part:
                part.stop()
        self.base.close()
        return finished


@dataclass(frozen=True)
class WorkerServices:
    """What runs turns for web processes elsewhere."""

    base: CommonServices
    worker: TurnWorker
    listener: Listener
    heartbeat: Heartbeat
    redelivery: Redelivery
    shared: ProcessMetrics
    speech: Speech
    warmer: ConnectionWarmer

    def start(self) -> None:
        """Let all threads begin."""
        _start(self.base, self.warmer)
        for part in (self.redelivery, self.shared, self.heartbeat, self.listener, self.worker):
            part.start()

    def close(self, timeout: float) -> bool:
        """Let running turns finish; ``False`` if some were given back to the queue instead."""
        self.base.session_pool.stop()
        finished = self.worker.close(timeout)
        for part in (self.redelivery, self.shared, self.heartbeat, self.listener):
            part.stop()
        self.base.session_pool.join(END_SECONDS)
        return finished


def _start(base: CommonServices, warmer: ConnectionWarmer) -> None:
    base.cleanup.start()
    if base.settings.KEEP_WARM:
        warmer.start()
        base.session_pool.start()


def build_web(settings: Settings) -> WebServices:
    """A process that answers webhooks; it also runs their turns where it is alone."""
    if settings.DATABASE_URL:
        # Idle sessions are ended there, and nothing else is done beside a request.
        few = ContextPool(BACKGROUND_THREADS, thread_name_prefix="background")
        return _beside_workers(build_common(settings, few, session_pool=0, urgent=WEB_CONNECTIONS))
    return _alone(
        build_common(
            settings,
            background_threads(settings),
            session_pool=settings.AGENTFORCE_SPARE_SESSIONS,
            urgent=WEB_CONNECTIONS,
        )
    )


def build_worker(settings: Settings) -> WorkerServices:
    """A process that runs turns; ``DATABASE_URL`` must be set."""
    base = build_common(
        settings,
        background_threads(settings),
        session_pool=settings.AGENTFORCE_SPARE_SESSIONS,
        urgent=WORKER_CONNECTIONS,
    )
    turns = TurnServices(base)
    return WorkerServices(
        base=base,
        worker=turns.worker,
        listener=Listener(database=base.urgent, wake=turns.worker.wake),
        heartbeat=Heartbeat([base.claims.renew, base.leases.renew]),
        redelivery=turns.redelivery,
        shared=_shared(base, "worker"),
        speech=turns.speech,
        warmer=ConnectionWarmer(token=base.token, clients=turns.routes),
    )


def _beside_workers(base: CommonServices) -> WebServices:
    return WebServices(
        base=base,
        # PostgreSQL tells the workers.
        intake=_inbox(base, wake=lambda: None),
        refusals=_refusals(base),
        warmer=ConnectionWarmer(token=base.token, clients=[base.agent.routes]),
        shared=_shared(base, "web"),
        heartbeat=Heartbeat([base.leases.renew]),
    )


def _alone(base: CommonServices) -> WebServices:
    turns = TurnServices(base)
    return WebServices(
        base=base,
        intake=_inbox(base, wake=turns.worker.wake),
        refusals=_refusals(base),
        warmer=ConnectionWarmer(token=base.token, clients=turns.routes),
        worker=turns.worker,
        redelivery=turns.redelivery,
    )


def _inbox(base: CommonServices, *, wake: Callable[[], None]) -> Intake:
    store = Store(database=base.urgent, room=base.quotas.admission_condition())
    limit = base.settings.INBOX_LIMIT
    return Intake(store=store, quotas=base.quotas, limit=limit, wake=wake)


def _refusals(base: CommonServices) -> RefusalNotices:
    retention = base.settings.RETENTION_HOURS * 3600
    return RefusalNotices(notices=base.notices, leases=base.leases, longest=retention)


def _shared(base: CommonServices, kind: str) -> ProcessMetrics:
    return ProcessMetrics(
        metrics=base.metrics, breakers=base.breakers, processes=base.processes, kind=kind
    )
