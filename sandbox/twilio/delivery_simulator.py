"""What happens to a message after Twilio accepted it: media fetch, delivery, status callbacks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import requests

from sandbox.call_recorder import CallRecorder
from sandbox.faults import Faults
from sandbox.twilio.messages import Messages, Outbound
from sandbox.twilio.sid import new_sid
from sandbox.twilio.voice_note import NotAVoiceNote, read_voice_note
from sandbox.twilio.webhook import SIGNATURE, Signer, line, post

THREADS = 32
FETCH_SECONDS = 15.0
# Sizes in bytes: the channel's limit, and WhatsApp's for a note with a play button
# (docs/providers/twilio.md, "Voice notes").
CHANNEL_LIMIT = 16 * 1024 * 1024
VOICE_NOTE_LIMIT = 512 * 1024
# 128 bits in base64: what makes an address that needs no password safe.
SECRET_LENGTH = 22

# What WhatsApp takes too, but shows as a file rather than as a voice note.
MP3_TYPE = "audio/mpeg"
MP3_STARTS = (b"ID3", b"\xff\xfb", b"\xff\xf3")

WINDOW_CLOSED = 63016
MEDIA_FAILED = 63019
MEDIA_TOO_LARGE = 11751


class MediaRefused(Exception):
    """A recording cannot be delivered; ``code`` is Twilio's.

    ``rule`` names the breach, and is empty when nobody could be reached: a bot that restarts
    breaks no contract.
    """

    def __init__(self, rule: str, code: int = MEDIA_FAILED) -> None:
        super().__init__(rule)
        self.rule = rule
        self.code = code


class DeliverySimulator:
    """Carries accepted messages to their users on threads of its own."""

    def __init__(
        self,
        *,
        recorder: CallRecorder,
        faults: Faults,
        messages: Messages,
        account_sid: str,
        signer: Signer,
    ) -> None:
        self.read_receipts = False
        self._recorder = recorder
        self._faults = faults
        self._messages = messages
        self._account_sid = account_sid
        self._signer = signer
        self._channel_sid = new_sid("XE")
        self._pool: ThreadPoolExecutor | None = None
        self._line = line(THREADS)

    def start(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="twilio courier")

    def stop(self) -> None:
        """Drop what is not yet on its way."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._line.close()

    def carry(self, message: Outbound, *, is_template: bool = False) -> None:
        """Deliver in the background."""
        if self._pool is None:
            raise RuntimeError("the Twilio stand-in is not started")
        fault = self._faults.take("twilio", "callback", lambda: message.to)
        manner = fault.kind if fault else ""
        journey = self._pool.submit(self._carry, message, is_template, manner)
        if manner == "early":
            journey.result()

    def _carry(self, message: Outbound, is_template: bool, manner: str) -> None:
        ways = self._ways(message, is_template)
        stages = [self._messages.change(message.sid, **way) for way in ways]
        for stage in reversed(stages) if manner == "reversed" else stages:
            for _ in range(2 if manner == "twice" else 1):
                self._tell(stage, signed=manner != "unsigned")

    def _ways(self, message: Outbound, is_template: bool) -> list[dict[str, Any]]:
        """What the message goes through, as changes of it."""
        code = self._refusal(message, is_template)
        if code is not None:
            return [{"status": "undelivered", "error_code": code}]
        delivery_statuses = ["read"] if self.read_receipts else []
        return [{"status": status} for status in ("sent", "delivered", *delivery_statuses)]

    def _refusal(self, message: Outbound, is_template: bool) -> int | None:
        """Twilio's code where the message does not arrive; a recording is fetched here."""
        part = "voice" if message.media_url else "text"
        fault = self._faults.take("twilio", part, lambda: message.to)
        if fault is not None:
            return fault.code
        if not is_template and not self._messages.window_is_open(message.to):
            self._record_violation("send", "outside the 24 h window of the user's last message")
            return WINDOW_CLOSED
        if message.media_url is not None:
            try:
                self._fetch(message.sid, message.media_url)
            except MediaRefused as refusal:
                if refusal.rule:
                    self._record_violation("fetch", refusal.rule)
                return refusal.code
        return None

    def _fetch(self, sid: str, url: str) -> None:
        """HEAD, then GET, as Twilio does (docs/providers/twilio.md, "Voice notes")."""
        head = _ask(self._line, "HEAD", url)
        answer = _ask(self._line, "GET", url)
        audio, kind = answer.content, answer.headers.get("Content-Type", "")
        _check_answers(head, answer)
        for rule in _flaws(url, audio, kind):
            self._record_violation("fetch", rule)
        self._messages.change(sid, audio=audio, audio_type=kind)

    def _tell(self, message: Outbound, *, signed: bool) -> None:
        """Tell the bot of a stage, if it asked to be told.

        docs/providers/twilio.md, "Status callbacks".
        """
        if message.callback is None:
            return
        fields = self._callback_fields(message)
        headers = self._signer.headers(message.callback, fields)
        headers |= {} if signed else {SIGNATURE: "forged"}
        try:
            answer = post(message.callback, fields, signed=headers, via=self._line)
        except requests.Timeout:
            self._record_violation(
                "callback", "11205 the status callback was not answered within 15 s"
            )
        except requests.RequestException:
            return
        else:
            if signed and not answer.ok:
                self._record_violation(
                    "callback", f"11200 the callback answered {answer.status_code}"
                )

    def _callback_fields(self, message: Outbound) -> dict[str, str]:
        fields = {
            "SmsSid": message.sid,
            "SmsStatus": message.status,
            "MessageSid": message.sid,
            "MessageStatus": message.status,
            "AccountSid": self._account_sid,
            "From": message.sender,
            "To": message.to,
            "ApiVersion": "2010-04-01",
            "ChannelPrefix": "whatsapp",
            "ChannelInstallSid": self._channel_sid,
            "ChannelToAddress": f"{message.to.removeprefix('whatsapp:')[:-4]}XXXX",
        }
        if message.status == "sent":
            return fields | {"StructuredMessage": "false"}
        fields["EventType"] = message.status.upper()
        if message.error_code is not None:
            fields["ErrorCode"] = str(message.error_code)
        return fields

    def _record_violation(self, call: str, rule: str) -> None:
        self._recorder.record_violation("twilio", call, rule)


def _ask(session: requests.Session, method: str, url: str) -> requests.Response:
    try:
        answer = session.request(method, url, timeout=FETCH_SECONDS, allow_redirects=False)
    except requests.Timeout:
        raise MediaRefused(f"{method} of the MediaUrl took over {FETCH_SECONDS:g} s") from None
    except requests.RequestException:
        raise MediaRefused("") from None
    if answer.status_code != 200:
        raise MediaRefused(f"{method} of the MediaUrl answered {answer.status_code}")
    return answer


def _check_answers(head: requests.Response, answer: requests.Response) -> None:
    """Raise for what Twilio cannot deliver."""
    kind = _kind(answer)
    if kind not in ("audio/ogg", MP3_TYPE):
        raise MediaRefused(f"the MediaUrl has content type {kind or '(none)'}, not audio/ogg")
    for name in ("Content-Type", "Content-Length"):
        if head.headers.get(name) != answer.headers.get(name):
            raise MediaRefused(f"HEAD and GET of the MediaUrl differ in {name}")
    if len(answer.content) > CHANNEL_LIMIT:
        raise MediaRefused("the recording is larger than 16 MB", MEDIA_TOO_LARGE)
    if kind == MP3_TYPE:
        if not answer.content.startswith(MP3_STARTS):
            raise MediaRefused("the recording is no MP3")
        return
    try:
        read_voice_note(answer.content)
    except NotAVoiceNote as error:
        raise MediaRefused(f"the recording is no voice note: {error}") from None


def _kind(answer: requests.Response) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _flaws(url: str, audio: bytes, kind: str) -> list[str]:
    """What Twilio delivers all the same."""
    found = []
    if kind not in ("audio/ogg", MP3_TYPE):
        found.append(f"content type {kind}: only plain audio/ogg is known to work")
    if len(audio) > VOICE_NOTE_LIMIT:
        found.append(f"the note has {len(audio)} bytes; over 512 KB it loses its play button")
    name = urlsplit(url).path.rpartition("/")[2].partition(".")[0]
    if len(name) < SECRET_LENGTH:
        found.append("the MediaUrl can be guessed: its name is shorter than 128 bits")
    return found
