"""The table of cached answers to public questions."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, select

from storage.database import Database
from storage.schema import kept_answers

# About 10 MB.
MOST_ANSWERS = 10_000


@dataclass(frozen=True)
class StoredAnswer:
    """``text`` is Markdown; ``age`` is how many seconds ago the agent wrote it."""

    text: str
    age: float


class AnswerTable:
    """Thread-safe; all methods raise ``StorageError``.

    Answers are valid for ``lifetime`` seconds, and a purge leaves at most ``most``.
    """

    def __init__(self, *, database: Database, lifetime: float, most: int = MOST_ANSWERS) -> None:
        self._database = database
        self._lifetime = lifetime
        self._most = most
        self._upsert = database.upsert

    def find(self, key: str) -> StoredAnswer | None:
        """The answer, if it is still valid."""
        now = time.time()
        wanted = select(kept_answers).where(
            kept_answers.c.key == key, kept_answers.c.kept_at > now - self._lifetime
        )
        row = self._database.row(wanted)
        return StoredAnswer(row.text, now - row.kept_at) if row else None

    def save(self, key: str, text: str) -> None:
        """Store an answer; it replaces an earlier one."""
        values = {"text": text, "kept_at": time.time()}
        statement = (
            self._upsert(kept_answers)
            .values(key=key, **values)
            .on_conflict_do_update(index_elements=["key"], set_=values)
        )
        self._database.change(statement)

    def purge(self, *, before: float) -> None:
        """Delete answers stored before that time, invalid ones, and the oldest surplus."""
        oldest_kept = max(before, time.time() - self._lifetime)
        beyond = (
            select(kept_answers.c.key)
            .order_by(kept_answers.c.kept_at.desc(), kept_answers.c.key)
            .offset(self._most)
        )
        self._database.change(delete(kept_answers).where(kept_answers.c.kept_at <= oldest_kept))
        self._database.change(delete(kept_answers).where(kept_answers.c.key.in_(beyond)))
