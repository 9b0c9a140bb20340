"""Log lines for ``heroku logs --tail``: one per stage, with turn id and hashed sender.

Never a phone number, a transcript, an answer, a token or a signed URL.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

import structlog
from structlog.typing import EventDict, Processor

from core import redaction as tracebacks

P = ParamSpec("P")
T = TypeVar("T")

# What our loggers are called, before the name of their module.
OWNED = "bridge"
SUMMARY_SECONDS = 60.0
# Of a library's message that is no template: what comes before anything it put in.
_PLAIN = re.compile(r"[A-Za-z ,.'-]*+")


def configure_logging(*, level: str, form: str) -> None:
    """Send all logs to standard error as ``text`` or ``json`` lines."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
    ]
    finished: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.ExceptionRenderer(tracebacks.render),
        _printable,
    ]
    if form == "json":
        finished += [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        finished.append(structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0))
    handler = logging.StreamHandler()
    handler.addFilter(_is_ours_or_matters)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _without_details],
            processors=finished,
            use_get_message=False,
            pass_foreign_args=True,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries make no lines that nobody is to see: some of them make many.
    root.setLevel(logging.WARNING)
    logging.getLogger(OWNED).setLevel(level)
    # gunicorn has a handler of its own, and logs the addresses that were asked for.
    server = logging.getLogger("gunicorn.error")
    server.handlers.clear()
    server.propagate = True
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=_our_logger,
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _our_logger(module: str) -> logging.Logger:
    return logging.getLogger(f"{OWNED}.{module}")


def _is_ours_or_matters(record: logging.LogRecord) -> bool:
    """Below WARNING, libraries tell addresses, headers and bodies; some set their own level."""
    return record.levelno >= logging.WARNING or record.name.startswith(OWNED)


def _without_details(_: Any, __: str, entry: EventDict) -> EventDict:
    """What a library says, without what it says it of: addresses, keys, rows."""
    if not entry.pop("positional_args"):
        entry["event"] = _PLAIN.findall(entry["event"])[0]
    entry["library"] = entry["_record"].name
    return entry


def _printable(_: Any, __: str, entry: EventDict) -> EventDict:
    """One line, without signs that move the cursor or turn the direction."""
    return {
        key: _escaped(value) if isinstance(value, str) and key != "exception" else value
        for key, value in entry.items()
    }


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def hash_sender(sender: str, *, key: str) -> str:
    """Ten hex digits that stand for a sender in logs; without ``key`` they lead nowhere."""
    keyed = hashlib.blake2s(sender.encode(), key=key.encode()[:32], digest_size=5)
    return keyed.hexdigest()


@contextmanager
def turn_context(turn: str, sender: str, *, key: str) -> Iterator[None]:
    """Let what is logged meanwhile name the turn and, hashed, its sender."""
    with structlog.contextvars.bound_contextvars(turn=turn, sender=hash_sender(sender, key=key)):
        yield


class SummaryLog:
    """A line a minute for what strangers can make happen a thousand times a second."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._log = structlog.get_logger(__name__)
        self._lock = threading.Lock()
        self._times = 0
        self._told_at = -SUMMARY_SECONDS

    def warn(self, error: str) -> None:
        """Log the event with the latest ``error``, and how many ``times`` since the last line."""
        with self._lock:
            self._times += 1
            if time.monotonic() - self._told_at < SUMMARY_SECONDS:
                return
            times, self._times, self._told_at = self._times, 0, time.monotonic()
        self._log.warning(self._event, error=error, times=times)


class ContextPool(ThreadPoolExecutor):
    """A thread pool whose tasks have turn id, sender and deadline of whoever submitted them."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        context = copy_context()
        return super().submit(lambda: context.run(fn, *args, **kwargs))
