"""The worker process: runs turns that web processes have stored in PostgreSQL."""

from __future__ import annotations

# Before anything else is imported, so that all waiting is done on green threads.
from gevent import monkey

monkey.patch_all()

import logging
import os
import signal
import sys
import threading

import gevent
import structlog

from core import watchdog
from core.errors import SettingsError
from core.settings import load_settings
from core.startup import prepare_process
from services import Services, build_worker
from storage.database import StorageError
from turns.health import count_workers

log = structlog.get_logger(__name__)

# Heroku kills the process 30 s after SIGTERM (docs/providers/heroku.md, "Stopping").
GRACE_SECONDS = 25.0
SHARE_SECONDS = 5.0


def main() -> None:
    try:
        settings = load_settings()
        if not settings.DATABASE_URL:
            raise SettingsError(
                "DATABASE_URL is missing, which a worker needs (a PostgreSQL database, shared with "
                "the web process)",
                hint="without it the web process runs the turns itself",
            )
        prepare_process(settings)
        watchdog.start()
        services = build_worker(settings)
    except SettingsError as error:
        sys.exit(f"Cannot start: {error}.")
    _work(services)


def _work(services: Services) -> None:
    """Run turns until SIGTERM, then finish the running ones."""
    stopped = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(kind, stopped.set)
    services.start()
    services.settle()
    log.info("Worker ready", threads=services.settings.TURN_THREADS)
    while not stopped.wait(SHARE_SECONDS):
        _share_plan(services)
    if not services.close(GRACE_SECONDS):
        log.warning("Stopping with turns unfinished; other workers take them up")
    logging.shutdown()
    # Exit at once: Python would wait for the threads of turns that did not finish.
    os._exit(0)


def _share_plan(services: Services) -> None:
    """Divide the concurrent requests of the ElevenLabs plan among the workers that are alive."""
    try:
        services.speech.set_share(count_workers(services.storage.processes))
    except StorageError as error:
        log.warning("Workers not counted", error=type(error).__name__)


if __name__ == "__main__":
    main()
