"""Log lines for ``heroku logs --tail``: one per stage, with turn id and hashed sender.

Never a phone number, a transcript, an answer, a token or a signed URL.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import ParamSpec, TypeVar

import structlog

P = ParamSpec("P")
T = TypeVar("T")

# Libraries that print addresses, headers or bodies at INFO or DEBUG.
TALKATIVE = (
    "httpx",
    "httpcore",
    "urllib3",
    "twilio",
    "twilio.http_client",
    "sseclient",
    "pydub",
    "alembic",
    "procrastinate",
    "psycopg",
)


def configure_logging(*, level: str, form: str) -> None:
    """Send all logs to standard error as ``text`` or ``json`` lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
    ]
    if form == "json":
        final: list[structlog.typing.Processor] = [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        final = [
            structlog.dev.ConsoleRenderer(
                colors=False,
                pad_event_to=0,
                # The others print local variables, which hold transcripts and tokens.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
    )
    handler = logging.StreamHandler()
    handler.addFilter(_without_details)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _without_details(record: logging.LogRecord) -> bool:
    """PostgreSQL names the keys that are in conflict, and senders are keys of the queue."""
    if record.name.startswith("procrastinate"):
        record.exc_info = None
    return True


def hashed(sender: str, *, key: str) -> str:
    """Ten hex digits that stand for a sender in logs; without ``key`` they lead nowhere."""
    keyed = hashlib.blake2s(sender.encode(), key=key.encode()[:32], digest_size=5)
    return keyed.hexdigest()


@contextmanager
def bound_to(turn: str, sender: str, *, key: str) -> Iterator[None]:
    """Let what is logged meanwhile name the turn and, hashed, its sender."""
    with structlog.contextvars.bound_contextvars(turn=turn, sender=hashed(sender, key=key)):
        yield


class ContextPool(ThreadPoolExecutor):
    """A thread pool whose tasks log with the turn id and sender of whoever submitted them."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        context = copy_context()
        return super().submit(lambda: context.run(fn, *args, **kwargs))
