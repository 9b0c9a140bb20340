"""The turns that this process has claimed, and for how long it can be sure of that."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from core.deadline import clamp
from core.errors import TurnSuperseded
from core.models import Turn
from storage.database import StorageError
from storage.turn_queue import CLAIM_SECONDS, TurnQueue

log = structlog.get_logger(__name__)

# An action that starts within this time after a renewal ends before the claim expires: 4 s remain
# for it.
SAFE_SECONDS = CLAIM_SECONDS - 4
LOOK_SECONDS = 1.0


@dataclass
class _Claim:
    """``safe_until`` is a time of ``time.monotonic()``, which runs on while the process is paused.

    ``asked``: the agent was asked in this attempt.
    """

    turn: Turn
    safe_until: float
    asked: bool = False


class Claims:
    """Thread-safe.

    A process that was paused or cannot reach the database does not know whether other processes
    have claimed its turns meanwhile. Call ``confirm`` right before each effect that cannot be
    undone, such as asking or sending. ``renewals`` is the same queue on reserved database
    connections.
    """

    def __init__(self, *, queue: TurnQueue, renewals: TurnQueue) -> None:
        self._queue = queue
        self._renewals = renewals
        self._changed = threading.Condition()
        self._claims: dict[int, _Claim] = {}
        self._cut_off = False

    def claim_turns(self, limit: int) -> list[Turn]:
        """Claim up to ``limit`` turns of the queue. Raises ``StorageError``."""
        if not self._all_safe():
            # If one of our claims has expired, the queue could return a turn that we still run.
            self.renew()
        safe_until = self._safe_until()
        claimed = self._queue.claim(limit)
        with self._changed:
            for turn in claimed:
                self._claims[turn.id] = _Claim(turn, safe_until)
        return claimed

    def confirm(self, turn: Turn) -> None:
        """Return once the turn is certainly ours; wait while that is uncertain.

        Raises ``TurnSuperseded``, or ``DeadlineExceeded`` if a deadline applies and has passed.
        """
        with self._changed:
            while time.monotonic() >= self._claim(turn).safe_until:
                self._changed.wait(clamp(LOOK_SECONDS))

    def mark_asked(self, turn: Turn) -> None:
        """Store that the agent is asked now, so that this attempt counts even after a release."""
        with self._changed:
            self._claim(turn).asked = True

    def renew(self) -> None:
        """Renew all claims, and forget those that other processes have taken over.

        Raises ``StorageError``.
        """
        with self._changed:
            held = list(self._claims.values())
        if not held:
            return
        safe_until = self._safe_until()
        try:
            ours = self._renewals.renew({str(claim.turn.claim) for claim in held})
        except StorageError:
            self._log_once(held)
            raise
        self._cut_off = False
        with self._changed:
            for claim in held:
                if claim.turn.id in ours:
                    claim.safe_until = safe_until
                elif self._claims.get(claim.turn.id) is claim:
                    del self._claims[claim.turn.id]
            self._changed.notify_all()

    def forget(self, turn: Turn) -> None:
        """Forget a turn that is finished, or that another process has claimed."""
        with self._changed:
            if self._find(turn):
                del self._claims[turn.id]

    def release(self, turn: Turn, *, failed: bool = False) -> None:
        """Let other processes claim a turn. With ``failed``, this attempt counts."""
        with self._changed:
            held = self._find(turn)
        if held:
            self._release([held], failed=[turn.id] if failed else [])

    def release_all(self) -> None:
        """Let other processes claim all turns of this process, because it stops."""
        with self._changed:
            held = list(self._claims.values())
        if held:
            self._release(held)

    def _release(self, held: list[_Claim], *, failed: Sequence[int] = ()) -> None:
        """Release claims; if that fails, they expire by themselves."""
        asked = [claim.turn.id for claim in held if claim.asked]
        for claim in held:
            self.forget(claim.turn)
        try:
            turns = [claim.turn for claim in held]
            self._queue.release(turns, asked=asked, failed=failed)
        except StorageError as error:
            log.warning(
                "Turns not released; their claims will expire",
                turns=len(held),
                error=type(error).__name__,
            )

    def _all_safe(self) -> bool:
        now = time.monotonic()
        with self._changed:
            return all(now < claim.safe_until for claim in self._claims.values())

    def _claim(self, turn: Turn) -> _Claim:
        held = self._find(turn)
        if held is None:
            raise TurnSuperseded
        return held

    def _find(self, turn: Turn) -> _Claim | None:
        """The claim, if it is of the same attempt of the turn."""
        held = self._claims.get(turn.id)
        return held if held and held.turn.claim == turn.claim else None

    def _safe_until(self) -> float:
        return math.inf if self._queue.single_process else time.monotonic() + SAFE_SECONDS

    def _log_once(self, held: list[_Claim]) -> None:
        if not self._cut_off and time.monotonic() >= min(claim.safe_until for claim in held):
            self._cut_off = True
            log.error(
                "The database cannot be reached: until it is, nothing more is asked or sent",
                turns=len(held),
            )
