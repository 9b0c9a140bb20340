"""Records of the messages that turns send, and the voice notes that Twilio fetches."""

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

# The parts of a turn: one voice note, and texts with their number, such as "text 2".
VOICE, TEXT = "voice", "text"

# The media types of voice notes.
OGG, MP3 = "audio/ogg", "audio/mpeg"

# The random names of voice notes and of status callbacks.
TOKEN = re.compile(r"[0-9a-f]{32}")

# Statements that each turn needs are built once: building one takes as long as executing it.
_OWNED_TURN = select(turns.c.id).where(*OWNED)
# Selects one outbound message by its turn and part.
PART = (
    outbound_messages.c.turn_id == bindparam("turn"),
    outbound_messages.c.part == bindparam("which"),
)
_FIND = select(
    outbound_messages.c.begun_at,
    outbound_messages.c.sid,
    outbound_messages.c.callback,
    outbound_messages.c.note,
).where(*PART)
_REPLACE_VOICE_NOTE = update(outbound_messages).where(*PART).values(note=bindparam("token"))
SAVE_SID = update(outbound_messages).where(*PART).values(sid=bindparam("named"))
_COLUMNS = ("turn_id", "part", "begun_at", "callback", "note")
_INSERT_VOICE_NOTE = insert(voice_notes)
_VOICE_NOTE = select(voice_notes.c.audio).where(
    voice_notes.c.token == bindparam("token"),
    voice_notes.c.media_type == bindparam("media_type"),
    voice_notes.c.expires_at > bindparam("now"),
)


@dataclass(frozen=True)
class OutboundMessage:
    """The record of a message that is about to be sent, or was sent.

    ``begun_at`` is in epoch seconds. ``sid`` is Twilio's SID; it is ``None`` as long as it is not
    known whether Twilio took the message. ``callback`` is a random name for its status callbacks,
    and ``voice_note_token`` a random name for the file that Twilio fetches. ``is_new``: no earlier
    attempt of the turn recorded it.
    """

    begun_at: float
    sid: str | None
    callback: str
    voice_note_token: str | None = None
    is_new: bool = False


class OutboundMessages:
    """Thread-safe. A change is committed on return; all methods raise ``StorageError``.

    Voice notes are stored for ``note_lifetime`` seconds.
    """

    def __init__(self, *, database: Database, note_lifetime: float) -> None:
        self._database = database
        self._note_lifetime = note_lifetime
        new = (bindparam(f"new_{name}", type_=outbound_messages.c[name].type) for name in _COLUMNS)
        self._insert_statement = (
            database.upsert(outbound_messages)
            .from_select(_COLUMNS, select(*new).where(_OWNED_TURN.exists()))
            .on_conflict_do_nothing()
            .returning(literal(1))
        )

    def begin(self, turn: Turn, part: str, *, audio: bytes | None = None) -> OutboundMessage:
        """Record that ``part`` is about to be sent; ``audio`` is the voice note, as Ogg/Opus.

        Returns the earlier record if there is one. Raises ``TurnSuperseded`` if another process
        has claimed the turn.
        """
        note = self._new_note(audio, OGG) if audio else None
        token = str(note["token"]) if note else None
        new = OutboundMessage(time.time(), None, new_callback(), token, is_new=True)

        def begin(connection: Connection) -> OutboundMessage:
            if note:
                connection.execute(_INSERT_VOICE_NOTE, note)
            if self._insert(connection, turn, part, new):
                return new
            if connection.execute(_OWNED_TURN, claim_parameters(turn)).first() is None:
                raise TurnSuperseded
            if note:
                connection.execute(
                    _REPLACE_VOICE_NOTE, {"turn": turn.id, "which": part, "token": token}
                )
            row = connection.execute(_FIND, {"turn": turn.id, "which": part}).first()
            if row is None:
                raise TurnSuperseded
            return _from_row(row)

        return self._database.run(begin)

    def find(self, turn: Turn, part: str) -> OutboundMessage | None:
        """The record of ``part``; ``None`` if there is none."""
        row = self._database.row(_FIND, {"turn": turn.id, "which": part})
        return _from_row(row) if row else None

    def finish(self, turn: Turn, part: str, sid: str) -> None:
        """Record the SID that Twilio gave to the message."""
        named = {"turn": turn.id, "which": part, "named": sid}
        self._database.change(SAVE_SID, named)

    def has_sid(self, sid: str) -> bool:
        """Whether a message with this SID is recorded."""
        wanted = select(outbound_messages.c.turn_id).where(outbound_messages.c.sid == sid)
        return self._database.row(wanted) is not None

    def save_voice_note(self, audio: bytes, media_type: str = OGG) -> str:
        """Store a voice note that belongs to no part; returns its token."""
        note = self._new_note(audio, media_type)
        self._database.change(_INSERT_VOICE_NOTE, note)
        return str(note["token"])

    def voice_note(self, token: str, media_type: str = OGG) -> bytes | None:
        """The audio of a voice note; ``None`` if it is unknown or has expired."""
        wanted = {"token": token, "media_type": media_type, "now": time.time()}
        audio: bytes | None = self._database.value(_VOICE_NOTE, wanted)
        return audio

    def purge(self) -> None:
        """Delete expired voice notes. Records of messages are deleted with their turn."""
        self._database.change(delete(voice_notes).where(voice_notes.c.expires_at < time.time()))

    def _insert(self, connection: Connection, turn: Turn, part: str, new: OutboundMessage) -> bool:
        """``False`` if there is a record already, or if the turn is not ours any more."""
        row = {
            "new_turn_id": turn.id,
            "new_part": part,
            "new_begun_at": new.begun_at,
            "new_callback": new.callback,
            "new_note": new.voice_note_token,
        }
        return (
            connection.execute(self._insert_statement, row | claim_parameters(turn)).first()
            is not None
        )

    def _new_note(self, audio: bytes, media_type: str) -> dict[str, Any]:
        """A row of ``voice_notes``."""
        return {
            "token": secrets.token_hex(16),
            "audio": audio,
            "media_type": media_type,
            "expires_at": time.time() + self._note_lifetime,
        }


def new_callback() -> str:
    """A random name for status callbacks. It must not fit a record of an earlier database."""
    return secrets.token_hex(16)


def _from_row(row: Any) -> OutboundMessage:
    return OutboundMessage(row.begun_at, row.sid, row.callback or "", row.note)
