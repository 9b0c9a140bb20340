"""Sending once more what did not arrive: voice notes as MP3, and what met a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import structlog

from audio.ffmpeg import Ffmpeg
from core.errors import BridgeError, SendBusy, SendUnreachable
from core.logs import turn_context
from metrics import Metrics
from storage.outbound_messages import MP3, VOICE, OutboundMessages
from storage.store import StoreError
from whatsapp.client import WhatsApp
from whatsapp.delivery import text_parts
from whatsapp.delivery_status import DeliveryStatuses, Undelivered
from whatsapp.error_codes import UNPLAYABLE

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
# A message that is being sent while the process ends gets that long.
STOP_SECONDS = 2.0


class Redelivery:
    """A thread that looks every two seconds for what is to be sent again.

    It is noted before it is sent, so a process that dies meanwhile leaves it unsent rather than
    sent twice. What fails before that, or was surely not sent, is tried again a minute later.
    """

    def __init__(
        self,
        *,
        delivery_statuses: DeliveryStatuses,
        outbound_messages: OutboundMessages,
        whatsapp: WhatsApp,
        ffmpeg: Ffmpeg,
        metrics: Metrics,
        log_key: str,
    ) -> None:
        self._delivery_statuses = delivery_statuses
        self._outbound_messages = outbound_messages
        self._whatsapp = whatsapp
        self._ffmpeg = ffmpeg
        self._metrics = metrics
        self._log_key = log_key
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redelivery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped.set()
        self._thread.join(STOP_SECONDS)

    def send_due(self) -> None:
        """Send all that it is time for. Raises ``StoreError``."""
        while not self._stopped.is_set() and (lost := self._delivery_statuses.claim_undelivered()):
            message = lost.turn.message
            with turn_context(message.sid, message.sender, key=self._log_key):
                self._send_again(lost)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self.send_due()
            except StoreError as error:
                log.warning("Nothing sent again", error=type(error).__name__)
            except Exception:
                log.exception("Sending again failed")

    def _send_again(self, lost: Undelivered) -> None:
        try:
            send = self._prepared(lost)
        except (BridgeError, OSError) as error:
            self._failed(lost, error, "Not sent again yet")
            return
        if send is None:
            self._delivery_statuses.drop(lost)
            log.info("Not sent again: it is gone", part=lost.part)
        elif self._delivery_statuses.begin_resend(lost):
            self._send(lost, send)

    def _send(self, lost: Undelivered, send: Callable[[], str]) -> None:
        try:
            sid = send()
        except (SendBusy, SendUnreachable) as error:
            self._failed(lost, error, "Not sent again yet")
            self._delivery_statuses.postpone(lost)
        except BridgeError as error:
            self._failed(lost, error, "Not sent again")
        else:
            self._note(lost, sid)

    def _note(self, lost: Undelivered, sid: str) -> None:
        try:
            self._outbound_messages.finish(lost.turn, lost.resend_part, sid)
        except StoreError as error:
            # A callback of Twilio names it.
            log.warning("The SID is not noted", part=lost.part, error=type(error).__name__)
        self._metrics.count("voice_notes_resent" if lost.part == VOICE else "texts_resent")
        log.info("Sent again", part=lost.part)

    def _failed(self, lost: Undelivered, error: Exception, outcome: str) -> None:
        self._metrics.count_error(error)
        log.error(f"{outcome}: {type(error).__name__}: {error}", part=lost.part)

    def _prepared(self, lost: Undelivered) -> Callable[[], str] | None:
        """What sends it; ``None`` where there is nothing left to send.

        Raises ``StoreError``, ``AudioError`` or ``OSError``.
        """
        send: Callable[..., str]
        if lost.part == VOICE:
            send, content = self._whatsapp.send_voice, self._file(lost)
        else:
            send, content = self._whatsapp.send_text, _text(lost)
        if content is None:
            return None
        return partial(send, lost.turn.message.sender, content, callback=lost.callback)

    def _file(self, lost: Undelivered) -> str | None:
        """What Twilio is to fetch."""
        note = (
            self._outbound_messages.voice_note(lost.voice_note_token)
            if lost.voice_note_token
            else None
        )
        if note is None:
            return None
        if lost.code not in UNPLAYABLE:
            return f"{lost.voice_note_token}.ogg"
        return f"{self._outbound_messages.save_voice_note(self._ffmpeg.encode_mp3(note), MP3)}.mp3"


def _text(lost: Undelivered) -> str | None:
    answer = lost.turn.answer
    return text_parts(answer.text).get(lost.part) if answer else None
