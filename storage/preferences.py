"""The table ``preferences``: each sender's language, and whether they want voice notes."""

from __future__ import annotations

import functools
import time
from typing import cast

from sqlalchemy import Insert, bindparam, delete, select

from core.models import Preferences
from storage.database import Database
from storage.schema import preferences

# Built once: building a statement takes as long as executing it.
_FIND = select(preferences).where(preferences.c.sender == bindparam("who"))


class PreferenceTable:
    """Thread-safe. A change is committed on return; all methods raise ``StorageError``."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._statement = functools.cache(self._build_statement)

    def find(self, sender: str) -> Preferences:
        """The sender's preferences; empty ones if nothing is stored."""
        row = self._database.row(_FIND, {"who": sender})
        return Preferences(row.voice, row.language, row.used_at) if row else Preferences()

    def save_voice(self, sender: str, voice: bool) -> None:
        """Store whether the sender wants voice notes."""
        self._save(sender, voice=voice)

    def save_language(self, sender: str, language: str) -> None:
        """Store the sender's language (ISO 639-1)."""
        self._save(sender, language=language)

    def purge(self, *, before: float) -> None:
        """Delete preferences that were last stored before that time (epoch seconds)."""
        self._database.change(delete(preferences).where(preferences.c.used_at < before))

    def _save(self, sender: str, **values: object) -> None:
        row = {"sender": sender, "used_at": time.time(), **values}
        self._database.change(self._statement(*values), row)

    def _build_statement(self, name: str) -> Insert:
        """The statement that stores one column of a sender's row, which may not exist yet."""
        insert = self._database.upsert(preferences)
        written = {column: insert.excluded[column] for column in (name, "used_at")}
        return cast(Insert, insert.on_conflict_do_update(index_elements=["sender"], set_=written))
