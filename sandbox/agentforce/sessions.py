"""The sessions of an agent: their locks, sequences and ends."""

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
    """A session; times are monotonic seconds.

    ``ended`` is the reason for its end, from the DELETE header or ``SessionEnded``; None before.
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
    """The end of a session, by the client or by the agent."""

    session_id: str
    reason: str


@dataclass
class _Turn:
    sequence_id: int
    excused: bool


class Sessions:
    """Allows one request at a time in each session, with rising sequence numbers. Thread-safe.

    A session that was not used for ``idle_seconds`` has expired. The real limit is not documented
    (docs/providers/agentforce.md, "Session lifetime").
    """

    def __init__(self) -> None:
        self.idle_seconds = 86_400.0
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        # Expired sessions by id, with the message of their 404; empty for the usual message.
        self._expired: dict[str, str] = {}
        self._turns: dict[str, _Turn] = {}
        self._ended: list[Ended] = []

    def all(self) -> list[Session]:
        with self._lock:
            return list(self._sessions.values())

    def ended(self) -> list[Ended]:
        with self._lock:
            return list(self._ended)

    def busy(self) -> set[str]:
        """The ids of the sessions that are locked by a message."""
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

    def begin(self, session_id: str, sequence_id: int, *, excused: bool) -> Session:
        """Lock the session for one message; :meth:`finish` unlocks it.

        If the message is ``excused``, because a fault may have made the client give up, another
        message during its turn is not a violation. Raises ``Refusal``: 404, 423, or 400 for a
        sequence number that does not rise.
        """
        with self._lock:
            session = self._get(session_id)
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
        """Unlock the session, unless another message has locked it meanwhile."""
        with self._lock:
            turn = self._turns.get(session_id)
            if turn is not None and turn.sequence_id == sequence_id:
                del self._turns[session_id]
                self._sessions[session_id].used_at = time.monotonic()

    def check(self, session_id: str) -> None:
        """Raises 404 if the session does not exist any more."""
        with self._lock:
            self._get(session_id)

    def end(self, session_id: str, reason: str) -> None:
        """End it for the client; raises 404 if it does not exist and 423 during a turn."""
        with self._lock:
            self._get(session_id, ending=True)
            self._refuse_if_locked(session_id)
            self._end(session_id, reason)

    def end_by_agent(self, session_id: str, reason: str, *, delivered: bool) -> None:
        """End it for the agent; ``delivered`` is False if the client may not have learned of it."""
        with self._lock:
            if self._sessions[session_id].ended is None:
                self._end(session_id, reason)
            if not delivered:
                self._expired[session_id] = ""

    def expire_all(self, message: str = "") -> None:
        """Let all sessions expire, without their clients' knowledge.

        ``message`` replaces the usual message of the 404.
        """
        with self._lock:
            self._expired.update(dict.fromkeys(self._sessions, message))

    def _get(self, session_id: str, *, ending: bool = False) -> Session:
        session = self._sessions.get(session_id)
        if session is None or session_id in self._expired:
            message = self._expired.get(session_id, "")
            raise errors.session_not_found(session_id, message=message)
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

    def _end(self, session_id: str, reason: str) -> None:
        self._sessions[session_id].ended = reason
        self._ended.append(Ended(session_id, reason))


def uuid7() -> str:
    """A time-ordered UUID (version 7), like recorded session ids."""
    bits = int(time.time() * 1000) << 80 | random.getrandbits(80)
    bits = bits & ~(0xF << 76) | 0x7 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=bits))
