"""The parts of each kind of process: one alone, web, worker."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from base import Base, aside_of, build_base
from figures import Figures
from inbound import Inbound
from inbox import Acceptance, Inbox
from logs import ContextPool
from redelivery import Redelivery
from refusals import Refusals
from settings import Settings
from shared_inbox import SharedInbox
from shared_metrics import SharedMetrics
from speech import Speech
from turn_parts import TurnParts
from turn_queue import TurnQueue, TurnWorker
from warming import Warmer

log = structlog.get_logger(__name__)

# A web process starts sessions for turns that workers run.
PREWARM_THREADS = 16
# What ending spare sessions may add to a stop.
END_SECONDS = 1.0


class AnyInbox(Protocol):
    """Where the webhook hands messages in: ``inbox.py`` or ``shared_inbox.py``."""

    def accept(self, message: Inbound) -> Acceptance: ...

    def count_unfinished(self) -> int: ...

    def recover(self) -> int: ...

    def close(self, timeout: float) -> bool: ...


@dataclass(frozen=True)
class WebParts:
    """What answers webhooks."""

    base: Base
    inbox: AnyInbox
    refusals: Refusals
    warmer: Warmer
    # Only where this process runs turns too.
    redelivery: Redelivery | None = None
    # Only where several processes share a database.
    shared: SharedMetrics | None = None
    _starting: threading.Lock = field(default_factory=threading.Lock, init=False)
    _started: threading.Event = field(default_factory=threading.Event, init=False)

    def figures(self) -> dict[str, Figures]:
        """By process; where there is but one it has no name."""
        return self.shared.figures() if self.shared else {"": self.base.metrics.figures()}

    def start(self) -> None:
        """Take up what a former process left, and let all threads begin, once.

        To be called by a process that serves: what kills it is to be seen as its death.
        """
        with self._starting:
            if self._started.is_set():
                return
            self._started.set()
            resumed = self.inbox.recover()
            if resumed:
                log.info("Taking up turns that a former process left", turns=resumed)
            _start(self.base, self.warmer)
            if self.redelivery:
                self.redelivery.start()

    def close(self, timeout: float) -> bool:
        """Let running turns finish and figures be kept; ``False`` if some turns still run."""
        until = time.monotonic() + timeout
        self.base.spares.stop()
        self.warmer.stop()
        if self.redelivery:
            self.redelivery.stop()
        self.base.housekeeper.stop()
        finished = self.inbox.close(max(until - time.monotonic(), 0.0))
        self.base.spares.join(END_SECONDS)
        self.base.receipts.stop()
        if self.shared:
            self.shared.stop()
        self.base.database.close()
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
    spares = settings.AGENTFORCE_SPARE_SESSIONS
    if settings.DATABASE_URL:
        aside = ContextPool(PREWARM_THREADS, thread_name_prefix="prewarm")
        return _beside_workers(build_base(settings, aside, spares=spares))
    return _alone(build_base(settings, aside_of(settings), spares=spares))


def build_worker(settings: Settings) -> WorkerParts:
    """A process that runs turns; ``DATABASE_URL`` must be set."""
    # The web processes start sessions; spare ones are of use there.
    base = build_base(settings, aside_of(settings), spares=0)
    turns = TurnParts(base)
    worker = TurnWorker(
        url=settings.DATABASE_URL,
        store=base.store,
        leases=base.leases,
        runner=turns.runner,
        queue=TurnQueue(database=base.database),
        threads=settings.TURN_THREADS,
    )
    shared = _shared(base, "worker")
    return WorkerParts(
        base=base,
        worker=worker,
        redelivery=turns.redelivery,
        shared=shared,
        speech=turns.speech,
        warmer=Warmer(token=base.token, clients=turns.routes),
    )


def _beside_workers(base: Base) -> WebParts:
    queue = TurnQueue(database=base.database)
    shared = _shared(base, "web")
    shared.start()
    return WebParts(
        base=base,
        inbox=SharedInbox(store=base.store, queue=queue, limit=base.settings.INBOX_LIMIT),
        refusals=_refusals(base),
        warmer=Warmer(token=base.token, clients=[base.agent.routes]),
        shared=shared,
    )


def _alone(base: Base) -> WebParts:
    turns = TurnParts(base)
    inbox = Inbox(
        store=base.store,
        runner=turns.runner,
        pool=ThreadPoolExecutor(base.settings.TURN_THREADS, thread_name_prefix="turn"),
        limit=base.settings.INBOX_LIMIT,
    )
    return WebParts(
        base=base,
        inbox=inbox,
        refusals=_refusals(base),
        warmer=Warmer(token=base.token, clients=turns.routes),
        redelivery=turns.redelivery,
    )


def _refusals(base: Base) -> Refusals:
    retention = base.settings.RETENTION_HOURS * 3600
    return Refusals(replies=base.replies, leases=base.leases, longest=retention)


def _shared(base: Base, kind: str) -> SharedMetrics:
    return SharedMetrics(
        metrics=base.metrics, breakers=base.breakers, processes=base.processes, kind=kind
    )
