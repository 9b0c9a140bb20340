"""What may be logged of an exception: its kind and its place, never what it quotes."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType

import psycopg
from sqlalchemy.exc import DBAPIError

from core.errors import BridgeError

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def describe_error(error: BaseException) -> str:
    """``Kind: reason`` on one line; without a reason where it might quote people or secrets."""
    kind, reason = type(error).__name__, _reason(error)
    return f"{kind}: {reason}" if reason else kind


def render(exc_info: ExcInfo) -> str:
    """A traceback that ends in what may be told, with those of its causes before it."""
    return "".join(_lines(exc_info[1], set())).rstrip("\n")


def _reason(error: BaseException) -> str:
    if isinstance(error, BridgeError):
        return str(error)
    cause = error.orig if isinstance(error, DBAPIError) else error
    # Its other lines quote rows and statements, and so do errors of the data themselves.
    if isinstance(error, DBAPIError | psycopg.Error) and not isinstance(cause, psycopg.DataError):
        return str(cause).partition("\n")[0]
    # requests calls its errors so too, and puts addresses into them.
    if isinstance(error, OSError) and type(error).__module__ == "builtins":
        return error.strerror or ""
    return ""


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    context = None if error.__suppress_context__ else error.__context__
    before = error.__cause__ or context
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield "\nwhich led to:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{describe_error(error)}\n"
