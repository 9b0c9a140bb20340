"""Sends the reply of a turn: the text, then the voice note, or an apology."""

from __future__ import annotations

import time
from concurrent.futures import Executor

import structlog

from core.deadline import Deadline
from core.errors import SendError, SendRefused, TurnSuperseded
from core.models import Turn
from metrics import Metrics
from speech.synthesis import Reply, StartSynthesis, StreamingSynthesis
from storage.database import StorageError
from storage.turns import STALE_SECONDS
from turns.notices import Notices
from turns.stage_log import log_failure, log_stage
from turns.turn_counts import (
    count_text_sent,
    count_turn_error,
    count_unanswered,
    count_voice_sent,
)
from whatsapp.client import WhatsApp
from whatsapp.delivery import Delivery

log = structlog.get_logger(__name__)


class ReplyDelivery:
    """The time limit for a voice note is ``voice_seconds``, counted after its text was sent."""

    def __init__(
        self,
        *,
        whatsapp: WhatsApp,
        delivery: Delivery,
        notices: Notices,
        metrics: Metrics,
        start_synthesis: StartSynthesis,
        voice_seconds: float,
        background: Executor,
    ) -> None:
        self._whatsapp = whatsapp
        self._delivery = delivery
        self._notices = notices
        self._metrics = metrics
        self._start_synthesis = start_synthesis
        self._voice_seconds = voice_seconds
        self._background = background

    def show_typing(self, turn: Turn) -> None:
        """Show the typing indicator, in the background; it also marks the message as read."""
        self._background.submit(self._whatsapp.show_typing, turn.message.sid)

    def start_voice_note(self, language: str | None) -> StreamingSynthesis:
        """Start the voice note of a reply that the agent is about to write.

        ``language`` (ISO 639-1) is the sender's.
        """
        return self._start_synthesis(language)

    def send(self, turn: Turn, reply: Reply) -> None:
        """Send the reply, or the rest of it if an earlier attempt has sent a part.

        Raises ``StorageError``, or ``SendError`` if sending it again may help.
        """
        try:
            self._send(turn, reply)
        except SendError as error:
            if not _is_final(turn, error):
                self._metrics.count_error(error)
                raise
            self.send_notice(turn, "apology", "failed")
            # If the notice fails because of the database, all this is repeated.
            count_turn_error(self._metrics, error)
            count_unanswered(self._metrics, turn)
            log_failure("❌ Answer not sent", error)

    def send_notice(self, turn: Turn, part: str, key: str) -> bool:
        """Send one of our own sentences; ``False`` if Twilio did not accept it.

        ``part`` names the message within its turn, ``key`` the phrase. Raises ``StorageError``.
        """
        try:
            text = self._notices.answer(turn.message.sender, key).text
            self._delivery.send_line(turn, part, text)
        except SendError as error:
            log.warning("Notice not sent", phrase=key, error=str(error))
            return False
        return True

    def may_have_sent(self, turn: Turn) -> bool:
        """Whether an attempt began to send the answer. Raises ``StorageError``."""
        return self._delivery.may_have_sent_text(turn)

    def _send(self, turn: Turn, reply: Reply) -> None:
        started = time.time()
        # An earlier attempt that sent the text has counted it.
        if self._delivery.send_text(turn, reply.answer.text):
            sending = time.time() - started
            count_text_sent(self._metrics, turn, reply.answer, sending=sending)
        if reply.answer.aloud:
            self._send_voice_note(turn, reply)

    def _send_voice_note(self, turn: Turn, reply: Reply) -> None:
        """Send the voice note. A failure is only logged, because the sender has the text."""
        started = time.monotonic()
        try:
            if self._delivery.voice_sent(turn):
                return
            self._delivery.send_voice(turn, self._voice_note(reply))
        except (StorageError, TurnSuperseded):
            raise
        except Exception as error:
            self._metrics.count("voice_notes_failed")
            self._metrics.count_error(error)
            log_failure("Voice note not sent", error)
            return
        count_voice_sent(self._metrics, turn, reply.answer)
        self._metrics.record_time("voice_reply_time", time.monotonic() - started)

    def _voice_note(self, reply: Reply) -> bytes:
        """The voice note, as Ogg/Opus."""
        answer = reply.answer
        with Deadline(self._voice_seconds).applied():
            synthesis = reply.synthesis
            if not synthesis:
                synthesis = self.start_voice_note(answer.language)
                synthesis.finish(answer.aloud)
            voice_note = synthesis.voice_note()
        log_stage(self._metrics, "tts_time", "TTS", time.monotonic() - synthesis.finished_at)
        return voice_note


def _is_final(turn: Turn, error: SendError) -> bool:
    """Whether sending again is useless: Twilio refused the message, or it is too old by now."""
    is_stale = time.time() - turn.message.received_at > STALE_SECONDS
    return is_stale or isinstance(error, SendRefused)
