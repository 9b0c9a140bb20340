"""Questions that reached the agent, and the turns that answer them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sandbox.agentforce.sessions import Session


@dataclass(frozen=True)
class Question:
    """One message that reached the agent; ``at`` is monotonic seconds."""

    session_id: str
    external_session_key: str
    sequence_id: int
    text: str
    at: float
    streamed: bool


@dataclass(frozen=True)
class Turn:
    """An accepted message and the agent's ``messages`` in answer to it.

    ``delivered`` is False if a fault may keep the answer from the client. ``cleanup`` releases the
    call's slot.
    """

    session: Session
    sequence_id: int
    messages: list[dict[str, Any]]
    delivered: bool
    cleanup: ExitStack
