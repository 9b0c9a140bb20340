"""The table of synthesised speech, which all processes share."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from storage.database import Database
from storage.schema import spoken_pieces


@dataclass(frozen=True)
class AudioSegment:
    """``audio`` is Ogg/Opus; ``made_at`` is when it was synthesised, in epoch seconds."""

    audio: bytes
    made_at: float


class AudioTable:
    """Thread-safe; all methods raise ``StorageError``. A purge leaves at most ``most_bytes``."""

    def __init__(self, *, database: Database, most_bytes: int) -> None:
        self._database = database
        self._most_bytes = most_bytes
        self._upsert = database.upsert

    def find(self, key: str) -> AudioSegment | None:
        """The segment; it is marked as used now."""
        statement = (
            update(spoken_pieces)
            .where(spoken_pieces.c.key == key)
            .values(used_at=time.time())
            .returning(spoken_pieces.c.audio, spoken_pieces.c.made_at)
        )
        row = self._database.row(statement)
        return AudioSegment(row.audio, row.made_at) if row else None

    def save(self, key: str, segment: AudioSegment) -> None:
        """Store a segment, unless there is one already."""
        row = {
            "key": key,
            "audio": segment.audio,
            "made_at": segment.made_at,
            "used_at": time.time(),
        }
        statement = self._upsert(spoken_pieces).values(row).on_conflict_do_nothing()
        self._database.change(statement)

    def purge(self, *, before: float) -> None:
        """Delete segments made before that time, and the least recently used surplus."""
        newest_first = spoken_pieces.c.used_at.desc(), spoken_pieces.c.key
        so_far = func.sum(func.length(spoken_pieces.c.audio)).over(order_by=newest_first)
        each = select(spoken_pieces.c.key, so_far.label("so_far")).subquery()
        beyond = select(each.c.key).where(each.c.so_far > self._most_bytes)
        self._database.change(delete(spoken_pieces).where(spoken_pieces.c.made_at < before))
        self._database.change(delete(spoken_pieces).where(spoken_pieces.c.key.in_(beyond)))
