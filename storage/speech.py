"""The table of synthesised speech, which all processes share."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from storage.database import Database
from storage.schema import speech_segments


@dataclass(frozen=True)
class SpeechSegment:
    """``audio`` is Ogg/Opus; ``made_at`` is when it was synthesised, in epoch seconds."""

    audio: bytes
    made_at: float


class SpeechTable:
    """Thread-safe; all methods raise ``StorageError``. A purge leaves up to ``max_bytes``."""

    def __init__(self, *, database: Database, max_bytes: int) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._upsert = database.upsert

    def find(self, key: str) -> SpeechSegment | None:
        """The segment, if it is stored; it is marked as used now."""
        statement = (
            update(speech_segments)
            .where(speech_segments.c.key == key)
            .values(used_at=time.time())
            .returning(speech_segments.c.audio, speech_segments.c.made_at)
        )
        row = self._database.row(statement)
        return SpeechSegment(row.audio, row.made_at) if row else None

    def save(self, key: str, segment: SpeechSegment) -> None:
        """Store a segment, unless there is one already."""
        row = {
            "key": key,
            "audio": segment.audio,
            "made_at": segment.made_at,
            "used_at": time.time(),
        }
        statement = self._upsert(speech_segments).values(row).on_conflict_do_nothing()
        self._database.change(statement)

    def purge(self, *, before: float) -> None:
        """Delete segments made before that time, and the least recently used of too many bytes."""
        newest_first = speech_segments.c.used_at.desc(), speech_segments.c.key
        so_far = func.sum(func.length(speech_segments.c.audio)).over(order_by=newest_first)
        running_total = select(speech_segments.c.key, so_far.label("so_far")).subquery()
        beyond = select(running_total.c.key).where(running_total.c.so_far > self._max_bytes)
        self._database.change(delete(speech_segments).where(speech_segments.c.made_at < before))
        self._database.change(delete(speech_segments).where(speech_segments.c.key.in_(beyond)))
