"""Loads a voice note: downloads it from Twilio, decodes it meanwhile, and trims it."""

from __future__ import annotations

import base64
import re
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Protocol
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
from requests.auth import AuthBase

from audio.ffmpeg import Ffmpeg, StreamDecoder
from audio.formats import SNIFFED, detect_format
from audio.frames import exceeds_duration
from audio.trimming import trim
from core.deadline import Deadline, clamp, remaining_time
from core.errors import (
    AudioTooLong,
    DeadlineExceeded,
    MediaError,
    MediaForbidden,
    MediaMissing,
    MediaRefused,
    MediaTooLarge,
)
from http_clients.bodies import BodyTooLarge, read_chunks
from http_clients.retries import parse_retry_after, retrying
from http_clients.routes import Route
from metrics import Metrics

# Twilio announces a recording before all its servers have it: 404 at first is normal.
RETRY_DELAYS = (0.5, 1.0, 2.0)
MAX_REDIRECTS = 4
MAX_BYTES = 16 * 1024 * 1024
READ_TIMEOUT = 10.0
# No proxy or server decodes an address more often than this.
MAX_DECODINGS = 4
# The limit for all tries together.
TOTAL_TIMEOUT = 30.0
# How an address begins that is itself the recording, in a signed form of `flask --app app say`
# (docs/decisions.md, "A list of hosts for recordings").
INLINE = "data:audio/ogg;base64,"

_REGIONAL_API = re.compile(r"api(\.[a-z0-9-]+){0,2}\.twilio\.com")


class DownloadListener(Protocol):
    """Receives the bytes of a recording while it is downloaded."""

    def begin(self) -> None:
        """Called when a download starts; the bytes of earlier tries must be forgotten."""

    def write(self, chunk: bytes) -> None:
        """Called with the next bytes of the recording."""


class _NullListener:
    def begin(self) -> None:
        """Do nothing."""

    def write(self, chunk: bytes) -> None:
        """Do nothing."""


class _NoCredentials(AuthBase):
    """Sends no credentials, not even those of a .netrc file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class MediaDownloader:
    """Downloads recordings of one Twilio account. ``timeout_factor`` multiplies all timeouts."""

    def __init__(
        self,
        *,
        session: requests.Session,
        metrics: Metrics,
        api_url: str,
        account_sid: str,
        auth_token: str,
        media_hosts: tuple[str, ...],
        timeout_factor: float = 1.0,
    ) -> None:
        self._session = session
        self._metrics = metrics
        self._api = urlsplit(api_url)
        self._credentials = (account_sid, auth_token)
        self._path = re.compile(
            rf"/2010-04-01/Accounts/{re.escape(account_sid)}/Messages/[\w-]+/Media/\w+"
        )
        self._media_hosts = frozenset(media_hosts)
        self._timeout_factor = timeout_factor

    def routes(self) -> list[Route]:
        """The connections to keep open: to Twilio's API and to its file stores."""
        stores = (f"{self._api.scheme}://{host}" for host in sorted(self._media_hosts))
        return [Route(self._session, each) for each in (self._api.geturl(), *stores)]

    def download(self, url: str, listener: DownloadListener | None = None) -> bytearray:
        """Download the recording at ``MediaUrl0``; ``listener`` gets its bytes meanwhile.

        After 404, 429, 5xx or a broken connection this tries again after 0.5, 1 and 2 s. Raises
        ``MediaForbidden`` for an address that is not this account's, or another ``MediaError``.
        """
        listener = listener or _NullListener()
        if url.startswith(INLINE):
            return _read_inline(url, listener)
        self._check_origin(url)
        tries = retrying(RETRY_DELAYS, factor=self._timeout_factor)
        limit = Deadline(clamp(TOTAL_TIMEOUT * self._timeout_factor))
        with self._metrics.watch("twilio media"), limit.applied():
            return tries(self._fetch, url, listener)

    def _fetch(self, url: str, listener: DownloadListener) -> bytearray:
        auth: AuthBase | tuple[str, str] = self._credentials
        try:
            for hop in range(MAX_REDIRECTS):
                with self._get(url, auth) as response:
                    if hop == 0 and response.ok:
                        listener.begin()
                    if not response.is_redirect:
                        return _read_recording(response, self._timeout, listener)
                    url = self._redirect_target(url, response.headers["Location"])
                    _read_to_end(response, self._timeout)
                    auth = _NoCredentials()
        except (requests.RequestException, DeadlineExceeded) as error:
            if not remaining_time():
                raise MediaError("the recording did not come in time") from error
            raise MediaMissing(f"the recording broke off: {type(error).__name__}") from error
        raise MediaForbidden("the recording's address redirects too often")

    @property
    def _timeout(self) -> float:
        return READ_TIMEOUT * self._timeout_factor

    def _get(self, url: str, auth: AuthBase | tuple[str, str]) -> requests.Response:
        return self._session.get(
            url,
            auth=auth,
            stream=True,
            allow_redirects=False,
            timeout=clamp(self._timeout),
            # A compressed answer could be far larger than what was sent.
            headers={"Accept-Encoding": "identity"},
        )

    def _check_origin(self, url: str) -> None:
        """Refuse addresses other than this account's recordings: they would get its credentials."""
        parts = _parts(url)
        ours = (parts.scheme, parts.netloc) == (self._api.scheme, self._api.netloc)
        regional = (
            parts.scheme == "https"
            and self._api.netloc == "api.twilio.com"
            and _REGIONAL_API.fullmatch(parts.netloc) is not None
        )
        if not (ours or regional) or not self._path.fullmatch(parts.path):
            raise MediaForbidden("MediaUrl0 is not a recording of this Twilio account")

    def _redirect_target(self, url: str, location: str) -> str:
        """The URL of ``location``: in a store of Twilio, and https if the API is https."""
        parts = _parts(location, base=url)
        # Other companies have buckets on this host too. TWILIO_MEDIA_HOSTS may end it with a dot.
        s3 = (parts.hostname or "").rstrip(".") == "s3-external-1.amazonaws.com"
        if (
            parts.netloc not in self._media_hosts
            or parts.scheme not in ("https", self._api.scheme)
            or (s3 and not parts.path.startswith("/media.twiliocdn.com/"))
            or _has_dot_segments(parts.path)
        ):
            raise MediaForbidden("Twilio redirects the recording to a foreign host")
        return parts.geturl()


def _read_inline(url: str, listener: DownloadListener) -> bytearray:
    """The recording that the address holds, which a signed form limits to some 48 KB."""
    try:
        data = base64.b64decode(url.removeprefix(INLINE), validate=True)
    except ValueError:
        raise MediaError("the recording in the form is not base64") from None
    listener.begin()
    listener.write(data)
    return bytearray(data)


def _parts(url: str, base: str = "") -> SplitResult:
    try:
        return urlsplit(urljoin(base, url))
    except ValueError:
        raise MediaForbidden("the recording's address is not a valid URL") from None


def _has_dot_segments(path: str) -> bool:
    """Whether ``path`` has a segment "." or "..", which requests, a proxy or the host may resolve.

    A path that is still encoded after ``MAX_DECODINGS`` counts as one that has them.
    """
    for _ in range(MAX_DECODINGS):
        path, encoded = unquote(path), path
        if path == encoded:
            return not {".", ".."}.isdisjoint(path.replace("\\", "/").split("/"))
    return True


def _read_recording(
    response: requests.Response, timeout: float, listener: DownloadListener
) -> bytearray:
    status = response.status_code
    if status in (404, 429) or status >= 500:
        _read_to_end(response, timeout)
        raise MediaMissing(
            f"HTTP {status} instead of the recording",
            retry_after=parse_retry_after(response.headers.get("Retry-After")),
        )
    if status in (401, 403):
        raise MediaRefused(f"HTTP {status} instead of the recording; see TWILIO_AUTH_TOKEN")
    if status != 200:
        raise MediaError(f"HTTP {status} instead of the recording")
    data = bytearray()
    try:
        for chunk in read_chunks(response, timeout, max_bytes=MAX_BYTES):
            data += chunk
            listener.write(chunk)
    except BodyTooLarge:
        raise MediaTooLarge from None
    return data


def _read_to_end(response: requests.Response, timeout: float) -> None:
    """Read a short body to its end, so that the connection can be reused."""
    with suppress(requests.RequestException):
        for _ in islice(read_chunks(response, timeout), 2):
            pass


@dataclass(frozen=True)
class Recording:
    """``pcm`` as ``audio.trimming.trim`` returns it; times in seconds.

    ``convert_time`` is the time from the end of the download until the PCM was ready.
    """

    pcm: bytes
    download_time: float
    convert_time: float


class VoiceNoteLoader:
    """Downloads and decodes recordings, each to PCM that is ready to be transcribed."""

    def __init__(self, *, media: MediaDownloader, ffmpeg: Ffmpeg, max_seconds: float) -> None:
        self._media = media
        self._ffmpeg = ffmpeg
        self._max_seconds = max_seconds

    def load(self, url: str) -> Recording:
        """Load the recording at ``MediaUrl0``. Raises ``MediaError`` or ``AudioError``."""
        started = time.monotonic()
        with closing(_OpusListener(self._ffmpeg)) as listener:
            data = self._media.download(url, listener)
            downloaded = time.monotonic()
            # This reads frame headers, before anything is decoded; ``trim`` measures the PCM.
            if exceeds_duration(data, self._max_seconds + 1):
                raise AudioTooLong
            pcm = listener.pcm()
        pcm = pcm or self._ffmpeg.decode(data)
        # Free up to 16 MB that are not needed while the PCM is trimmed.
        del data
        speech = trim(pcm, max_seconds=self._max_seconds)
        return Recording(speech, downloaded - started, time.monotonic() - downloaded)


class _OpusListener:
    """Decodes a recording during its download, if it is Ogg/Opus and a decoder is free."""

    def __init__(self, ffmpeg: Ffmpeg) -> None:
        self._ffmpeg = ffmpeg
        self._decoder: StreamDecoder | None = None
        self._head = b""

    def begin(self) -> None:
        """Start the decoder now, so that it is ready when the CDN answers."""
        self.close()
        self._head = b""
        self._decoder = self._ffmpeg.open_stream()

    def write(self, chunk: bytes) -> None:
        if not self._decoder:
            return
        if len(self._head) < SNIFFED:
            # The decoder takes Ogg/Opus only, so the format must be known first.
            self._head += chunk
            chunk = self._head
            if len(chunk) < SNIFFED:
                return
            audio_format = detect_format(chunk[:SNIFFED])
            if not audio_format or not audio_format.streams:
                self.close()
                return
        self._decoder.write(chunk)

    def pcm(self) -> bytes | None:
        """The whole recording, or ``None`` if it has to be decoded by ``Ffmpeg.decode``."""
        return self._decoder.pcm() if self._decoder else None

    def close(self) -> None:
        if self._decoder:
            self._decoder.close()
        self._decoder = None
