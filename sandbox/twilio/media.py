"""Files of inbound messages: stored by the API host, and served by a CDN on another host."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from flask import Response, request

from sandbox.call_recorder import CallRecorder
from sandbox.faults import Faults
from sandbox.latency import LatencyProfile
from sandbox.standin import StandIn
from sandbox.twilio.sid import new_sid

# A signed CDN URL is valid for four hours (docs/providers/twilio.md, "Recordings").
SIGNED_SECONDS = 4 * 3600.0
KEY_PAIR_ID = "APKASANDBOX"


@dataclass(frozen=True)
class Ready:
    """When a recording can be fetched; before that, the API answers 404.

    It is ready ``seconds`` after the message, and after ``calls`` failed requests.
    """

    seconds: float = 0.0
    calls: int = 0


READY = Ready()


@dataclass(frozen=True)
class Media:
    """A file of an inbound message."""

    content: bytes
    content_type: str
    ready: Ready = READY
    sid: str = field(default_factory=lambda: new_sid("ME"))
    message_sid: str = ""
    stored_at: float = field(default_factory=time.monotonic)
    created: float = field(default_factory=time.time)


class MediaStore:
    """The files of all inbound messages, by media SID."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, Media] = {}
        self._requests: dict[str, int] = {}

    def add(self, message_sid: str, media: Media) -> Media:
        stored = replace(media, message_sid=message_sid)
        with self._lock:
            self._files[stored.sid] = stored
        return stored

    def find(self, message_sid: str, sid: str) -> Media | None:
        """The file, or None if it does not exist or is not ready; counts as a request."""
        with self._lock:
            media = self._files.get(sid)
            if media is None or media.message_sid != message_sid:
                return None
            requests = self._requests[sid] = self._requests.get(sid, 0) + 1
            too_early = time.monotonic() - media.stored_at < media.ready.seconds
            return None if too_early or requests <= media.ready.calls else media

    def get(self, sid: str) -> Media | None:
        with self._lock:
            return self._files.get(sid)

    def of_message(self, message_sid: str) -> list[Media]:
        with self._lock:
            return [media for media in self._files.values() if media.message_sid == message_sid]

    def remove(self, sid: str) -> None:
        with self._lock:
            self._files.pop(sid, None)


class TwilioCdn(StandIn):
    """The second host, which serves ``/{AC}/{hex}`` by signed, expiring URLs without credentials.

    Its URL has the host ``localhost`` instead of ``127.0.0.1``, so that clients see two different
    hosts, like mms.twiliocdn.com and api.twilio.com.
    """

    service = "twilio"

    def __init__(
        self,
        *,
        recorder: CallRecorder,
        faults: Faults,
        latency: LatencyProfile,
        store: MediaStore,
        port: int = 0,
    ) -> None:
        super().__init__(recorder=recorder, faults=faults, latency=latency, port=port)
        self.signed_seconds = SIGNED_SECONDS
        self._store = store
        self._key = uuid.uuid4().bytes
        self.call("media_cdn", "/<account>/<name>", methods=["GET"])(self._serve)

    @property
    def host(self) -> str:
        """``localhost:PORT``."""
        return f"localhost:{self.port}"

    def signed_address(self, account_sid: str, media: Media) -> str:
        path = f"/{account_sid}/{media.sid[2:]}"
        expires = str(time.time() + self.signed_seconds)
        query = {
            "Expires": expires,
            "Signature": self._signature(path, expires),
            "Key-Pair-Id": KEY_PAIR_ID,
        }
        return f"{self.public_url or f'http://{self.host}'}{path}?{urlencode(query)}"

    def error(self, status: int) -> Response:
        code = {400: "InvalidArgument", 403: "AccessDenied", 404: "NoSuchKey"}.get(
            status, "InternalError"
        )
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code></Error>'
        return Response(body, status, content_type="application/xml")

    def _serve(self, account: str, name: str) -> Response:
        if "Authorization" in request.headers:
            self.record_violation("media_cdn", "credentials were sent to the CDN host")
            return self.error(400)
        if not self._is_signed(f"/{account}/{name}"):
            self.record_violation("media_cdn", "the CDN address was changed or has expired")
            return self.error(403)
        media = self._store.get(f"ME{name}")
        if media is None:
            return self.error(404)
        return Response(media.content, content_type=media.content_type)

    def _is_signed(self, path: str) -> bool:
        expires = request.args.get("Expires", "0")
        expected = self._signature(path, expires)
        signature = request.args.get("Signature", "")
        if request.args.get("Key-Pair-Id") != KEY_PAIR_ID:
            return False
        return hmac.compare_digest(expected, signature) and time.time() < float(expires)

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._key, f"{path} {expires}".encode(), hashlib.sha256).hexdigest()
