"""ElevenLabs: hearing voice notes and speaking answers (docs/providers/elevenlabs.md)."""

from __future__ import annotations

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

# Connections that are kept open: an answer is spoken in several pieces, side by side.
CONNECTIONS = 8
# Bytes. Four minutes of MP3; a piece takes half a minute at most. Transcripts are far smaller.
ANSWER_LIMIT = 4 * 1024 * 1024


class Synthesizer(Protocol):
    """Speaks text: ``Speech``, or ``speech/cache.py`` in front of it."""

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
        http = httpx_client(settings, connections=connections, max_bytes=ANSWER_LIMIT)
        client = _build_client(settings, http)
        self._routes = [Route(http, settings.ELEVENLABS_API_URL, number=CONNECTIONS)]
        # The plan limits each kind of request by itself.
        self._hearing, self._speaking = (
            Endpoint(
                concurrency=settings.ELEVENLABS_CONCURRENCY,
                breaker=breakers.create(f"ElevenLabs {kind}", SpeechUnavailable),
                timeout_factor=settings.PROVIDER_TIMEOUT_FACTOR,
            )
            for kind in ("hearing", "speaking")
        )
        self._transcriber = Transcriber(
            client=client,
            endpoint=self._hearing,
            model=settings.ELEVENLABS_STT_MODEL,
            key_terms=settings.STT_KEYTERMS,
            least_confidence=settings.STT_MIN_CONFIDENCE,
            timeout_factor=settings.PROVIDER_TIMEOUT_FACTOR,
        )
        self._voice = Voice(
            client=client,
            endpoint=self._speaking,
            ffmpeg=ffmpeg,
            metrics=metrics,
            voice_id=settings.ELEVENLABS_VOICE_ID,
            model=settings.ELEVENLABS_TTS_MODEL,
            timeout_factor=settings.PROVIDER_TIMEOUT_FACTOR,
        )

    def routes(self) -> list[Route]:
        """Addresses to which connections are worth keeping open."""
        return self._routes

    def set_share(self, processes: int) -> None:
        """Use one of so many equal parts of what the plan allows, though one place at least."""
        self._hearing.set_share(processes)
        self._speaking.set_share(processes)

    @property
    def available_slots(self) -> int:
        """How many more pieces can be spoken at once without waiting in line."""
        return self._speaking.available_slots

    def transcribe(self, pcm: bytes) -> Transcript:
        """The words in 16 kHz mono PCM.

        Raises ``NothingHeard`` where there are none or too uncertain ones, else ``SpeechError``.
        """
        return self._transcriber.transcribe(pcm)

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes:
        """``text`` spoken, as Ogg/Opus. Raises ``SpeechError``.

        ``previous`` and ``following`` are what is spoken around it, for the melody.
        """
        return self._voice.synthesize(text, language, previous=previous, following=following)

    def synthesis_key(self, text: str, language: str | None) -> tuple[str | None, ...]:
        """Everything that decides how ``text`` sounds, but what is spoken around it."""
        return self._voice.key(text, language)


def _build_client(settings: Settings, http: httpx.Client) -> BaseElevenLabs:
    """The SDK's client, without what it adds for agents, music and microphones."""
    client = BaseElevenLabs(
        api_key=settings.ELEVENLABS_API_KEY,
        base_url=settings.ELEVENLABS_API_URL,
        httpx_client=http,
    )
    # Their modules are imported on first use; better now than in the first turn.
    _ = client.speech_to_text, client.text_to_speech
    return client
