"""Reads the set-up of the ElevenLabs account: docs/providers/elevenlabs.md, "Account"."""

from __future__ import annotations

from typing import Any

import requests

from core.errors import SpeechUnavailable
from core.settings import Settings
from http_clients.bodies import UNREADABLE
from http_clients.sessions import requests_session
from speech.refusals import read_refusal

TIMEOUT_SECONDS = 10.0


class ElevenLabsAccount:
    """All methods read only, cost no credits, and raise ``SpeechError``.

    A key that may only transcribe and speak, which is all that the service needs, may read none of
    this: ``SpeechRefused`` with the code ``missing_permissions``.
    """

    def __init__(self, settings: Settings) -> None:
        self._http = requests_session(settings, connections=1)
        self._url = settings.ELEVENLABS_API_URL
        self._headers = {"xi-api-key": settings.ELEVENLABS_API_KEY}
        self._timeout = TIMEOUT_SECONDS * settings.PROVIDER_TIMEOUT_FACTOR

    def models(self) -> list[dict[str, Any]]:
        """The speech models, each with ``model_id`` and ``languages``."""
        return [model for model in self._get("/v1/models") if isinstance(model, dict)]

    def voice(self, voice_id: str) -> dict[str, Any]:
        """A voice, with its ``name``."""
        return dict(self._get(f"/v1/voices/{voice_id}"))

    def subscription(self) -> dict[str, Any]:
        """The plan, with ``tier``, ``character_count`` and ``character_limit``."""
        return dict(self._get("/v1/user/subscription"))

    def _get(self, path: str) -> Any:
        try:
            answer = self._http.get(
                self._url + path,
                headers=self._headers,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise SpeechUnavailable(f"no answer from ElevenLabs: {type(error).__name__}") from error
        try:
            body = answer.json()
        except UNREADABLE:
            body = None
        if answer.status_code != 200 or not isinstance(body, list | dict):
            raise read_refusal(answer.status_code, body, answer.headers)
        return body
