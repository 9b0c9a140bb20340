"""The table of cached answers to public questions."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, select

from storage.database import Database
from storage.schema import cached_answers

# An answer has about 1 KB.
MAX_ANSWERS = 10_000


@dataclass(frozen=True)
class StoredAnswer:
    """``text`` is Markdown; ``age`` is how many seconds ago the agent wrote it."""

    text: str
    age: float


class AnswerTable:
    """Thread-safe; all methods raise ``StorageError``.

    Answers are valid for ``lifetime`` seconds. A purge leaves ``max_answers`` or fewer.
    """

    def __init__(
        self, *, database: Database, lifetime: float, max_answers: int = MAX_ANSWERS
    ) -> None:
        self._database = database
        self._lifetime = lifetime
        self._max_answers = max_answers
        self._upsert = database.upsert

    def find(self, key: str) -> StoredAnswer | None:
        """The answer, if it is still valid."""
        now = time.time()
        wanted = select(cached_answers).where(
            cached_answers.c.key == key, cached_answers.c.kept_at > now - self._lifetime
        )
        row = self._database.row(wanted)
        return StoredAnswer(row.text, now - row.kept_at) if row else None

    def save(self, key: str, text: str) -> None:
        """Store an answer; it replaces an earlier one."""
        values = {"text": text, "kept_at": time.time()}
        statement = (
            self._upsert(cached_answers)
            .values(key=key, **values)
            .on_conflict_do_update(index_elements=["key"], set_=values)
        )
        self._database.change(statement)

    def purge(self, *, before: float) -> None:
        """Delete answers stored before that time, expired ones, and the oldest ones of too many."""
        expired_at = max(before, time.time() - self._lifetime)
        beyond = (
            select(cached_answers.c.key)
            .order_by(cached_answers.c.kept_at.desc(), cached_answers.c.key)
            .offset(self._max_answers)
        )
        self._database.change(delete(cached_answers).where(cached_answers.c.kept_at <= expired_at))
        self._database.change(delete(cached_answers).where(cached_answers.c.key.in_(beyond)))
