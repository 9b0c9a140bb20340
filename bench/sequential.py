"""A bot that calls the providers one after the other: the baseline of the benchmark.

It starts a thread for each message. The thread starts a session, downloads, converts and
transcribes the recording, asks the agent, sends the text, synthesizes all of it in one request and
sends the voice note. Messages are not stored, and signatures and limits are not checked.
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

# The same gunicorn as the bridge's, without the bridge's configuration file.
COMMAND = [sys.executable, "-m", "gunicorn", "--config", "/dev/null", "--worker-class", "gthread"]
COMMAND += ["--threads", "32", "--no-control-socket", "bench.sequential:create_app()"]

TIMEOUT_SECONDS = 130.0
# Pauses before each retry of a download.
DOWNLOAD_RETRY_SECONDS = (1.0, 2.0, 4.0)


def create_app() -> Flask:
    """The Flask application, which uses the settings of the bridge."""
    bot = SequentialBot(settings=load_settings())
    app = Flask(__name__)

    @app.get("/")
    def health() -> Response:
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


class SequentialBot:
    """Answers messages; ``notes`` are its synthesized voice notes by the name in their URL."""

    def __init__(self, *, settings: Settings) -> None:
        self.notes: dict[str, bytes] = {}
        self._settings = settings
        self._lock = threading.Lock()
        self._token = ""

    def answer(self, form: dict[str, str]) -> None:
        """Run one turn to its end."""
        is_voice = form["NumMedia"] == "1"
        session = self._start_session()
        question = self._transcribe(form["MediaUrl0"]) if is_voice else form["Body"]
        answer = self._ask(session, question)
        self._send(form["From"], Body=answer)
        if is_voice:
            name = uuid.uuid4().hex
            self.notes[name] = self._synthesize(answer)
            self._send(form["From"], MediaUrl=f"{self._settings.PUBLIC_URL}/audio/{name}.ogg")

    def _transcribe(self, url: str) -> str:
        fields = {"model_id": self._settings.ELEVENLABS_STT_MODEL, "tag_audio_events": "false"}
        answer = self._elevenlabs(
            "speech-to-text",
            data=fields,
            files={"file": ("note.wav", _convert_to_wav(self._download(url)))},
        )
        return str(answer.json()["text"])

    def _download(self, url: str) -> bytes:
        for seconds in (*DOWNLOAD_RETRY_SECONDS, None):
            answer = requests.get(url, auth=self._twilio_login(), timeout=TIMEOUT_SECONDS)
            if answer.ok or seconds is None:
                break
            time.sleep(seconds)
        answer.raise_for_status()
        return answer.content

    def _synthesize(self, text: str) -> bytes:
        path = f"text-to-speech/{self._settings.ELEVENLABS_VOICE_ID}?output_format=opus_48000_32"
        body = {"text": text, "model_id": self._settings.ELEVENLABS_TTS_MODEL}
        return self._elevenlabs(path, json=body).content

    def _elevenlabs(self, path: str, **content: Any) -> requests.Response:
        headers = {"xi-api-key": self._settings.ELEVENLABS_API_KEY}
        url = f"{self._settings.ELEVENLABS_API_URL}/v1/{path}"
        return _post(url, headers=headers, **content)

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
        return dict(_post(url, headers=headers, json=body).json())

    def _access_token(self) -> str:
        """Fetched only once, because a measurement is shorter than the token's lifetime."""
        with self._lock:
            if not self._token:
                fields = {
                    "grant_type": "client_credentials",
                    "client_id": self._settings.SALESFORCE_CONSUMER_KEY,
                    "client_secret": self._settings.SALESFORCE_CONSUMER_SECRET,
                }
                url = f"{self._settings.SALESFORCE_INSTANCE_URL}/services/oauth2/token"
                self._token = _post(url, data=fields).json()["access_token"]
            return self._token

    def _send(self, to: str, **content: str) -> None:
        account = f"2010-04-01/Accounts/{self._settings.TWILIO_ACCOUNT_SID}"
        form = {"To": to, "From": self._settings.TWILIO_WHATSAPP_FROM, **content}
        url = f"{self._settings.TWILIO_API_URL}/{account}/Messages.json"
        _post(url, data=form, auth=self._twilio_login())

    def _twilio_login(self) -> tuple[str, str]:
        return self._settings.TWILIO_ACCOUNT_SID, self._settings.TWILIO_AUTH_TOKEN


def _post(url: str, **content: Any) -> requests.Response:
    """Post on a new connection, as ``requests.post`` does."""
    answer = requests.post(url, timeout=TIMEOUT_SECONDS, **content)
    answer.raise_for_status()
    return answer


def _convert_to_wav(recording: bytes) -> bytes:
    """Convert by way of files, as pydub does."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "note.ogg"), Path(folder, "note.wav")
        source.write_bytes(recording)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source)]
        subprocess.run([*command, "-ac", "1", "-ar", "16000", str(target)], check=True)
        return target.read_bytes()
