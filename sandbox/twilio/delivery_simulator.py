"""Simulates the delivery of accepted messages: media fetch, status changes, status callbacks."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import requests

from sandbox.call_recorder import CallRecorder
from sandbox.faults import Faults
from sandbox.twilio.messages import Messages, Outbound
from sandbox.twilio.sid import new_sid
from sandbox.twilio.voice_note import NotAVoiceNote, read_voice_note
from sandbox.twilio.webhook import SIGNATURE, Signer, open_session, post

THREADS = 32
FETCH_SECONDS = 15.0
# The channel's limit, and WhatsApp's limit for a voice note with a play button
# (docs/providers/twilio.md, "Voice notes").
CHANNEL_LIMIT_BYTES = 16 * 1024 * 1024
VOICE_NOTE_LIMIT_BYTES = 512 * 1024
# Characters of 128 random bits in base64, which make a URL without a password safe.
SECRET_LENGTH = 22

# WhatsApp accepts MP3 too, but shows it as a file rather than as a voice note.
MP3_TYPE = "audio/mpeg"
MP3_STARTS = (b"ID3", b"\xff\xfb", b"\xff\xf3")

WINDOW_CLOSED = 63016
MEDIA_FAILED = 63019
MEDIA_TOO_LARGE = 11751


class MediaRefused(Exception):
    """A recording cannot be delivered; ``code`` is Twilio's error code.

    ``rule`` is the violation. It is empty if the bot could not be reached, because a bot may
    restart.
    """

    def __init__(self, rule: str, code: int = MEDIA_FAILED) -> None:
        super().__init__(rule)
        self.rule = rule
        self.code = code


class DeliverySimulator:
    """Delivers accepted messages to their users, on background threads."""

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
        # Where requests go that are meant for another address: from its beginning to the new one.
        self.reroute = ("", "")
        self._recorder = recorder
        self._faults = faults
        self._messages = messages
        self._account_sid = account_sid
        self._signer = signer
        self._channel_sid = new_sid("XE")
        self._pool: ThreadPoolExecutor | None = None
        self._session = open_session(THREADS)

    def start(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="twilio delivery")

    def stop(self) -> None:
        """Discard the messages whose delivery has not begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._session.close()

    def submit(self, message: Outbound, *, is_template: bool = False) -> None:
        """Deliver in the background."""
        if self._pool is None:
            raise RuntimeError("the Twilio stand-in is not started")
        fault = self._faults.take("twilio", "callback", lambda: message.to)
        callback_fault = fault.kind if fault else ""
        delivery = self._pool.submit(self._deliver, message, is_template, callback_fault)
        if callback_fault == "early":
            delivery.result()

    def read(self, sid: str) -> None:
        """Report in the background that the user has read a delivered message."""
        if self._pool is not None:
            message = self._messages.change(sid, status="read")
            self._pool.submit(self._post_callback, message, signed=True)

    def _deliver(self, message: Outbound, is_template: bool, callback_fault: str) -> None:
        changes = self._status_changes(message, is_template)
        stages = [self._messages.change(message.sid, **change) for change in changes]
        for stage in reversed(stages) if callback_fault == "reversed" else stages:
            for _ in range(2 if callback_fault == "twice" else 1):
                self._post_callback(stage, signed=callback_fault != "unsigned")

    def _status_changes(self, message: Outbound, is_template: bool) -> list[dict[str, Any]]:
        """The fields of the message that change, one set for each stage of its delivery."""
        code = self._error_code(message, is_template)
        if code is not None:
            return [{"status": "undelivered", "error_code": code}]
        read = ["read"] if self.read_receipts else []
        return [{"status": status} for status in ("sent", "delivered", *read)]

    def _error_code(self, message: Outbound, is_template: bool) -> int | None:
        """Twilio's error code if the message cannot be delivered; fetches its recording."""
        kind = "voice" if message.media_url else "text"
        fault = self._faults.take("twilio", kind, lambda: message.to)
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
        """Send HEAD, then GET, as Twilio does (docs/providers/twilio.md, "Voice notes")."""
        head = _request(self._session, "HEAD", self._resolve(url))
        answer = _request(self._session, "GET", self._resolve(url))
        audio, content_type = answer.content, answer.headers.get("Content-Type", "")
        _check_media(head, answer)
        for rule in _find_violations(url, audio, content_type):
            self._record_violation("fetch", rule)
        self._messages.change(
            sid, audio=audio, audio_type=content_type, fetched_at=time.monotonic()
        )

    def _post_callback(self, message: Outbound, *, signed: bool) -> None:
        """Post the message's status, if its sender asked for callbacks.

        docs/providers/twilio.md, "Status callbacks".
        """
        if message.callback is None:
            return
        fields = self._callback_fields(message)
        headers = self._signer.headers(message.callback, fields)
        headers |= {} if signed else {SIGNATURE: "forged"}
        try:
            address = self._resolve(message.callback)
            answer = post(address, fields, signature=headers, session=self._session)
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

    def _resolve(self, url: str) -> str:
        public, local = self.reroute
        return local + url.removeprefix(public) if public and url.startswith(public) else url

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


def _request(session: requests.Session, method: str, url: str) -> requests.Response:
    """Raises ``MediaRefused`` unless the answer is 200."""
    try:
        answer = session.request(method, url, timeout=FETCH_SECONDS, allow_redirects=False)
    except requests.Timeout:
        raise MediaRefused(f"{method} of the MediaUrl took over {FETCH_SECONDS:g} s") from None
    except requests.RequestException:
        raise MediaRefused("") from None
    if answer.status_code != 200:
        raise MediaRefused(f"{method} of the MediaUrl answered {answer.status_code}")
    return answer


def _check_media(head: requests.Response, answer: requests.Response) -> None:
    """Raises ``MediaRefused`` if Twilio could not deliver the recording."""
    media_type = _media_type(answer)
    if media_type not in ("audio/ogg", MP3_TYPE):
        raise MediaRefused(f"the MediaUrl has content type {media_type or '(none)'}, not audio/ogg")
    for name in ("Content-Type", "Content-Length"):
        if head.headers.get(name) != answer.headers.get(name):
            raise MediaRefused(f"HEAD and GET of the MediaUrl differ in {name}")
    if len(answer.content) > CHANNEL_LIMIT_BYTES:
        raise MediaRefused("the recording is larger than 16 MB", MEDIA_TOO_LARGE)
    if media_type == MP3_TYPE:
        if not answer.content.startswith(MP3_STARTS):
            raise MediaRefused("the recording is no MP3")
        return
    try:
        read_voice_note(answer.content)
    except NotAVoiceNote as error:
        raise MediaRefused(f"the recording is no voice note: {error}") from None


def _media_type(answer: requests.Response) -> str:
    """The content type without parameters."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _find_violations(url: str, audio: bytes, content_type: str) -> list[str]:
    """Mistakes with which Twilio still delivers a recording."""
    found = []
    if content_type not in ("audio/ogg", MP3_TYPE):
        found.append(f"content type {content_type}: only plain audio/ogg is known to work")
    if len(audio) > VOICE_NOTE_LIMIT_BYTES:
        found.append(f"the note has {len(audio)} bytes; over 512 KB it loses its play button")
    name = urlsplit(url).path.rpartition("/")[2].partition(".")[0]
    if len(name) < SECRET_LENGTH:
        found.append("the MediaUrl can be guessed: its name is shorter than 128 bits")
    return found
