"""Sends undelivered messages again: after transient errors, and voice notes as MP3."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import structlog

from audio.ffmpeg import Ffmpeg
from core.errors import BridgeError, SendBusy, SendUnreachable
from core.logs import turn_context
from metrics import Metrics
from storage.database import StorageError
from storage.outbound_messages import MP3, VOICE, OutboundMessages
from storage.resend_queue import ResendQueue, Undelivered
from whatsapp.client import WhatsApp
from whatsapp.delivery import text_parts
from whatsapp.error_codes import UNPLAYABLE

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
# When the process stops, a message that is being sent may take this long.
STOP_SECONDS = 2.0


class Redelivery:
    """A thread that looks every two seconds for messages that are to be sent again.

    A second send is stored before it is made: if the process dies in between, the message is not
    sent, but never sent twice. If preparing fails, or Twilio surely did not take the message, it is
    tried again a minute later.
    """

    def __init__(
        self,
        *,
        queue: ResendQueue,
        outbound_messages: OutboundMessages,
        whatsapp: WhatsApp,
        ffmpeg: Ffmpeg,
        metrics: Metrics,
        log_key: str,
    ) -> None:
        self._queue = queue
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
        """Send no more messages."""
        self._stopped.set()
        self._thread.join(STOP_SECONDS)

    def send_due(self) -> None:
        """Send all messages that are due. Raises ``StorageError``."""
        while not self._stopped.is_set() and (undelivered := self._queue.claim()):
            message = undelivered.turn.message
            with turn_context(message.sid, message.sender, key=self._log_key):
                self._send_again(undelivered)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                self.send_due()
            except StorageError as error:
                log.warning("Nothing sent again", error=type(error).__name__)
            except Exception:
                log.exception("Sending again failed")

    def _send_again(self, undelivered: Undelivered) -> None:
        try:
            send = self._prepare(undelivered)
        except (BridgeError, OSError) as error:
            self._log_failure(undelivered, error, "Not sent again yet")
            return
        if send is None:
            self._queue.drop(undelivered)
            log.info("Not sent again: its content was deleted", part=undelivered.part)
        elif self._queue.begin(undelivered):
            self._send(undelivered, send)

    def _send(self, undelivered: Undelivered, send: Callable[[], str]) -> None:
        try:
            sid = send()
        except (SendBusy, SendUnreachable) as error:
            self._log_failure(undelivered, error, "Not sent again yet")
            self._queue.postpone(undelivered)
        except BridgeError as error:
            self._log_failure(undelivered, error, "Not sent again")
        else:
            self._save_sid(undelivered, sid)

    def _save_sid(self, undelivered: Undelivered, sid: str) -> None:
        try:
            self._outbound_messages.finish(undelivered.turn, undelivered.resend_part, sid)
        except StorageError as error:
            # A status callback of Twilio will bring the SID.
            log.warning("SID not stored", part=undelivered.part, error=type(error).__name__)
        self._metrics.count("voice_notes_resent" if undelivered.part == VOICE else "texts_resent")
        log.info("Sent again", part=undelivered.part)

    def _log_failure(self, undelivered: Undelivered, error: Exception, outcome: str) -> None:
        self._metrics.count_error(error)
        log.error(f"{outcome}: {type(error).__name__}: {error}", part=undelivered.part)

    def _prepare(self, undelivered: Undelivered) -> Callable[[], str] | None:
        """Returns a callable that sends the message; ``None`` if its content was purged.

        Raises ``StorageError``, ``AudioError`` or ``OSError``.
        """
        send: Callable[..., str]
        if undelivered.part == VOICE:
            send, content = self._whatsapp.send_voice, self._media_file(undelivered)
        else:
            send, content = self._whatsapp.send_text, _text(undelivered)
        if content is None:
            return None
        address = undelivered.turn.message.reply_address
        return partial(send, address, content, callback=undelivered.callback)

    def _media_file(self, undelivered: Undelivered) -> str | None:
        """The name of the file that Twilio is to fetch."""
        note = (
            self._outbound_messages.voice_note(undelivered.voice_note_token)
            if undelivered.voice_note_token
            else None
        )
        if note is None:
            return None
        if undelivered.code not in UNPLAYABLE:
            return f"{undelivered.voice_note_token}.ogg"
        return f"{self._outbound_messages.save_voice_note(self._ffmpeg.encode_mp3(note), MP3)}.mp3"


def _text(undelivered: Undelivered) -> str | None:
    answer = undelivered.turn.answer
    return text_parts(answer.text).get(undelivered.part) if answer else None
