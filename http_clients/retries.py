"""When a call is made again: one policy for all clients."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from tenacity import RetryCallState, Retrying, retry_if_exception

from core.deadline import remaining_time
from core.errors import BridgeError

# No provider's Retry-After may hold a turn longer than this.
LONGEST_WAIT = 20.0
# Between the tries of an error's patience.
PATIENT_DELAY = 5.0


def retrying(delays: Sequence[float], *, factor: float = 1.0) -> Retrying:
    """A caller that tries at once, then after each of ``delays`` (seconds).

    It tries again on errors that are ``retryable``, beyond the delays for as long as their
    ``patience``, and waits longer where they carry ``retry_after``, but not beyond the turn's
    deadline. It raises the last error, ``cut_short`` where that deadline ended the tries. All waits
    are times ``factor``.
    """

    def stop(state: RetryCallState) -> bool:
        error = _error(state)
        # Time spent in the call itself, such as in line for a place, is not patience.
        patient = error is not None and state.idle_for < error.retry_seconds * factor
        left = remaining_time()
        too_late = left is not None and state.upcoming_sleep >= left
        enough = state.attempt_number > len(delays) and not patient
        if error is not None:
            error.cut_short = too_late and not enough
        return too_late or enough

    def wait(state: RetryCallState) -> float:
        error = _error(state)
        asked = (error and error.retry_after) or 0.0
        # Those who were refused together must not come back together.
        jitter = random.uniform(1.0, 1.2)  # noqa: S311  # nothing secret
        delay = _delay(delays, state.attempt_number) * jitter
        return max(delay * factor, min(asked, LONGEST_WAIT * factor))

    return Retrying(stop=stop, wait=wait, retry=retry_if_exception(_is_retryable), reraise=True)


def _delay(delays: Sequence[float], attempt: int) -> float:
    return delays[attempt - 1] if attempt <= len(delays) else PATIENT_DELAY


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, BridgeError) and error.retryable


def _error(state: RetryCallState) -> BridgeError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, BridgeError) else None


def parse_retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, or ``None`` if it has none that can be read."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return None if math.isnan(seconds) else max(seconds, 0.0)
