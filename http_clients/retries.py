"""Repeats failed calls: one policy for all clients."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from tenacity import RetryCallState, Retrying, retry_if_exception

from core.deadline import remaining_time
from core.errors import BridgeError

# All in seconds. A longer ``Retry-After`` is shortened to this.
MAX_RETRY_AFTER = 20.0
# The delay between tries once the caller's delays are used up, as long as the error's
# ``retry_seconds`` allow.
EXTRA_DELAY = 5.0
# Delays are multiplied by a random factor in this range, so that calls that were refused together
# are not repeated together.
JITTER = (1.0, 1.2)


def retrying(delays: Sequence[float], *, factor: float = 1.0) -> Retrying:
    """Returns a caller that tries at once and, after ``retryable`` errors, after each delay.

    It goes on beyond ``delays`` until it has waited for ``retry_seconds`` of the error, waits for
    ``retry_after`` of the error if that is longer than the delay, and stops before the turn's
    deadline. It raises the last error, with ``cut_short`` set if it was the deadline that ended the
    tries. All waits are in seconds and multiplied by ``factor``.
    """

    def stop(state: RetryCallState) -> bool:
        error = _error(state)
        # ``idle_for`` is the time spent waiting between the tries.
        goes_on = error is not None and state.idle_for < error.retry_seconds * factor
        exhausted = state.attempt_number > len(delays) and not goes_on
        remaining = remaining_time()
        too_late = remaining is not None and state.upcoming_sleep >= remaining
        if error is not None:
            error.cut_short = too_late and not exhausted
        return too_late or exhausted

    def wait(state: RetryCallState) -> float:
        error = _error(state)
        retry_after = (error and error.retry_after) or 0.0
        jitter = random.uniform(*JITTER)  # noqa: S311  # nothing secret
        delay = _delay(delays, state.attempt_number) * jitter
        return max(delay * factor, min(retry_after, MAX_RETRY_AFTER * factor))

    return Retrying(stop=stop, wait=wait, retry=retry_if_exception(_is_retryable), reraise=True)


def _delay(delays: Sequence[float], attempt: int) -> float:
    return delays[attempt - 1] if attempt <= len(delays) else EXTRA_DELAY


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, BridgeError) and error.retryable


def _error(state: RetryCallState) -> BridgeError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, BridgeError) else None


def parse_retry_after(value: str | None) -> float | None:
    """The seconds in a ``Retry-After`` header; ``None`` if there are none, such as in a date."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return None if math.isnan(seconds) else max(seconds, 0.0)
