"""Answers to public questions, kept to be given again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, select

from storage.database import Database
from storage.schema import kept_answers

# Some 10 MB.
MOST_ANSWERS = 10_000


@dataclass(frozen=True)
class StoredAnswer:
    """Markdown, and how long ago the agent gave it, in seconds."""

    text: str
    age: float


class AnswerTable:
    """Every method may raise ``StorageError``; ``lifetime`` is in seconds."""

    def __init__(self, *, database: Database, lifetime: float, most: int = MOST_ANSWERS) -> None:
        self._database = database
        self._lifetime = lifetime
        self._most = most
        self._upsert = database.upsert

    def find(self, key: str) -> StoredAnswer | None:
        now = time.time()
        wanted = select(kept_answers).where(
            kept_answers.c.key == key, kept_answers.c.kept_at > now - self._lifetime
        )
        row = self._database.row(wanted)
        return StoredAnswer(row.text, now - row.kept_at) if row else None

    def save(self, key: str, text: str) -> None:
        """Keep an answer in place of an earlier one."""
        values = {"text": text, "kept_at": time.time()}
        statement = (
            self._upsert(kept_answers)
            .values(key=key, **values)
            .on_conflict_do_update(index_elements=["key"], set_=values)
        )
        self._database.change(statement)

    def purge(self, *, before: float) -> None:
        """Forget those kept before that time or past their own, and the oldest of too many."""
        oldest_kept = max(before, time.time() - self._lifetime)
        beyond = (
            select(kept_answers.c.key)
            .order_by(kept_answers.c.kept_at.desc(), kept_answers.c.key)
            .offset(self._most)
        )
        self._database.change(delete(kept_answers).where(kept_answers.c.kept_at <= oldest_kept))
        self._database.change(delete(kept_answers).where(kept_answers.c.key.in_(beyond)))
