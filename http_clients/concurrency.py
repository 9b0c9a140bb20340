"""How many requests a provider gets at once."""

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
    """A gate for so many calls at once as ``provider`` takes, first come, first served.

    Additive increase, multiplicative decrease, as in TCP (RFC 5681 §3.1): a call that ends in a
    ``limited`` error halves how many are let in, and as many successes as are let in make it one
    more, up to ``ceiling``. Whatever changes, who is inside stays inside.
    """

    def __init__(self, ceiling: int, *, provider: str) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._ceiling = ceiling
        self._parts = 1
        # What refusals have taught: nothing yet.
        self._learned = math.inf
        self._cuts = 0
        self._inside = 0
        self._queue: deque[Future[int]] = deque()

    @property
    def size(self) -> int:
        """How many are let in at once; at least one, or nothing would ever move."""
        return max(int(min(self._learned, self._ceiling // self._parts)), 1)

    @property
    def available_slots(self) -> int:
        """How many more would be let in right now; at least none."""
        with self._lock:
            return max(self.size - self._inside - len(self._queue), 0)

    def set_ceiling(self, ceiling: int) -> None:
        """Let in ``ceiling`` at most, over all processes."""
        with self._lock:
            self._ceiling = ceiling
            self._admit()

    def set_share(self, parts: int) -> None:
        """Take one of ``parts`` equal parts of the ceiling, for as many processes."""
        with self._lock:
            self._parts = max(parts, 1)
            self._admit()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a place and hold it for one call, which is to raise its errors in here.

        Raises ``DeadlineExceeded`` where there is none in time.
        """
        cuts = self._enter()
        try:
            yield
        except BridgeError as error:
            if error.rate_limited:
                self._refused(cuts)
            raise
        else:
            self._served()
        finally:
            self._leave()

    def _enter(self) -> int:
        """Returns how many cuts there were when the place was given."""
        turn: Future[int] = Future()
        with self._lock:
            self._queue.append(turn)
            self._admit()
        try:
            return turn.result(remaining_time())
        except TimeoutError:
            return self._given_up(turn)

    def _given_up(self, turn: Future[int]) -> int:
        with self._lock:
            # It may have been let in a moment ago.
            if not turn.done():
                self._queue.remove(turn)
                raise DeadlineExceeded("no place in time") from None
        return turn.result()

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            self._admit()

    def _admit(self) -> None:
        while self._queue and self._inside < self.size:
            self._inside += 1
            self._queue.popleft().set_result(self._cuts)

    def _refused(self, cuts: int) -> None:
        with self._lock:
            # Calls that were let in together are refused together; that is one lesson.
            if cuts < self._cuts:
                return
            self._cuts += 1
            # Half of those really inside: where few use a wide gate, its width says nothing.
            self._learned = max(min(self.size, self._inside) // 2, 1)
            size = self.size
        log.warning("Limit met; fewer requests at once", provider=self._provider, at_once=size)

    def _served(self) -> None:
        with self._lock:
            self._learned += 1 / self._learned
