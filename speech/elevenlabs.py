"""ElevenLabs: hearing voice notes and speaking answers (docs/providers/elevenlabs.md)."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import httpx
import structlog
from elevenlabs.base_client import BaseElevenLabs
from elevenlabs.core.api_error import ApiError

from audio import formats as container
from audio.ffmpeg import Ffmpeg, pcm_seconds
from core.deadline import clamp
from core.error_codes import codes
from core.errors import (
    DeadlineExceeded,
    NothingHeard,
    SpeechBusy,
    SpeechError,
    SpeechRefused,
    SpeechUnavailable,
)
from core.settings import Settings
from http_clients.bodies import UNREADABLE
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.concurrency import ConcurrencyLimiter
from http_clients.httpx_transport import httpx_client
from http_clients.retries import parse_retry_after, retrying
from http_clients.routes import Route
from metrics import Metrics
from text.languages import SPOKEN_BY_FLASH, two_letters
from text.markdown import clean

T = TypeVar("T")

log = structlog.get_logger(__name__)

RETRY_DELAYS = (0.5, 1.0, 2.0)
SPEAK_TIMEOUT = 30
HEAR_TIMEOUT = 30
# Batch transcription of long recordings is faster than real time by far.
HEAR_TIMEOUT_PER_SECOND = 0.2

# An answer is spoken in several, side by side; so many connections are kept open.
PIECES = 8
# Four minutes of MP3; a piece takes half a minute at most. Transcripts are far smaller.
ANSWER_LIMIT = 4 * 1024 * 1024

# Of a number of requests at once.
COUNT_DIGITS = 6

OPUS = "opus_48000_32"
# Where the plan refuses Opus; every plan has this one
# (docs/providers/elevenlabs.md, "Output formats").
MP3 = "mp3_44100_128"
# How long Opus is not asked for then: the plan may change.
OPUS_PAUSE_SECONDS = 3600.0
CONTAINERS = {OPUS: container.OPUS, MP3: container.MP3}

# "(laughter)" and "[music]" are no words.
_EVENTS_ONLY = re.compile(r"\s*+(?:(?:\([^)]*+\)|\[[^\]]*+\])[\s.,!?]*+)*+")
# What a refusal names that is about the output format, as its code or its parameter.
_ABOUT_FORMAT = frozenset({"output_format_not_allowed", "invalid_output_format", "output_format"})
_RETRYABLE_STATUS = frozenset({408, 409})


@dataclass(frozen=True)
class Transcript:
    """What was said, and its language (ISO 639-1) where that is known."""

    text: str
    language: str | None


class Synthesizer(Protocol):
    """What can speak: ``Speech``, or ``speech/cache.py`` in front of it."""

    @property
    def available_slots(self) -> int: ...

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes: ...


class Speech:
    """One ElevenLabs account with one voice."""

    def __init__(
        self,
        *,
        settings: Settings,
        ffmpeg: Ffmpeg,
        metrics: Metrics,
        breakers: CircuitBreakers,
        width: int,
    ) -> None:
        self._settings = settings
        self._patience = settings.PROVIDER_TIMEOUT_FACTOR
        self._ffmpeg = ffmpeg
        self._metrics = metrics
        http = httpx_client(settings, width=width, most=ANSWER_LIMIT)
        self._routes = [Route(http, settings.ELEVENLABS_API_URL, number=PIECES)]
        self._client = _client(settings, http)
        self._lock = threading.Lock()
        self._format = OPUS
        # When Opus is asked for again (monotonic seconds), where it was refused.
        self._opus_due_at = 0.0
        # The plan allows each kind so many requests at once, and its answers say how many.
        self._stt_limiter = ConcurrencyLimiter(
            settings.ELEVENLABS_CONCURRENCY, provider="ElevenLabs"
        )
        self._tts_limiter = ConcurrencyLimiter(
            settings.ELEVENLABS_CONCURRENCY, provider="ElevenLabs"
        )
        self._stt_breaker = breakers.create("ElevenLabs hearing", SpeechUnavailable)
        self._tts_breaker = breakers.create("ElevenLabs speaking", SpeechUnavailable)

    def routes(self) -> list[Route]:
        """What is worth keeping open."""
        return self._routes

    def set_share(self, processes: int) -> None:
        """Use one of as many equal parts of what the plan allows, though one place at least."""
        self._stt_limiter.set_share(processes)
        self._tts_limiter.set_share(processes)

    @property
    def available_slots(self) -> int:
        """How many more pieces can be spoken at once without waiting in line."""
        return self._tts_limiter.available_slots

    def transcribe(self, pcm: bytes) -> Transcript:
        """The words in 16 kHz mono PCM.

        Raises ``NothingHeard`` where there are none or too uncertain ones, else ``SpeechError``.
        """
        heard = self._stt_breaker.call(
            lambda: self._patiently(self._stt_limiter, lambda: self._hear(pcm))
        )
        text = clean(heard.text or "").strip()
        confidence = heard.language_probability
        if _EVENTS_ONLY.fullmatch(text):
            raise NothingHeard
        if confidence is not None and confidence < self._settings.STT_MIN_CONFIDENCE:
            raise NothingHeard("the transcription is too uncertain")
        return Transcript(text, two_letters(heard.language_code))

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes:
        """``text`` spoken, as Ogg/Opus. Raises ``SpeechError``.

        ``previous`` and ``following`` are what is spoken around it, for the melody.
        """
        self._metrics.count("speech_characters", len(text))
        request = {"text": text, "model_id": self._settings.ELEVENLABS_TTS_MODEL}
        if code := self._language_code(language):
            request["language_code"] = code
        if self._settings.ELEVENLABS_TTS_MODEL != "eleven_v3":
            request |= {"previous_text": previous} if previous else {}
            request |= {"next_text": following} if following else {}
        return self._in_opus(request)

    def voice_key(self, language: str | None) -> tuple[str | None, ...]:
        """What decides, beside the text, how it is spoken."""
        settings, code = self._settings, self._language_code(language)
        return settings.ELEVENLABS_VOICE_ID, settings.ELEVENLABS_TTS_MODEL, code, self._format

    def _hear(self, pcm: bytes) -> Any:
        timeout = HEAR_TIMEOUT + pcm_seconds(pcm) * HEAR_TIMEOUT_PER_SECOND
        answer = self._client.speech_to_text.with_raw_response.convert(
            model_id=self._settings.ELEVENLABS_STT_MODEL,
            # Sent in portions; bytes would be copied again for each part that the socket takes.
            file=("note.pcm", io.BytesIO(pcm), "application/octet-stream"),
            file_format="pcm_s16le_16",
            tag_audio_events=False,
            timestamps_granularity="none",
            # The SDK's own retry drops every form field
            # (docs/providers/elevenlabs.md, "Python library").
            request_options=self._options(timeout) | {"max_retries": 0},
        )
        _resize(self._stt_limiter, answer.headers)
        return answer.data

    def _in_opus(self, request: dict[str, str]) -> bytes:
        if self._asks_for_opus():
            try:
                audio = self._spoken(request, OPUS)
            except FormatRefused as error:
                self._note_no_opus(error)
            else:
                self._format = OPUS
                return audio
        return self._ffmpeg.encode_note(self._spoken(request, MP3))

    def _asks_for_opus(self) -> bool:
        """Whether to; where it was refused, one piece tries again while the others go on."""
        with self._lock:
            if self._format == OPUS:
                return True
            due = time.monotonic() >= self._opus_due_at
            if due:
                self._opus_due_at = time.monotonic() + OPUS_PAUSE_SECONDS
            return due

    def _note_no_opus(self, refusal: FormatRefused) -> None:
        with self._lock:
            known, self._format = self._format == MP3, MP3
            self._opus_due_at = time.monotonic() + OPUS_PAUSE_SECONDS
        if not known:
            reason = str(refusal)
            log.warning("The ElevenLabs plan has no Opus; encoding voice notes here", error=reason)

    def _spoken(self, request: dict[str, str], output_format: str) -> bytes:
        speak = partial(self._synthesised, request, output_format)
        return self._tts_breaker.call(lambda: self._patiently(self._tts_limiter, speak))

    def _synthesised(self, request: dict[str, str], output_format: str) -> bytes:
        # A note is sent whole; streamed, it would come in many small parts, each read by itself.
        convert: Callable[..., Any] = self._client.text_to_speech.with_raw_response.convert
        with convert(
            self._settings.ELEVENLABS_VOICE_ID,
            output_format=output_format,
            request_options=self._options(SPEAK_TIMEOUT) | {"chunk_size": None},
            **request,
        ) as answer:
            audio = b"".join(answer.data)
        _resize(self._tts_limiter, answer.headers)
        if container.detect_format(audio) != CONTAINERS[output_format]:
            # It would be kept, and given again.
            raise SpeechUnavailable("ElevenLabs sent something else than audio")
        return audio

    def _options(self, timeout: float) -> Any:
        """``RequestOptions`` of the SDK, which knows whole seconds only by its types."""
        return {"timeout_in_seconds": timeout * self._patience}

    def _patiently(self, limiter: ConcurrencyLimiter, call: Callable[[], T]) -> T:
        """Make a call, again where that helps; it holds a place only while it is under way."""
        return cast(T, retrying(RETRY_DELAYS, factor=self._patience)(_placed, limiter, call))

    def _language_code(self, language: str | None) -> str | None:
        """The code to send: multilingual_v2 takes none, flash and turbo those they speak."""
        model = self._settings.ELEVENLABS_TTS_MODEL
        if model == "eleven_multilingual_v2":
            return None
        if model.startswith(("eleven_flash", "eleven_turbo")) and language not in SPOKEN_BY_FLASH:
            return None
        return language


def _client(settings: Settings, http: httpx.Client) -> BaseElevenLabs:
    """The SDK's client, without what it adds for agents, music and microphones."""
    client = BaseElevenLabs(
        api_key=settings.ELEVENLABS_API_KEY,
        base_url=settings.ELEVENLABS_API_URL,
        httpx_client=http,
    )
    # Imported when they are first asked for; better now than in the first turn.
    _ = client.speech_to_text, client.text_to_speech
    return client


class FormatRefused(SpeechRefused):
    """The plan, or the model, does not include the output format."""


def _placed(limiter: ConcurrencyLimiter, call: Callable[[], T]) -> T:
    with limiter.slot():
        return _translated(call)


def _resize(limiter: ConcurrencyLimiter, headers: Mapping[str, str]) -> None:
    """Let in as many at once as the plan allows by the headers of an answer."""
    allowed = headers.get("maximum-concurrent-requests", "")
    if allowed.isdecimal() and len(allowed) <= COUNT_DIGITS:
        limiter.set_ceiling(int(allowed))


def _translated(call: Callable[[], T]) -> T:
    """Make a call; whatever the SDK raises becomes a ``SpeechError``."""
    # Without time left none is made, which says nothing of ElevenLabs.
    clamp(0)
    try:
        return call()
    except ApiError as error:
        raise _refusal(error) from None
    except (httpx.HTTPError, DeadlineExceeded, *UNREADABLE) as error:
        raise SpeechUnavailable(f"no answer from ElevenLabs: {type(error).__name__}") from error


def _refusal(error: ApiError) -> SpeechError:
    status = error.status_code or 0
    signs = _signs(error.body)
    reason = f"ElevenLabs: HTTP {status} {' '.join(signs)}".strip()
    if status == 429:
        headers = error.headers or {}
        return SpeechBusy(reason, retry_after=parse_retry_after(headers.get("retry-after")))
    if status in _RETRYABLE_STATUS or status >= 500 or status < 300:
        return SpeechUnavailable(reason)
    if _ABOUT_FORMAT.intersection(signs):
        return FormatRefused(reason)
    return SpeechRefused(reason)


def _signs(body: Any) -> list[str]:
    """``type``, ``code``, ``status`` and ``param`` of an error body in any of its shapes.

    docs/providers/elevenlabs.md, "Errors and what they mean".
    """
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, list):
        return codes(
            *(sign for fault in detail if isinstance(fault, dict) for sign in _faulty(fault))
        )
    if not isinstance(detail, dict):
        return []
    return codes(*(detail.get(key) for key in ("type", "code", "status", "param")))


def _faulty(fault: dict[str, Any]) -> list[object]:
    """What is wrong, and where: ``missing``, ``body``, ``text``."""
    place = fault.get("loc")
    return [fault.get("type"), *(place if isinstance(place, list) else ())]
