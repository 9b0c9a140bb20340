"""When a call is made again: one policy for all clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from urllib3.exceptions import MaxRetryError, NewConnectionError

from errors import BridgeError

# No cloud's Retry-After may hold a turn longer than this.
LONGEST_WAIT = 20.0


def patiently(
    delays: Sequence[float], *, when: Callable[[BaseException], bool] | None = None
) -> Retrying:
    """A caller that tries at once, then after each of ``delays`` (seconds).

    It tries again on errors that are ``retryable`` (or for which ``when`` holds), waits longer
    where the error carries ``retry_after``, and raises the last error.
    """

    def wait(state: RetryCallState) -> float:
        asked = _retry_after(state.outcome.exception() if state.outcome else None)
        return max(delays[state.attempt_number - 1], min(asked, LONGEST_WAIT))

    return Retrying(
        stop=stop_after_attempt(len(delays) + 1),
        wait=wait,
        retry=retry_if_exception(when or is_retryable),
        reraise=True,
    )


def is_retryable(error: BaseException) -> bool:
    return isinstance(error, BridgeError) and error.retryable


def never_sent(error: BaseException) -> bool:
    """Whether a request surely had no effect because no connection came about."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    if isinstance(error, requests.ConnectionError) and error.args:
        cause = error.args[0]
        return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
    return False


def parse_retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, or ``None`` if it has none that can be read."""
    try:
        return max(float(value or ""), 0.0)
    except ValueError:
        return None


def _retry_after(error: BaseException | None) -> float:
    return (isinstance(error, BridgeError) and error.retry_after) or 0.0
