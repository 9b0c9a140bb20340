"""The turns that this process holds, as far as it can know."""

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

# What begins within that time of the last renewal is over before others may take the turn.
SURE_SECONDS = CLAIM_SECONDS - 4
LOOK_SECONDS = 1.0


@dataclass
class _Claim:
    """``sure_until`` is in monotonic seconds, which run on while the process is paused."""

    turn: Turn
    sure_until: float
    asked: bool = False


class Claims:
    """Thread-safe.

    A process that is paused or cut off from the database cannot know whether others have taken its
    turns meanwhile. ``confirm`` is to be called right before what cannot be taken back.
    ``renewals`` is the same queue, over connections that turns cannot use up.
    """

    def __init__(self, *, queue: TurnQueue, renewals: TurnQueue) -> None:
        self._queue = queue
        self._renewals = renewals
        self._changed = threading.Condition()
        self._claims: dict[int, _Claim] = {}
        self._cut_off = False

    def claim_turns(self, most: int) -> list[Turn]:
        """Claim up to ``most`` turns. Raises ``StorageError``."""
        if not self._all_sure():
            # Or we might take from ourselves what we let end.
            self.renew()
        sure_until = self._sure_from_now()
        taken = self._queue.claim(most)
        with self._changed:
            for turn in taken:
                self._claims[turn.id] = _Claim(turn, sure_until)
        return taken

    def confirm(self, turn: Turn) -> None:
        """Return if the turn is surely ours; wait while nobody can know.

        Raises ``TurnSuperseded``, or ``DeadlineExceeded`` where one holds.
        """
        with self._changed:
            while time.monotonic() >= self._claim(turn).sure_until:
                self._changed.wait(clamp(LOOK_SECONDS))

    def mark_asked(self, turn: Turn) -> None:
        """The agent gets the question now: the turn must not be given back as if it had not."""
        with self._changed:
            self._claim(turn).asked = True

    def renew(self) -> None:
        """Go on holding what is ours, and let go of what others have taken.

        Raises ``StorageError``.
        """
        with self._changed:
            held = list(self._claims.values())
        if not held:
            return
        sure_until = self._sure_from_now()
        try:
            ours = self._renewals.renew({str(claim.turn.claim) for claim in held})
        except StorageError:
            self._tell_once(held)
            raise
        self._cut_off = False
        with self._changed:
            for claim in held:
                if claim.turn.id in ours:
                    claim.sure_until = sure_until
                elif self._claims.get(claim.turn.id) is claim:
                    del self._claims[claim.turn.id]
            self._changed.notify_all()

    def forget(self, turn: Turn) -> None:
        """The turn is done, or another's."""
        with self._changed:
            if self._find(turn):
                del self._claims[turn.id]

    def release(self, turn: Turn, *, broken: bool = False) -> None:
        """Give a turn back that is not done, perhaps because it broke off, if it is still ours."""
        with self._changed:
            held = self._find(turn)
        if held:
            self._release([held], broken=[turn.id] if broken else [])

    def release_all(self) -> None:
        """Give back all that is held: the process ends."""
        with self._changed:
            held = list(self._claims.values())
        if held:
            self._release(held)

    def _release(self, held: list[_Claim], *, broken: Sequence[int] = ()) -> None:
        """Where that fails, the claims end by themselves."""
        asked = [claim.turn.id for claim in held if claim.asked]
        for claim in held:
            self.forget(claim.turn)
        try:
            turns = [claim.turn for claim in held]
            self._queue.release(turns, asked=asked, broken=broken)
        except StorageError as error:
            log.warning("Turns not given back", turns=len(held), error=type(error).__name__)

    def _all_sure(self) -> bool:
        now = time.monotonic()
        with self._changed:
            return all(now < claim.sure_until for claim in self._claims.values())

    def _claim(self, turn: Turn) -> _Claim:
        held = self._find(turn)
        if held is None:
            raise TurnSuperseded
        return held

    def _find(self, turn: Turn) -> _Claim | None:
        """What is held of that very start of the turn."""
        held = self._claims.get(turn.id)
        return held if held and held.turn.claim == turn.claim else None

    def _sure_from_now(self) -> float:
        return math.inf if self._queue.single_process else time.monotonic() + SURE_SECONDS

    def _tell_once(self, held: list[_Claim]) -> None:
        if not self._cut_off and time.monotonic() >= min(claim.sure_until for claim in held):
            self._cut_off = True
            log.error(
                "The database cannot be reached: until it is, nothing more is asked or sent",
                turns=len(held),
            )
