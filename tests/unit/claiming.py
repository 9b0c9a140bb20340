"""Turns that a test claims, or may change without a claim."""

from __future__ import annotations

from core.models import Turn
from storage.claims import Claims
from storage.database import Database
from storage.turn_queue import TurnQueue


class Unclaimed(Claims):
    """Claims of a process that owns every turn."""

    def __init__(self) -> None: ...

    def confirm(self, turn: Turn) -> None: ...


def begin(database: Database, turn: Turn) -> Turn:
    """Claim the turn for a new owner, and return it as that owner has it."""
    queue = TurnQueue(database=database, single_process=True)
    queue.requeue_running()
    return next(claimed for claimed in queue.claim(1000) if claimed.id == turn.id)
