"""The scale-out worker process: runs turns that web processes wrote down in PostgreSQL."""

from __future__ import annotations

# Before anything else is imported: what waits is to wait on green threads.
from gevent import monkey

monkey.patch_all()

import asyncio
import logging
import os
import signal
import sys

import structlog

import watchdog
from dumping import forbid_dumping
from errors import SettingsError
from health import count_workers
from logs import configure_logging
from parts import WorkerParts, build_worker
from process_limits import check_limits
from settings import load_settings
from store import StoreError

log = structlog.get_logger(__name__)

# Heroku kills 30 s after SIGTERM.
GRACE_SECONDS = 25.0
SHARE_SECONDS = 5.0


def main() -> None:
    try:
        settings = load_settings()
        if not settings.DATABASE_URL:
            raise SettingsError(
                "Cannot start a worker: DATABASE_URL is missing (a PostgreSQL database, shared "
                "with the web process); without it the web process runs the turns itself."
            )
        configure_logging(level=settings.LOG_LEVEL, form=settings.LOG_FORMAT)
        watchdog.start()
        check_limits(settings.TURN_THREADS)
        if not settings.DUMPABLE:
            forbid_dumping()
        parts = build_worker(settings)
    except SettingsError as error:
        sys.exit(str(error))
    asyncio.run(_run(parts))


async def _run(parts: WorkerParts) -> None:
    stop = asyncio.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(kind, stop.set)
    parts.start()
    parts.base.settle()
    sharing = asyncio.create_task(_share_plan(parts))
    status = 1
    try:
        await parts.worker.work(stop, grace=GRACE_SECONDS)
        status = 0
    except Exception:
        log.exception("The worker ends")
    finally:
        sharing.cancel()
        parts.redelivery.stop()
        parts.shared.stop()
        logging.shutdown()
        # Turns that were cut off still hold their threads, for which Python would wait.
        os._exit(status)


async def _share_plan(parts: WorkerParts) -> None:
    """Divide what the ElevenLabs plan allows at once between the workers that live."""
    while True:
        try:
            parts.speech.share(await asyncio.to_thread(count_workers, parts.base.processes))
        except StoreError as error:
            log.warning("Workers not counted", error=type(error).__name__)
        await asyncio.sleep(SHARE_SECONDS)


if __name__ == "__main__":
    main()
