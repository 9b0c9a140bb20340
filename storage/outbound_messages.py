"""What was sent to senders, noted before and after, and the voice notes that Twilio fetches."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, literal, select, update

from core.errors import TurnSuperseded
from core.models import Turn
from storage.database import Database
from storage.schema import outbound_messages, turns, voice_notes
from storage.turns import OWNED, claim_parameters

# What a turn sends: a voice note, and texts by their number.
VOICE, TEXT = "voice", "text"

# The formats of voice notes.
OGG, MP3 = "audio/ogg", "audio/mpeg"

# What voice notes and callbacks are called by.
TOKEN = re.compile(r"[0-9a-f]{32}")

# Statements that every turn needs are made once: making one takes as long as carrying it out.
_OURS = select(turns.c.id).where(*OWNED)
# One sending; ``turn`` and ``which`` say which.
PART = (
    outbound_messages.c.turn_id == bindparam("turn"),
    outbound_messages.c.part == bindparam("which"),
)
_KNOWN = select(
    outbound_messages.c.begun_at,
    outbound_messages.c.sid,
    outbound_messages.c.callback,
    outbound_messages.c.note,
).where(*PART)
_RENOTED = update(outbound_messages).where(*PART).values(note=bindparam("token"))
NAMED = update(outbound_messages).where(*PART).values(sid=bindparam("named"))
_BEGUN = ("turn_id", "part", "begun_at", "callback", "note")
_KEPT = insert(voice_notes)
_NOTE = select(voice_notes.c.audio).where(
    voice_notes.c.token == bindparam("token"),
    voice_notes.c.media_type == bindparam("media_type"),
    voice_notes.c.expires_at > bindparam("now"),
)


@dataclass(frozen=True)
class OutboundMessage:
    """One message to a sender that was begun; ``sid`` is ``None`` where nobody knows its end.

    ``callback`` is the name by which Twilio tells what becomes of it, ``note`` the unguessable
    token by which it fetches a voice note. ``is_new`` where no former attempt began it.
    """

    begun_at: float
    sid: str | None
    callback: str
    voice_note_token: str | None = None
    is_new: bool = False


class OutboundMessages:
    """Thread-safe. What a method wrote is committed when it returns; all raise ``StorageError``.

    A voice note is kept for ``note_lifetime`` seconds.
    """

    def __init__(self, *, database: Database, note_lifetime: float) -> None:
        self._database = database
        self._note_lifetime = note_lifetime
        new = (bindparam(f"new_{name}", type_=outbound_messages.c[name].type) for name in _BEGUN)
        self._begun = (
            database.upsert(outbound_messages)
            .from_select(_BEGUN, select(*new).where(_OURS.exists()))
            .on_conflict_do_nothing()
            .returning(literal(1))
        )

    def begin(self, turn: Turn, part: str, *, audio: bytes | None = None) -> OutboundMessage:
        """Note that ``part`` is about to be sent; ``audio`` is a voice note's, in Ogg/Opus.

        Raises ``TurnSuperseded`` where another process has begun the turn since.
        """
        note = self._new_note(audio, OGG) if audio else None
        token = str(note["token"]) if note else None
        new = OutboundMessage(time.time(), None, new_callback(), token, is_new=True)

        def begin(connection: Connection) -> OutboundMessage:
            if note:
                connection.execute(_KEPT, note)
            if self._note(connection, turn, part, new):
                return new
            if connection.execute(_OURS, claim_parameters(turn)).first() is None:
                raise TurnSuperseded
            if note:
                connection.execute(_RENOTED, {"turn": turn.id, "which": part, "token": token})
            known = connection.execute(_KNOWN, {"turn": turn.id, "which": part}).first()
            if known is None:
                raise TurnSuperseded
            return _known(known)

        return self._database.run(begin)

    def find(self, turn: Turn, part: str) -> OutboundMessage | None:
        """What was noted of ``part``; ``None`` where it was not begun."""
        row = self._database.row(_KNOWN, {"turn": turn.id, "which": part})
        return _known(row) if row else None

    def finish(self, turn: Turn, part: str, sid: str) -> None:
        """Note that Twilio took it."""
        named = {"turn": turn.id, "which": part, "named": sid}
        self._database.change(NAMED, named)

    def has_sid(self, sid: str) -> bool:
        """Whether this is on record as the SID of something sent."""
        wanted = select(outbound_messages.c.turn_id).where(outbound_messages.c.sid == sid)
        return self._database.row(wanted) is not None

    def save_voice_note(self, audio: bytes, media_type: str = OGG) -> str:
        """Keep a voice note that is no part's own; returns its token."""
        note = self._new_note(audio, media_type)
        self._database.change(_KEPT, note)
        return str(note["token"])

    def voice_note(self, token: str, media_type: str = OGG) -> bytes | None:
        """A voice note; ``None`` once it has expired."""
        wanted = {"token": token, "media_type": media_type, "now": time.time()}
        audio: bytes | None = self._database.value(_NOTE, wanted)
        return audio

    def purge(self) -> None:
        """Forget voice notes that have expired; the rest goes with its turn."""
        self._database.change(delete(voice_notes).where(voice_notes.c.expires_at < time.time()))

    def _note(self, connection: Connection, turn: Turn, part: str, new: OutboundMessage) -> bool:
        """``False`` where it was begun before, or is not ours to begin."""
        row = {
            "new_turn_id": turn.id,
            "new_part": part,
            "new_begun_at": new.begun_at,
            "new_callback": new.callback,
            "new_note": new.voice_note_token,
        }
        return connection.execute(self._begun, row | claim_parameters(turn)).first() is not None

    def _new_note(self, audio: bytes, media_type: str) -> dict[str, Any]:
        """A row of ``voice_notes``."""
        return {
            "token": secrets.token_hex(16),
            "audio": audio,
            "media_type": media_type,
            "expires_at": time.time() + self._note_lifetime,
        }


def new_callback() -> str:
    """A name for a sending that no other has; one of a database that is gone must not fit it."""
    return secrets.token_hex(16)


def _known(row: Any) -> OutboundMessage:
    return OutboundMessage(row.begun_at, row.sid, row.callback or "", row.note)
