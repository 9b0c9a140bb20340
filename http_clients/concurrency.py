"""Limits how many requests are sent to a provider at once."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import structlog

from core.deadline import remaining_time
from core.errors import BridgeError, DeadlineExceeded

log = structlog.get_logger(__name__)


class ConcurrencyLimiter:
    """Gives out as many slots at once as ``provider`` accepts requests, first come, first served.

    Additive increase, multiplicative decrease, as in TCP (RFC 5681 §3.1): a request that ends in a
    ``rate_limited`` error halves the limit, and as many successes as the limit raise it by one, up
    to the ceiling. A lower limit takes no slot away from a request in flight.
    """

    def __init__(self, ceiling: int, *, provider: str) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._ceiling = ceiling
        # How many processes share the ceiling.
        self._processes = 1
        # The limit learned from 429 responses; there is none before the first 429.
        self._learned_limit = math.inf
        # How often the learned limit was halved.
        self._decreases = 0
        self._in_flight = 0
        # A future is resolved, with ``_decreases``, when its waiter gets a slot.
        self._waiters: deque[Future[int]] = deque()

    @property
    def limit(self) -> int:
        """The number of slots; at least one, so that requests can be made at all."""
        return max(int(min(self._learned_limit, self._ceiling // self._processes)), 1)

    @property
    def available_slots(self) -> int:
        """The number of requests that could get a slot right now without waiting."""
        with self._lock:
            return max(self.limit - self._in_flight - len(self._waiters), 0)

    def set_ceiling(self, ceiling: int) -> None:
        """Allow ``ceiling`` requests at once at most, over all processes."""
        with self._lock:
            self._ceiling = ceiling
            self._give_out_slots()

    def set_share(self, processes: int) -> None:
        """Use one of ``processes`` equal parts of the ceiling."""
        with self._lock:
            self._processes = max(processes, 1)
            self._give_out_slots()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a slot and hold it for one request, whose errors must leave the block.

        Raises ``DeadlineExceeded`` if the turn's deadline ends before there is a slot.
        """
        decreases = self._acquire()
        try:
            yield
        except BridgeError as error:
            if error.rate_limited:
                self._decrease(decreases)
            raise
        else:
            self._increase()
        finally:
            self._release()

    def _acquire(self) -> int:
        """Returns the number of decreases at the time when the slot was given out."""
        waiter: Future[int] = Future()
        with self._lock:
            self._waiters.append(waiter)
            self._give_out_slots()
        try:
            return waiter.result(remaining_time())
        except TimeoutError:
            return self._cancel(waiter)

    def _cancel(self, waiter: Future[int]) -> int:
        """Stop waiting; returns the same as ``_acquire`` if the slot has just been given out."""
        with self._lock:
            if not waiter.done():
                self._waiters.remove(waiter)
                raise DeadlineExceeded("no slot in time") from None
        return waiter.result()

    def _release(self) -> None:
        with self._lock:
            self._in_flight -= 1
            self._give_out_slots()

    def _give_out_slots(self) -> None:
        while self._waiters and self._in_flight < self.limit:
            self._in_flight += 1
            self._waiters.popleft().set_result(self._decreases)

    def _decrease(self, decreases: int) -> None:
        """Halve the limit after a 429; ``decreases`` is what ``_acquire`` returned."""
        with self._lock:
            # Requests that were in flight together are refused together: that counts once.
            if decreases < self._decreases:
                return
            self._decreases += 1
            # Half of what is in flight: the limit itself may never have been reached.
            self._learned_limit = max(min(self.limit, self._in_flight) // 2, 1)
            limit = self.limit
        log.warning("Rate limited; fewer requests at once", provider=self._provider, at_once=limit)

    def _increase(self) -> None:
        with self._lock:
            self._learned_limit += 1 / self._learned_limit
