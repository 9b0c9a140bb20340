"""A stand-in for ElevenLabs: speech to text and text to speech over HTTP."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from flask import Response, g, jsonify, request
from werkzeug.datastructures import FileStorage

from sandbox.call_recorder import CallRecorder
from sandbox.elevenlabs import errors
from sandbox.elevenlabs.account import TRANSCRIPTION_GROUP, Account
from sandbox.elevenlabs.audio import answered, release_after
from sandbox.elevenlabs.catalogue import (
    CONTENT_TYPES,
    STREAM_FORMATS,
    TRANSCRIPTION_MODELS,
    VOICE_MODELS,
    WHOLE_FORMATS,
    Plan,
    VoiceModel,
)
from sandbox.elevenlabs.requests import Speak, SpeakQuery, Transcribe, TranscribeQuery, validated
from sandbox.elevenlabs.transcript import transcript
from sandbox.faults import Faults
from sandbox.latency import LatencyProfile
from sandbox.speech import Heard, Speech
from sandbox.speech.codec import Codec, Undecodable
from sandbox.speech.tone import RATE
from sandbox.standin import StandIn

_CONTAINER_MARKS = (b"RIFF", b"OggS", b"ID3", b"fLaC", b"\x1aE\xdf\xa3", b"#!AMR")


@dataclass(frozen=True)
class Transcription:
    """An upload that was heard: its form (without ``null`` fields), its length, the result."""

    fields: dict[str, list[str]]
    seconds: float
    heard: Heard


@dataclass(frozen=True)
class Spoken:
    """A text that was accepted to be spoken; ``seconds`` is the length of the sound."""

    text: str
    model: str
    language_code: str | None
    output_format: str
    previous_text: str | None
    next_text: str | None
    seconds: float
    streamed: bool

    @property
    def characters(self) -> int:
        return len(self.text)


class ElevenLabsStandIn(StandIn):
    """ElevenLabs as docs/providers/elevenlabs.md has it; WebSockets and timestamps are left out.

    Tests read ``transcriptions`` and ``spoken``. They may set at any time: ``account.plan``,
    ``account.credits``, ``account.concurrency``, the ``voices`` that exist, and
    ``two_letter_language`` for the form of ``language_code`` in transcripts.
    """

    service = "elevenlabs"

    def __init__(
        self,
        *,
        recorder: CallRecorder,
        faults: Faults,
        latency: LatencyProfile,
        port: int = 0,
        api_key: str,
        voice_id: str,
        speech: Speech,
        ffmpeg: str,
        concurrency: int = 10,
        queue: float = 0.0,
        plan: Plan = "creator",
        credits: int | None = None,
        two_letter_language: bool = False,
    ) -> None:
        super().__init__(recorder=recorder, faults=faults, latency=latency, port=port)
        self.account = Account(
            api_key=api_key, plan=plan, credits=credits, concurrency=concurrency, queue=queue
        )
        self.voices = {voice_id}
        self.two_letter_language = two_letter_language
        self.transcriptions: list[Transcription] = []
        self.spoken: list[Spoken] = []
        self._speech = speech
        self._codec = Codec(ffmpeg=ffmpeg)
        self._route()

    def subject(self) -> str:
        """In a recording, what is heard."""
        file = request.files.get("file")
        if file is None:
            return super().subject()
        pcm = file.read()
        file.seek(0)
        return self._speech.hear(pcm).text

    def error(self, status: int) -> Response:
        return errors.by_status(status).response()

    def _route(self) -> None:
        post: dict[str, Any] = {"methods": ["POST"], "adds_latency": False}
        speech = "/v1/text-to-speech/<voice_id>"
        self.call("transcribe", "/v1/speech-to-text", **post)(self._transcribe)
        self.call("speak", speech, **post)(self._speak_whole)
        self.call("speak", f"{speech}/stream", **post)(self._speak_streaming)
        self.call("models", "/v1/models")(self._models)
        self.app.register_error_handler(errors.Refusal, self._refuse)

    def _refuse(self, refusal: errors.Refusal) -> Response:
        if refusal.breach is not None:
            self._note_breaches([refusal.breach])
        return refusal.response()

    def _note_breaches(self, rules: list[str]) -> None:
        for rule in rules:
            self.record_violation(g.call.name, rule)

    def _transcribe(self) -> Response:
        fields = _form()
        file = request.files.get("file")
        g.call.detail.update(fields=request.form.to_dict(flat=False), file=file and file.filename)
        self.recorder.notify()
        if request.headers.get("Transfer-Encoding") == "chunked":
            self._note_breaches(["the upload is chunked: it needs a Content-Length"])
        validated(TranscribeQuery, request.args.to_dict(), where="query")
        form = validated(Transcribe, _flat(fields))
        self._note_breaches(form.breaches())
        self.account.authenticate(request.headers)
        self.account.afford(0)
        if form.model_id not in TRANSCRIPTION_MODELS:
            raise errors.invalid(
                "unsupported_model",
                f"'{form.model_id}' is not a valid model_id. Only {TRANSCRIPTION_MODELS} are.",
                param="model_id",
                status="invalid_model_id",
            )
        form.check(0 if file is None else 1)
        with ExitStack() as stack:
            self.account.hold(stack, TRANSCRIPTION_GROUP)
            time.sleep(self.latency.transcribe)
            assert file is not None
            return self._heard(form, fields, file)

    def _heard(self, form: Transcribe, fields: dict[str, list[str]], file: FileStorage) -> Response:
        pcm = self._pcm(file.read(), form.file_format)
        seconds = len(pcm) / 2 / RATE
        if seconds < 0.1:
            raise errors.bad_audio("audio_too_short", "The audio is shorter than 100 ms.")
        heard = self._speech.hear(pcm)
        self.transcriptions.append(Transcription(fields, seconds, heard))
        self.recorder.notify()
        answer = jsonify(transcript(heard, form, seconds, two_letters=self.two_letter_language))
        answer.headers.update(self.account.headers(TRANSCRIPTION_GROUP))
        return answer

    def _pcm(self, audio: bytes, file_format: str) -> bytes:
        """16 kHz mono s16le; a wrong ``file_format`` is believed, as the service does."""
        if file_format == "pcm_s16le_16":
            if audio.startswith(_CONTAINER_MARKS):
                self._note_breaches(["the file has a container, but file_format says raw PCM"])
            if len(audio) % 2:
                self._note_breaches(["16-bit PCM of an odd number of bytes"])
            return audio
        try:
            return self._codec.decode(audio)
        except Undecodable:
            raise errors.bad_audio("invalid_audio", "The audio could not be decoded.") from None

    def _speak_whole(self, voice_id: str) -> Response:
        return self._speak(voice_id, streamed=False)

    def _speak_streaming(self, voice_id: str) -> Response:
        return self._speak(voice_id, streamed=True)

    def _speak(self, voice_id: str, *, streamed: bool) -> Response:
        arrived = time.monotonic()
        query = validated(SpeakQuery, request.args.to_dict(), where="query")
        body = validated(Speak, self._json())
        self.account.authenticate(request.headers)
        model = self._admitted(voice_id, query, body, streamed=streamed)
        with ExitStack() as stack:
            self.account.hold(stack, model.group)
            time.sleep(self.latency.speak)
            audio = self._say(body, model, query.output_format, streamed=streamed)
            drawn_out = self.latency.speak_per_character * len(body.text)
            answer = answered(audio, drawn_out, streamed=streamed)
            answer.content_type = CONTENT_TYPES[query.output_format.split("_")[0]]
            answer.headers.update(self.account.headers(model.group))
            answer.headers["history-item-id"] = uuid.uuid4().hex
            answer.headers["character-cost"] = str(model.credits(body.text))
            answer.headers["tts-latency-ms"] = str(round(1000 * (time.monotonic() - arrived)))
            if streamed:
                release_after(answer, stack.pop_all())
            return answer

    def _json(self) -> Any:
        if request.mimetype != "application/json":
            self._note_breaches(["the body is not declared as application/json"])
        body = request.get_json(force=True, silent=True)
        if body is None:
            found = {"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error"}
            raise errors.schema([{**found, "input": {}}], "the body is not JSON")
        g.call.detail.update(body=body, query=request.args.to_dict())
        self.recorder.notify()
        return body

    def _admitted(
        self, voice_id: str, query: SpeakQuery, body: Speak, *, streamed: bool
    ) -> VoiceModel:
        """The model, after plan, quota, voice and model were looked at, in this order."""
        if query.output_format not in (STREAM_FORMATS if streamed else WHOLE_FORMATS):
            raise errors.invalid(
                "invalid_output_format",
                f"Output format {query.output_format} does not exist here.",
                param="output_format",
            )
        self.account.allow(query.output_format)
        model_id = body.model_id or "eleven_multilingual_v2"
        model = VOICE_MODELS.get(model_id)
        self.account.afford(len(body.text) if model is None else model.credits(body.text))
        if voice_id not in self.voices:
            raise errors.voice_not_found(voice_id)
        if model is None:
            raise errors.invalid(
                "unsupported_model",
                f"A model with model ID {model_id} does not exist.",
                param="model_id",
                status="invalid_model_id",
            )
        body.check(model, query.optimize_streaming_latency is not None)
        if query.optimize_streaming_latency is not None:
            self._note_breaches(["optimize_streaming_latency is deprecated"])
        self._note_breaches(body.breaches(model))
        return model

    def _say(self, body: Speak, model: VoiceModel, output_format: str, *, streamed: bool) -> bytes:
        code = body.language_code if model.language_code == "enforced" else None
        sound = self._speech.say(body.text, code if code in model.languages else None)
        self.account.pay(model.credits(body.text))
        self.spoken.append(
            Spoken(
                text=body.text,
                model=model.model_id,
                language_code=body.language_code,
                output_format=output_format,
                previous_text=body.previous_text,
                next_text=body.next_text,
                seconds=sound.seconds,
                streamed=streamed,
            )
        )
        self.recorder.notify()
        return self._codec.encode(sound, output_format)

    def _models(self) -> Response:
        if "xi-api-key" not in request.headers:
            raise errors.workspace_not_found()
        self.account.authenticate(request.headers)
        return jsonify([model.listed() for model in VOICE_MODELS.values()])


def _form() -> dict[str, list[str]]:
    """The form without what is absent: the SDK writes that as the literal ``null``."""
    lists = {
        name: [value for value in values if value != "null"]
        for name, values in request.form.lists()
    }
    return {name: values for name, values in lists.items() if values}


def _flat(fields: dict[str, list[str]]) -> dict[str, Any]:
    return {name: values if name == "keyterms" else values[-1] for name, values in fields.items()}
