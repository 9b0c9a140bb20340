"""Pieces of speech that all processes on a database share."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from storage.database import Database
from storage.schema import spoken_pieces


@dataclass(frozen=True)
class AudioSegment:
    """Ogg/Opus, and when it was synthesised (epoch seconds)."""

    audio: bytes
    made_at: float


class AudioTable:
    """Every method may raise ``StorageError``; ``most_bytes`` of audio outlive a purge."""

    def __init__(self, *, database: Database, most_bytes: int) -> None:
        self._database = database
        self._most_bytes = most_bytes
        self._upsert = database.upsert

    def find(self, key: str) -> AudioSegment | None:
        """The piece, which counts as used now."""
        statement = (
            update(spoken_pieces)
            .where(spoken_pieces.c.key == key)
            .values(used_at=time.time())
            .returning(spoken_pieces.c.audio, spoken_pieces.c.made_at)
        )
        row = self._database.row(statement)
        return AudioSegment(row.audio, row.made_at) if row else None

    def save(self, key: str, piece: AudioSegment) -> None:
        row = {"key": key, "audio": piece.audio, "made_at": piece.made_at, "used_at": time.time()}
        statement = self._upsert(spoken_pieces).values(row).on_conflict_do_nothing()
        self._database.change(statement)

    def purge(self, *, before: float) -> None:
        """Forget those made before that time, and the least recently used beyond the bound."""
        newest_first = spoken_pieces.c.used_at.desc(), spoken_pieces.c.key
        so_far = func.sum(func.length(spoken_pieces.c.audio)).over(order_by=newest_first)
        each = select(spoken_pieces.c.key, so_far.label("so_far")).subquery()
        beyond = select(each.c.key).where(each.c.so_far > self._most_bytes)
        self._database.change(delete(spoken_pieces).where(spoken_pieces.c.made_at < before))
        self._database.change(delete(spoken_pieces).where(spoken_pieces.c.key.in_(beyond)))
