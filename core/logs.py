"""Log lines for ``heroku logs --tail``: one per stage, with the turn's id and its hashed sender.

No line holds a phone number, a transcript, an answer, a token or a signed URL.
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

from core import redaction

P = ParamSpec("P")
T = TypeVar("T")

# The name of our root logger; those of our modules are below it.
ROOT_LOGGER = "bridge"
SUMMARY_SECONDS = 60.0
# The beginning of a message that is formatted already, up to the first character that may be part
# of a value.
_WORDS = re.compile(r"[A-Za-z ,.'-]*+")


def configure_logging(*, level: str, form: str) -> None:
    """Send all logs to standard error as ``text`` or ``json`` lines."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
    ]
    root = logging.getLogger()
    root.handlers[:] = [_build_handler(shared, form)]
    # With this level, libraries do not even create records below WARNING, which some do often.
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT_LOGGER).setLevel(level)
    # The handler of gunicorn would log the paths of requests.
    gunicorn = logging.getLogger("gunicorn.error")
    gunicorn.handlers.clear()
    gunicorn.propagate = True
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=_module_logger,
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _build_handler(shared: list[Processor], form: str) -> logging.Handler:
    """The handler of all loggers; ``shared`` processors run for records of libraries too."""
    rendering: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.ExceptionRenderer(redaction.render),
        _escape_unprintable,
    ]
    if form == "json":
        rendering += [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        rendering.append(structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0))
    handler = logging.StreamHandler()
    handler.addFilter(_is_ours_or_warning)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _remove_details],
            processors=rendering,
            use_get_message=False,
            pass_foreign_args=True,
        )
    )
    return handler


def _module_logger(module: str) -> logging.Logger:
    return logging.getLogger(f"{ROOT_LOGGER}.{module}")


def _is_ours_or_warning(record: logging.LogRecord) -> bool:
    """Drop records of libraries below WARNING: they have URLs, headers and bodies.

    Some libraries set the level of their loggers, so the level of the root logger is not enough.
    """
    return record.levelno >= logging.WARNING or record.name.startswith(ROOT_LOGGER)


def _remove_details(_: Any, __: str, entry: EventDict) -> EventDict:
    """Remove values, such as URLs, keys and rows, from the messages of libraries."""
    if not entry.pop("positional_args"):
        entry["event"] = _WORDS.findall(entry["event"])[0]
    entry["library"] = entry["_record"].name
    return entry


def _escape_unprintable(_: Any, __: str, entry: EventDict) -> EventDict:
    """Escape line breaks, and characters that move the cursor or change the text direction."""
    return {
        key: _escape(value) if isinstance(value, str) and key != "exception" else value
        for key, value in entry.items()
    }


def _escape(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def hash_sender(sender: str, *, key: str) -> str:
    """Ten hex digits for a sender in logs, which cannot be traced back without ``key``."""
    return hashlib.blake2s(sender.encode(), key=key.encode()[:32], digest_size=5).hexdigest()


@contextmanager
def turn_context(turn: str, sender: str, *, key: str) -> Iterator[None]:
    """Add the turn's id and its hashed sender to the log lines of the ``with`` block."""
    with structlog.contextvars.bound_contextvars(turn=turn, sender=hash_sender(sender, key=key)):
        yield


class SummaryLog:
    """Logs one line a minute for an event that strangers can cause thousands of times."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._log = structlog.get_logger(__name__)
        self._lock = threading.Lock()
        self._times = 0
        self._logged_at = -SUMMARY_SECONDS

    def warn(self, error: str) -> None:
        """Count the event; if a line is due, log it with ``error`` and the count since the last."""
        with self._lock:
            self._times += 1
            if time.monotonic() - self._logged_at < SUMMARY_SECONDS:
                return
            times, self._times, self._logged_at = self._times, 0, time.monotonic()
        self._log.warning(self._event, error=error, times=times)


class ContextPool(ThreadPoolExecutor):
    """A thread pool whose tasks inherit the context of the submitter: turn, sender, deadline."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        context = copy_context()
        return super().submit(lambda: context.run(fn, *args, **kwargs))
