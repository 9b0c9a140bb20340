"""A bot that calls the providers one after the other: what the service is compared with.

A thread for each message starts a session, downloads, converts, transcribes, asks, sends the text,
has all of it spoken in one piece and sends that. Nothing is stored, and nothing is checked.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import requests
from flask import Flask, Response, abort, request

from core.settings import Settings, load_settings

# gunicorn as the bridge has it, without the bridge's configuration.
COMMAND = [sys.executable, "-m", "gunicorn", "--config", "/dev/null", "--worker-class", "gthread"]
COMMAND += ["--threads", "32", "--no-control-socket", "bench.sequential:create_app()"]

TIMEOUT = 130.0
# Pauses between the tries to download, in seconds.
DOWNLOAD_RETRIES = (1.0, 2.0, 4.0)


def create_app() -> Flask:
    """The Flask application; its settings are those of the bridge."""
    bot = Sequential(settings=load_settings())
    app = Flask(__name__)

    @app.get("/")
    def alive() -> Response:
        return Response("OK")

    @app.post("/")
    def webhook() -> Response:
        threading.Thread(target=bot.answer, args=(request.form.to_dict(),)).start()
        return Response("<Response/>", mimetype="text/xml")

    @app.get("/audio/<name>.ogg")
    def voice_note(name: str) -> Response:
        if name not in bot.notes:
            abort(404)
        return Response(bot.notes[name], content_type="audio/ogg")

    return app


class Sequential:
    """Answers messages, each on the thread that brings it; ``notes`` are what it has spoken."""

    def __init__(self, *, settings: Settings) -> None:
        self.notes: dict[str, bytes] = {}
        self._settings = settings
        self._lock = threading.Lock()
        self._token = ""

    def answer(self, form: dict[str, str]) -> None:
        """One turn, to its end."""
        spoken = form["NumMedia"] == "1"
        session = self._start_session()
        question = self._heard(form["MediaUrl0"]) if spoken else form["Body"]
        answer = self._ask(session, question)
        self._send(form["From"], Body=answer)
        if spoken:
            name = uuid.uuid4().hex
            self.notes[name] = self._spoken(answer)
            self._send(form["From"], MediaUrl=f"{self._settings.PUBLIC_URL}/audio/{name}.ogg")

    def _heard(self, url: str) -> str:
        fields = {"model_id": self._settings.ELEVENLABS_STT_MODEL, "tag_audio_events": "false"}
        answer = self._elevenlabs(
            "speech-to-text", data=fields, files={"file": ("note.wav", _wav(self._download(url)))}
        )
        return str(answer.json()["text"])

    def _download(self, url: str) -> bytes:
        for seconds in (*DOWNLOAD_RETRIES, None):
            answer = requests.get(url, auth=self._twilio_login(), timeout=TIMEOUT)
            if answer.ok or seconds is None:
                break
            time.sleep(seconds)
        answer.raise_for_status()
        return answer.content

    def _spoken(self, text: str) -> bytes:
        path = f"text-to-speech/{self._settings.ELEVENLABS_VOICE_ID}?output_format=opus_48000_32"
        body = {"text": text, "model_id": self._settings.ELEVENLABS_TTS_MODEL}
        return self._elevenlabs(path, json=body).content

    def _elevenlabs(self, path: str, **content: Any) -> requests.Response:
        headers = {"xi-api-key": self._settings.ELEVENLABS_API_KEY}
        url = f"{self._settings.ELEVENLABS_API_URL}/v1/{path}"
        return _posted(url, headers=headers, **content)

    def _start_session(self) -> str:
        body = {
            "externalSessionKey": str(uuid.uuid4()),
            "instanceConfig": {"endpoint": self._settings.SALESFORCE_INSTANCE_URL},
            "bypassUser": True,
        }
        path = f"agents/{self._settings.AGENTFORCE_AGENT_ID}/sessions"
        return str(self._agentforce(path, body)["sessionId"])

    def _ask(self, session: str, question: str) -> str:
        message = {"sequenceId": 1, "type": "Text", "text": question}
        answer = self._agentforce(f"sessions/{session}/messages", {"message": message})
        return "\n".join(each["message"] for each in answer["messages"])

    def _agentforce(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._settings.AGENTFORCE_API_URL}/einstein/ai-agent/v1/{path}"
        headers = {"Authorization": f"Bearer {self._access_token()}"}
        return dict(_posted(url, headers=headers, json=body).json())

    def _access_token(self) -> str:
        """Fetched once; a measurement ends before it does."""
        with self._lock:
            if not self._token:
                fields = {
                    "grant_type": "client_credentials",
                    "client_id": self._settings.SALESFORCE_CONSUMER_KEY,
                    "client_secret": self._settings.SALESFORCE_CONSUMER_SECRET,
                }
                url = f"{self._settings.SALESFORCE_INSTANCE_URL}/services/oauth2/token"
                self._token = _posted(url, data=fields).json()["access_token"]
            return self._token

    def _send(self, to: str, **content: str) -> None:
        account = f"2010-04-01/Accounts/{self._settings.TWILIO_ACCOUNT_SID}"
        form = {"To": to, "From": self._settings.TWILIO_WHATSAPP_FROM, **content}
        url = f"{self._settings.TWILIO_API_URL}/{account}/Messages.json"
        _posted(url, data=form, auth=self._twilio_login())

    def _twilio_login(self) -> tuple[str, str]:
        return self._settings.TWILIO_ACCOUNT_SID, self._settings.TWILIO_AUTH_TOKEN


def _posted(url: str, **content: Any) -> requests.Response:
    """On a connection of its own, as ``requests`` does it by itself."""
    answer = requests.post(url, timeout=TIMEOUT, **content)
    answer.raise_for_status()
    return answer


def _wav(recording: bytes) -> bytes:
    """By way of files, as pydub does it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "note.ogg"), Path(folder, "note.wav")
        source.write_bytes(recording)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source)]
        subprocess.run([*command, "-ac", "1", "-ar", "16000", str(target)], check=True)
        return target.read_bytes()
