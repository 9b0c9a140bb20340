"""Handing a turn's answer to Twilio, part by part, each of them once."""

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
    """The messages that an answer takes, in order, by the names they are noted under."""
    return {f"{TEXT} {number}": part for number, part in enumerate(split_message(text), 1)}


class Delivery:
    """Writes down what it sends before and after, so that a restart repeats nothing known sent."""

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

    def send_text(self, turn: Turn, text: str) -> None:
        """Send the text in as many messages as it takes, in order. Raises ``SendError``."""
        for name, part in text_parts(text).items():
            if self._send_text(turn, name, part):
                self._metrics.count("texts_sent")

    def text_sent(self, turn: Turn) -> bool:
        """Whether the first message of the text is known to be sent."""
        begun = self._outbound_messages.find(turn, f"{TEXT} 1")
        return begun is not None and begun.sid is not None

    def send_line(self, turn: Turn, part: str, text: str) -> None:
        """Send a line beside the answer, noted as ``part``. Raises ``SendError``."""
        self._send_text(turn, part, text)

    def send_voice(self, turn: Turn, audio: bytes) -> None:
        """Send a voice note, which Twilio can fetch from now on. Raises ``SendError``."""
        begun = self._outbound_messages.begin(turn, VOICE, audio=audio)
        self._claims.confirm(turn)
        sid = self._whatsapp.send_voice(
            turn.message.sender, f"{begun.voice_note_token}.ogg", callback=begun.callback
        )
        self._outbound_messages.finish(turn, VOICE, sid)

    def voice_sent(self, turn: Turn) -> bool:
        """Whether the turn's voice note went out before the process was stopped."""
        begun = self._outbound_messages.find(turn, VOICE)
        if begun is None or begun.sid:
            return begun is not None
        sid = self._unclaimed(self._whatsapp.find_voice(turn.message.sender, since=begun.begun_at))
        if sid:
            self._outbound_messages.finish(turn, VOICE, sid)
        return sid is not None

    def _send_text(self, turn: Turn, part: str, text: str) -> bool:
        """``False`` where it is known that a former attempt sent it."""
        begun = self._outbound_messages.begin(turn, part)
        if begun.sid:
            return False
        sid = self._sid(turn, part, text, begun)
        self._outbound_messages.finish(turn, part, sid)
        return True

    def _sid(self, turn: Turn, part: str, text: str, begun: OutboundMessage) -> str:
        """Send a text, unless Twilio lists it from a send whose end nobody knows."""
        sender = turn.message.sender
        if not begun.is_new and (found := self._listed(sender, text, since=begun.begun_at)):
            return found
        since = time.time()
        try:
            return self._post_text(turn, text, begun)
        except SendUncertain as error:
            log.warning("Twilio did not say whether it took the message", error=str(error))
            found = self._listed(sender, text, since=since) or self._called_back(turn, part)
            return found or self._post_text(turn, text, begun)

    def _post_text(self, turn: Turn, text: str, begun: OutboundMessage) -> str:
        self._claims.confirm(turn)
        return self._whatsapp.send_text(turn.message.sender, text, callback=begun.callback)

    def _called_back(self, turn: Turn, part: str) -> str | None:
        """The SID that a status callback named meanwhile: the message was taken."""
        begun = self._outbound_messages.find(turn, part)
        return begun.sid if begun else None

    def _listed(self, sender: str, text: str, *, since: float) -> str | None:
        return self._unclaimed(self._whatsapp.find_text(sender, text, since=since))

    def _unclaimed(self, found: str | None) -> str | None:
        """The newest that Twilio lists, unless it is on record as something sent before."""
        return None if found is None or self._outbound_messages.has_sid(found) else found
