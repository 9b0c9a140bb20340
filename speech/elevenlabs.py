"""ElevenLabs: transcribes voice notes and speaks answers (docs/providers/elevenlabs.md)."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import httpx
from elevenlabs.base_client import BaseElevenLabs

from audio.ffmpeg import Ffmpeg
from core.errors import SpeechUnavailable
from core.settings import Settings
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.httpx_transport import httpx_client
from http_clients.routes import Route
from metrics import Metrics
from speech.endpoint import Endpoint
from speech.transcription import Transcriber, Transcript
from speech.voice import Voice

# Connections that are kept open: the segments of an answer are synthesised in parallel.
CONNECTIONS = 8
# Four minutes of MP3; a segment lasts half a minute at most. Transcripts are far smaller.
MAX_RESPONSE_BYTES = 4 * 1024 * 1024


class Synthesizer(Protocol):
    """Synthesises text: ``Speech``, or the cache in front of it (``speech/cache.py``)."""

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
        connections: int,
    ) -> None:
        http = httpx_client(settings, connections=connections, max_bytes=MAX_RESPONSE_BYTES)
        client = _build_client(settings, http)
        self._routes = [Route(http, settings.ELEVENLABS_API_URL, number=CONNECTIONS)]
        # The plan has a separate limit for each kind of request.
        create_endpoint = partial(
            Endpoint,
            metrics=metrics,
            concurrency=settings.ELEVENLABS_CONCURRENCY,
            timeout_factor=settings.PROVIDER_TIMEOUT_FACTOR,
        )
        self._transcription = create_endpoint(
            kind="transcription",
            breaker=breakers.create("ElevenLabs transcription", SpeechUnavailable),
        )
        self._synthesis = create_endpoint(
            kind="synthesis",
            breaker=breakers.create("ElevenLabs synthesis", SpeechUnavailable),
        )
        self._transcriber = Transcriber(
            client=client,
            endpoint=self._transcription,
            metrics=metrics,
            model=settings.ELEVENLABS_STT_MODEL,
            keyterms=settings.STT_KEYTERMS,
            min_confidence=settings.STT_MIN_CONFIDENCE,
            timeout_factor=settings.PROVIDER_TIMEOUT_FACTOR,
        )
        self._voice = Voice(
            client=client,
            endpoint=self._synthesis,
            ffmpeg=ffmpeg,
            metrics=metrics,
            voice_id=settings.ELEVENLABS_VOICE_ID,
            model=settings.ELEVENLABS_TTS_MODEL,
            timeout_factor=settings.PROVIDER_TIMEOUT_FACTOR,
        )

    def routes(self) -> list[Route]:
        """The connections to keep open."""
        return self._routes

    def set_share(self, processes: int) -> None:
        """Use one of ``processes`` equal parts of the plan's concurrency; at least one slot."""
        self._transcription.set_share(processes)
        self._synthesis.set_share(processes)

    @property
    def available_slots(self) -> int:
        """The number of segments that could be synthesised right now without waiting."""
        return self._synthesis.available_slots

    @property
    def concurrency(self) -> int:
        """The number of segments that may be synthesised at once, by all that is known so far."""
        return self._synthesis.limit

    @property
    def has_opus(self) -> bool:
        """Whether the plan includes Ogg/Opus, as far as it was asked for."""
        return self._voice.has_opus

    def transcribe(self, pcm: bytes) -> Transcript:
        """Transcribe 16 kHz mono PCM.

        Raises ``NothingHeard`` if there are no words or they are too uncertain, or another
        ``SpeechError``.
        """
        return self._transcriber.transcribe(pcm)

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes:
        """Synthesise ``text`` as Ogg/Opus. Raises ``SpeechError``.

        ``previous`` and ``following`` are the texts before and after it, for the intonation.
        """
        return self._voice.synthesize(text, language, previous=previous, following=following)

    def synthesis_key(self, text: str, language: str | None) -> tuple[str | None, ...]:
        """Everything that the audio of ``text`` depends on, except for the texts around it."""
        return self._voice.key(text, language)


def _build_client(settings: Settings, http: httpx.Client) -> BaseElevenLabs:
    """The SDK's client, without its parts for agents, music and microphones."""
    client = BaseElevenLabs(
        api_key=settings.ELEVENLABS_API_KEY,
        base_url=settings.ELEVENLABS_API_URL,
        httpx_client=http,
    )
    # The SDK imports these modules on first use; import them now rather than in the first turn.
    _ = client.speech_to_text, client.text_to_speech
    return client
