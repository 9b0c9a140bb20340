"""Turns as jobs of Procrastinate: how they come to a worker, and what becomes of a dead one's.

A job stands for one turn of its sender, always the oldest. Its ``lock`` is the sender, so that one
of theirs runs at a time; it is deleted once it is done.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, LiteralString

import structlog
from procrastinate import (
    App,
    BaseRetryStrategy,
    JobContext,
    PsycopgConnector,
    RetryDecision,
    SyncPsycopgConnector,
)
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Job
from sqlalchemy import Connection, select, text

from database import Database
from leases import Leases
from runner import Runner, Stopping
from schema import turns
from store import UNFINISHED, Store, StoreError, Turn

log = structlog.get_logger(__name__)

TASK = "serve"
QUEUE = "turns"

HEARTBEAT_SECONDS = 2.0
# A worker that was silent for that long is taken for dead, and others take up what it ran.
STALLED_SECONDS = 12.0
# One that was paused for nearly that long ends itself, lest it go on beside them.
PAUSE_SECONDS = 8.0
TAKE_OVER_SECONDS = 3.0
# A worker asks for turns every second; one that has not for longer than a turn takes is stuck.
IDLE_SECONDS = 180.0
# Jobs are announced; this is for one that comes while a worker begins to listen.
POLL_SECONDS = 1.0
RETRY_SECONDS = 1
# Beside those of the store: a pool for the queue; one more listens.
CONNECTIONS = 2
# Threads beside those of the turns.
SPARE_THREADS = 4

# None should ever get lost, but a turn without a job would wait for ever.
_FORGOTTEN = (
    select(turns.c.id, turns.c.sender)
    .where(
        turns.c.state.in_(UNFINISHED),
        text(
            "NOT EXISTS (SELECT 1 FROM procrastinate_jobs"
            " WHERE lock = turns.sender AND status IN ('todo', 'doing'))"
        ),
    )
    .order_by(turns.c.id)
)


class TurnQueue:
    """Where turns wait for a worker."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        # Never opened: it is given a connection with each job.
        self._app = App(connector=SyncPsycopgConnector())

    def put(self, connection: Connection, turn: Turn) -> None:
        """Put a turn in, in the transaction that writes it down.

        Raises ``ProcrastinateException``.
        """
        self._defer(connection, turn.id, turn.message.sender)

    def put_forgotten(self) -> int:
        """Put turns in that have no job; returns how many. Raises like ``put`` and the store."""

        def put(connection: Connection) -> int:
            forgotten = connection.execute(_FORGOTTEN).all()
            for row in forgotten:
                self._defer(connection, row.id, row.sender)
            return len(forgotten)

        return self._database.run(put)

    def _defer(self, connection: Connection, turn_id: int, sender: str) -> None:
        driver = connection.connection.driver_connection
        job = self._app.configure_task(
            TASK, allow_unknown=True, queue=QUEUE, lock=sender, connection=driver
        )
        job.defer(turn=turn_id)


class TurnWorker:
    """Runs turns on ``threads`` threads until it is told to stop."""

    def __init__(
        self,
        *,
        url: str,
        store: Store,
        leases: Leases,
        runner: Runner,
        queue: TurnQueue,
        threads: int,
    ) -> None:
        self._store = store
        self._leases = leases
        self._runner = runner
        self._queue = queue
        self._threads = threads
        self._lock = threading.Lock()
        self._jobs: dict[int | None, Job] = {}
        self._connector = _Connector(conninfo=url, min_size=1, max_size=CONNECTIONS)
        self._app = App(connector=self._connector)
        self._app.task(name=TASK, pass_context=True, retry=_HandBack())(self._serve)

    async def work(self, stop: asyncio.Event, *, grace: float) -> None:
        """Run turns until ``stop`` is set; then let running ones finish within ``grace`` seconds.

        What is cut off is left to other workers; its threads may still run.
        """
        threads = ThreadPoolExecutor(self._threads + SPARE_THREADS, thread_name_prefix="turn")
        asyncio.get_running_loop().set_default_executor(threads)
        async with self._app.open_async():
            working = asyncio.create_task(self._work())
            chores = [
                asyncio.create_task(chore)
                for chore in (self._beat(), self._take_over(), self._watch())
            ]
            stopping = asyncio.create_task(stop.wait())
            log.info("Worker ready", threads=self._threads)
            await _first_of(stopping, working, *chores)
            self._runner.stop()
            working.cancel()
            _, cut_off = await asyncio.wait([working], timeout=grace)
            for task in chores:
                task.cancel()
            if cut_off:
                await self._hand_back()

    def _serve(self, context: JobContext, turn: int) -> None:
        with self._noted(context.job):
            oldest = self._store.oldest_beside(turn)
            if oldest:
                self._runner.run(oldest)

    @contextmanager
    def _noted(self, job: Job) -> Iterator[None]:
        with self._lock:
            self._jobs[job.id] = job
        try:
            yield
        finally:
            with self._lock:
                del self._jobs[job.id]

    def _running(self) -> list[Job]:
        with self._lock:
            return list(self._jobs.values())

    async def _work(self) -> None:
        """A worker of Procrastinate, which ends when the database fails, and then another."""
        while True:
            try:
                await self._app.run_worker_async(
                    queues=[QUEUE],
                    name=QUEUE,
                    concurrency=self._threads,
                    listen_notify=True,
                    fetch_job_polling_interval=POLL_SECONDS,
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=STALLED_SECONDS,
                    delete_jobs="always",
                    install_signal_handlers=False,
                )
            except ProcrastinateException as error:
                log.error("The queue fails; trying again", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _beat(self) -> None:
        """Keep what runs from being taken over; a worker that ends stops beating too early."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                for worker in {job.worker_id for job in self._running() if job.worker_id}:
                    await self._app.job_manager.update_heartbeat(worker)
            except ProcrastinateException as error:
                log.warning("No heartbeat", error=type(error).__name__)

    async def _take_over(self) -> None:
        """Take up what dead workers ran.

        When the database was away all workers seem dead, so they get time to be heard first.
        """
        steady_since = time.monotonic()
        while True:
            asleep = time.monotonic()
            await asyncio.sleep(TAKE_OVER_SECONDS)
            try:
                mine = await asyncio.to_thread(self._leases.take, "take over", TAKE_OVER_SECONDS)
                now = time.monotonic()
                if now - asleep > TAKE_OVER_SECONDS + HEARTBEAT_SECONDS:
                    steady_since = now
                if mine and now - steady_since > STALLED_SECONDS:
                    await self._revive_stalled()
                    await asyncio.to_thread(self._put_forgotten)
            except (ProcrastinateException, StoreError) as error:
                log.warning("Nothing taken over", error=type(error).__name__)
                steady_since = time.monotonic()

    async def _watch(self) -> None:
        """End a process that others have given up, or that takes no turns any more."""
        while True:
            asleep = time.time()
            await asyncio.sleep(1)
            if time.time() - asleep > PAUSE_SECONDS:
                log.error("This process was paused, and others took over its turns; ending it")
                os._exit(1)
            idle = time.monotonic() - self._connector.fetched_at
            if idle > IDLE_SECONDS and len(self._running()) < self._threads:
                log.error("This process takes no turns any more; ending it", idle=round(idle))
                os._exit(1)

    async def _revive_stalled(self) -> None:
        manager = self._app.job_manager
        stalled = await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS)
        for job in stalled:
            await manager.retry_job(job)
            turn = await asyncio.to_thread(self._store.oldest_beside, _turn_id(job))
            log.warning("Turn of a dead worker taken over", turn=turn and turn.message.sid)

    def _put_forgotten(self) -> None:
        if number := self._queue.put_forgotten():
            log.warning("Turns without a job put in again", turns=number)

    async def _hand_back(self) -> None:
        jobs = self._running()
        log.warning("Stopping with turns unfinished; other workers take them up", turns=len(jobs))
        await asyncio.to_thread(self._runner.forgive)
        for job in jobs:
            await self._app.job_manager.retry_job(job)


class _Connector(PsycopgConnector):
    """Notes when a turn was last asked for."""

    fetched_at = time.monotonic()

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> Any:
        if arguments.get("queues") == [QUEUE]:
            self.fetched_at = time.monotonic()
        return await super().execute_query_one_async(query, **arguments)


class _HandBack(BaseRetryStrategy):
    """Whatever keeps a turn from running here, it goes back to where it waited."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, Stopping):
            return RetryDecision()
        return RetryDecision(retry_in={"seconds": RETRY_SECONDS})


def _turn_id(job: Job) -> int:
    return int(str(job.task_kwargs["turn"]))


async def _first_of(*tasks: asyncio.Task[Any]) -> None:
    """Wait until one ends; what no task may raise ends the process, to be started anew."""
    ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
