"""Describes exceptions for the log: class and place, but no message that may quote values."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from types import TracebackType

import psycopg
from sqlalchemy.exc import DBAPIError

from core.errors import BridgeError

# In a quoted host, if the password of DATABASE_URL has an @ that is not percent-encoded.
_REST_OF_PASSWORD = re.compile(r"""(?<=['"]).*@""")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def describe_error(error: BaseException) -> str:
    """``Class: reason`` on one line; only the class if the reason may quote people or secrets."""
    name, reason = type(error).__name__, _reason(error)
    return f"{name}: {reason}" if reason else name


def describe_database_error(error: BaseException) -> str:
    """What a driver says of a connection or a statement, without a part of the password."""
    return _REST_OF_PASSWORD.sub("…@", str(error))


def render(exc_info: ExcInfo) -> str:
    """A traceback like Python's, causes first, but with ``describe_error`` for the messages."""
    return "".join(_lines(exc_info[1], set())).rstrip("\n")


def _reason(error: BaseException) -> str:
    if isinstance(error, BridgeError):
        return str(error)
    cause = error.orig if isinstance(error, DBAPIError) else error
    # The first line names the problem. The other lines quote rows and statements, and a data error
    # quotes values in its first line too.
    if isinstance(error, DBAPIError | psycopg.Error) and not isinstance(cause, psycopg.DataError):
        return describe_database_error(cause or error).partition("\n")[0]
    # Errors of requests are OSErrors too, and quote URLs.
    if isinstance(error, OSError) and type(error).__module__ == "builtins":
        return error.strerror or ""
    return ""


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    context = None if error.__suppress_context__ else error.__context__
    cause = error.__cause__ or context
    if cause is not None and id(cause) not in seen:
        yield from _lines(cause, seen)
        yield "\nwhich led to:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{describe_error(error)}\n"
