"""The conversations an agent is having."""

from __future__ import annotations

import random
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

from sandbox.agentforce import errors


@dataclass
class Session:
    """A conversation; times are monotonic seconds.

    ``ended`` says why it is over: a reason of the DELETE header, or one of ``SessionEnded``.
    """

    session_id: str
    external_session_key: str
    text_chunks: bool
    variables: dict[str, Any]
    started_at: float
    used_at: float
    last_sequence_id: int | None = None
    ended: str | None = None


@dataclass(frozen=True)
class Ended:
    """A session that was ended by the client (``reason`` of its header) or by the agent."""

    session_id: str
    reason: str


@dataclass
class _Turn:
    sequence_id: int
    excused: bool


class Sessions:
    """Admits one request at a time to each session, in the order of its sequence.

    A session nobody used for ``idle_seconds`` is gone; the real figure is not documented
    (docs/providers/agentforce.md, "Session lifetime").
    """

    def __init__(self) -> None:
        self.idle_seconds = 86_400.0
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        # By id, in which words that is told; empty for the usual ones.
        self._gone: dict[str, str] = {}
        self._turns: dict[str, _Turn] = {}
        self._ended: list[Ended] = []

    def listed(self) -> list[Session]:
        with self._lock:
            return list(self._sessions.values())

    def ended(self) -> list[Ended]:
        with self._lock:
            return list(self._ended)

    def busy(self) -> set[str]:
        with self._lock:
            return set(self._turns)

    def start(
        self, *, external_session_key: str, text_chunks: bool, variables: dict[str, Any]
    ) -> Session:
        now = time.monotonic()
        session = Session(
            uuid7(), external_session_key, text_chunks, variables, started_at=now, used_at=now
        )
        with self._lock:
            self._sessions[session.session_id] = session
        return session

    def started(self) -> set[str]:
        """The ids of all that were ever started."""
        with self._lock:
            return set(self._sessions)

    def begin(self, session_id: str, sequence_id: int, *, excused: bool) -> Session:
        """Lock the session for one message; :meth:`finish` unlocks it.

        A client may have given up on a turn that is ``excused``, so that its next message is no
        breach. Raises the API's refusals: 404, 423, and 400 for a sequence that does not rise.
        """
        with self._lock:
            session = self._live(session_id)
            self._refuse_if_locked(session_id)
            last = session.last_sequence_id
            if last is not None and sequence_id <= last:
                raise errors.bad_request(
                    f"Duplicate sequenceId {sequence_id}: the last one was {last}"
                )
            session.last_sequence_id = sequence_id
            session.used_at = time.monotonic()
            self._turns[session_id] = _Turn(sequence_id, excused)
            return session

    def finish(self, session_id: str, sequence_id: int) -> None:
        """Unlock the session, unless another message has it already."""
        with self._lock:
            turn = self._turns.get(session_id)
            if turn is not None and turn.sequence_id == sequence_id:
                del self._turns[session_id]
                self._sessions[session_id].used_at = time.monotonic()

    def check(self, session_id: str) -> None:
        """Raises 404 when the session does not live."""
        with self._lock:
            self._live(session_id)

    def end(self, session_id: str, reason: str) -> None:
        """End it for the client; raises 404 when it does not live and 423 in mid-turn."""
        with self._lock:
            self._live(session_id, ending=True)
            self._refuse_if_locked(session_id)
            self._over(session_id, reason)

    def ended_by_agent(self, session_id: str, reason: str, *, told: bool) -> None:
        """The agent said goodbye; ``told`` is false when a fault may keep that from the client."""
        with self._lock:
            if self._sessions[session_id].ended is None:
                self._over(session_id, reason)
            if not told:
                self._gone[session_id] = ""

    def forget(self, words: str = "") -> None:
        """Let all sessions age out, which their clients cannot know; ``words`` tell of it."""
        with self._lock:
            self._gone.update(dict.fromkeys(self._sessions, words))

    def _live(self, session_id: str, *, ending: bool = False) -> Session:
        session = self._sessions.get(session_id)
        if session is None or session_id in self._gone:
            raise errors.session_not_found(session_id, words=self._gone.get(session_id, ""))
        if session.ended is not None:
            breach = None if ending else f"a request to a session that ended: {session.ended}"
            raise errors.session_not_found(session_id, breach)
        idle = time.monotonic() - session.used_at
        if session_id not in self._turns and idle > self.idle_seconds:
            raise errors.session_not_found(session_id)
        return session

    def _refuse_if_locked(self, session_id: str) -> None:
        turn = self._turns.get(session_id)
        if turn is not None:
            breach = "a second request on a session while one runs"
            raise errors.session_locked(None if turn.excused else breach)

    def _over(self, session_id: str, reason: str) -> None:
        self._sessions[session_id].ended = reason
        self._ended.append(Ended(session_id, reason))


def uuid7() -> str:
    """A time-ordered UUID, as recorded session ids are."""
    bits = int(time.time() * 1000) << 80 | random.getrandbits(80)
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=bits))
