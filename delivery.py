"""Handing a turn's answer to Twilio, part by part, each of them once."""

from __future__ import annotations

import time

import structlog

from errors import SendUncertain
from markup import to_whatsapp
from metrics import Metrics
from segments import split_message
from store import Sending, Store, Turn
from whatsapp import WhatsApp

log = structlog.get_logger(__name__)

VOICE = "voice"


class Delivery:
    """Writes down what it sends before and after, so that a restart repeats nothing known sent."""

    def __init__(self, *, whatsapp: WhatsApp, store: Store, metrics: Metrics) -> None:
        self._whatsapp = whatsapp
        self._store = store
        self._metrics = metrics

    def send_text(self, turn: Turn, markdown: str) -> None:
        """Send the text in as many messages as it takes, in order. Raises ``SendError``."""
        for number, part in enumerate(split_message(to_whatsapp(markdown)), 1):
            if self._send_text(turn, f"text {number}", part):
                self._metrics.count("texts_sent")

    def send_line(self, turn: Turn, part: str, text: str) -> None:
        """Send a line beside the answer, noted as ``part``. Raises ``SendError``."""
        self._send_text(turn, part, text)

    def send_voice(self, turn: Turn, url: str) -> None:
        """Send the voice note at ``url``. Raises ``SendError``."""
        self._store.begin_sending(turn, VOICE)
        sid = self._whatsapp.send_voice(turn.message.sender, url)
        self._store.finish_sending(turn, VOICE, sid)

    def voice_sent(self, turn: Turn) -> bool:
        """Whether the turn's voice note went out before the process was stopped."""
        begun = self._store.sending(turn, VOICE)
        if begun is None or begun.sid:
            return begun is not None
        sid = self._unclaimed(self._whatsapp.find_voice(turn.message.sender, since=begun.begun_at))
        if sid:
            self._store.finish_sending(turn, VOICE, sid)
        return sid is not None

    def _send_text(self, turn: Turn, part: str, text: str) -> bool:
        """``False`` where it is known that a former attempt sent it."""
        begun = self._store.begin_sending(turn, part)
        if begun and begun.sid:
            return False
        sid = self._sid(turn, text, begun)
        self._store.finish_sending(turn, part, sid)
        return True

    def _sid(self, turn: Turn, text: str, begun: Sending | None) -> str:
        """Send a text, unless Twilio lists it from a send whose end nobody knows."""
        sender = turn.message.sender
        if begun and (found := self._listed(sender, text, since=begun.begun_at)):
            return found
        since = time.time()
        try:
            return self._whatsapp.send_text(sender, text)
        except SendUncertain as error:
            log.warning("Twilio did not say whether it took the message", error=str(error))
            found = self._listed(sender, text, since=since)
            return found or self._whatsapp.send_text(sender, text)

    def _listed(self, sender: str, text: str, *, since: float) -> str | None:
        return self._unclaimed(self._whatsapp.find_text(sender, text, since=since))

    def _unclaimed(self, found: str | None) -> str | None:
        """The newest that Twilio lists, unless it is on record as something sent before."""
        return None if found is None or self._store.sent(found) else found
