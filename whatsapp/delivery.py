"""Sends the parts of a turn's answer through Twilio, each part once."""

from __future__ import annotations

import time

import structlog

from core.errors import SendUncertain
from core.models import Turn
from metrics import Metrics
from storage.claims import Claims
from storage.outbound_messages import TEXT, VOICE, OutboundMessage, OutboundMessages
from text.splitting import split_message
from whatsapp.client import WhatsApp

log = structlog.get_logger(__name__)


def text_parts(text: str) -> dict[str, str]:
    """Split a text into messages; returns them in order, by the names of their parts."""
    return {f"{TEXT} {number}": part for number, part in enumerate(split_message(text), 1)}


class Delivery:
    """Stores each message before and after it is sent, so that a restart does not send it again."""

    def __init__(
        self,
        *,
        claims: Claims,
        whatsapp: WhatsApp,
        outbound_messages: OutboundMessages,
        metrics: Metrics,
    ) -> None:
        self._claims = claims
        self._whatsapp = whatsapp
        self._outbound_messages = outbound_messages
        self._metrics = metrics

    def send_text(self, turn: Turn, text: str) -> bool:
        """Send the text in as many messages as it takes, in order. Raises ``SendError``.

        ``False`` if earlier attempts had sent all of them.
        """
        has_sent = False
        for name, part in text_parts(text).items():
            if self._send_text(turn, name, part):
                self._metrics.count("texts_sent")
                has_sent = True
        return has_sent

    def may_have_sent_text(self, turn: Turn) -> bool:
        """Whether an earlier attempt began to send the text. Raises ``StorageError``."""
        return self._outbound_messages.find(turn, f"{TEXT} 1") is not None

    def send_line(self, turn: Turn, part: str, text: str) -> None:
        """Send a line in addition to the answer, stored as ``part``. Raises ``SendError``."""
        self._send_text(turn, part, text)

    def send_voice(self, turn: Turn, audio: bytes) -> None:
        """Store a voice note, so that Twilio can fetch it, and send it. Raises ``SendError``."""
        begun = self._outbound_messages.begin(turn, VOICE, audio=audio)
        self._claims.confirm(turn)
        sid = self._whatsapp.send_voice(
            turn.message.reply_address, f"{begun.voice_note_token}.ogg", callback=begun.callback
        )
        self._outbound_messages.finish(turn, VOICE, sid)

    def voice_sent(self, turn: Turn) -> bool:
        """Whether an earlier attempt sent the turn's voice note. Raises ``SendError``."""
        begun = self._outbound_messages.find(turn, VOICE)
        if begun is None or begun.sid:
            return begun is not None
        found = self._whatsapp.find_voice(turn.message.reply_address, since=begun.begun_at)
        sid = self._unless_known(found)
        if sid:
            self._outbound_messages.finish(turn, VOICE, sid)
        return sid is not None

    def _send_text(self, turn: Turn, part: str, text: str) -> bool:
        """Send a part once; ``False`` if an earlier attempt has sent it."""
        begun = self._outbound_messages.begin(turn, part)
        if begun.sid:
            return False
        sid = self._find_or_post_text(turn, part, text, begun)
        self._outbound_messages.finish(turn, part, sid)
        return True

    def _find_or_post_text(self, turn: Turn, part: str, text: str, begun: OutboundMessage) -> str:
        """The SID of the text; it is sent unless Twilio has it from an interrupted attempt."""
        if not begun.is_new and (found := self._find_text(turn, text, since=begun.begun_at)):
            return found
        since = time.time()
        try:
            return self._post_text(turn, text, begun)
        except SendUncertain as error:
            log.warning("Twilio did not say whether it took the message", error=str(error))
            found = self._find_text(turn, text, since=since) or self._find_reported(turn, part)
            return found or self._post_text(turn, text, begun)

    def _post_text(self, turn: Turn, text: str, begun: OutboundMessage) -> str:
        self._claims.confirm(turn)
        return self._whatsapp.send_text(turn.message.reply_address, text, callback=begun.callback)

    def _find_reported(self, turn: Turn, part: str) -> str | None:
        """The SID of the part, if a status callback has reported it in the meantime."""
        stored = self._outbound_messages.find(turn, part)
        return stored.sid if stored else None

    def _find_text(self, turn: Turn, text: str, *, since: float) -> str | None:
        found = self._whatsapp.find_text(turn.message.reply_address, text, since=since)
        return self._unless_known(found)

    def _unless_known(self, found: str | None) -> str | None:
        """The SID, unless it is stored already as that of another message."""
        return None if found is None or self._outbound_messages.has_sid(found) else found
