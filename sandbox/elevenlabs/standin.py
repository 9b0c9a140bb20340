"""A stand-in for ElevenLabs' HTTP API: speech to text and text to speech."""

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
from sandbox.elevenlabs.audio import audio_response, close_after_body
from sandbox.elevenlabs.catalogue import (
    CONTENT_TYPES,
    STREAM_FORMATS,
    TRANSCRIPTION_MODELS,
    VOICE_MODELS,
    WHOLE_FORMATS,
    Plan,
    VoiceModel,
)
from sandbox.elevenlabs.requests import Speak, SpeakQuery, Transcribe, TranscribeQuery, validate
from sandbox.elevenlabs.transcript import transcript_json
from sandbox.faults import Faults
from sandbox.latency import LatencyProfile
from sandbox.speech import Speech, Transcript
from sandbox.speech.codec import Codec, Undecodable
from sandbox.speech.tone import RATE
from sandbox.standin import StandIn

# How files in a container begin; raw PCM has none.
_CONTAINER_SIGNATURES = (b"RIFF", b"OggS", b"ID3", b"fLaC", b"\x1aE\xdf\xa3", b"#!AMR")


@dataclass(frozen=True)
class Transcription:
    """A successful request: its form (without ``null`` fields), the audio's length, the result."""

    fields: dict[str, list[str]]
    seconds: float
    transcript: Transcript


@dataclass(frozen=True)
class Synthesis:
    """A text that was synthesized; ``seconds`` is the length of the audio."""

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
    """ElevenLabs as in docs/providers/elevenlabs.md, without WebSockets and timestamps.

    Tests read ``transcriptions`` and ``syntheses``. They may set at any time: ``account.plan``,
    ``account.credits``, ``account.concurrency``, ``account.permissions``, the ids of existing
    ``voices``, and whether ``language_code`` in transcripts has two letters
    (``two_letter_language``).
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
        self.syntheses: list[Synthesis] = []
        self._speech = speech
        self._codec = Codec(ffmpeg=ffmpeg)
        self._add_routes()

    def subject(self) -> str:
        """The words of a recording; for other requests, their text."""
        file = request.files.get("file")
        if file is None:
            return super().subject()
        pcm = file.read()
        file.seek(0)
        return self._speech.transcribe(pcm).text

    def error(self, status: int) -> Response:
        return errors.by_status(status).response()

    def _add_routes(self) -> None:
        post: dict[str, Any] = {"methods": ["POST"], "adds_latency": False}
        speech = "/v1/text-to-speech/<voice_id>"
        self.call("transcribe", "/v1/speech-to-text", **post)(self._transcribe)
        self.call("speak", speech, **post)(self._speak_whole)
        self.call("speak", f"{speech}/stream", **post)(self._speak_streaming)
        self.call("models", "/v1/models")(self._models)
        self.call("voice", "/v1/voices/<voice_id>")(self._show_voice)
        self.call("subscription", "/v1/user/subscription")(self._show_subscription)
        self.app.register_error_handler(errors.Refusal, self._refuse)

    def _refuse(self, refusal: errors.Refusal) -> Response:
        if refusal.breach is not None:
            self._record_breaches([refusal.breach])
        return refusal.response()

    def _record_breaches(self, rules: list[str]) -> None:
        for rule in rules:
            self.record_violation(g.call.name, rule)

    def _transcribe(self) -> Response:
        fields = _form()
        file = request.files.get("file")
        g.call.detail.update(fields=request.form.to_dict(flat=False), file=file and file.filename)
        self.recorder.notify()
        if request.headers.get("Transfer-Encoding") == "chunked":
            self._record_breaches(["the upload is chunked: it needs a Content-Length"])
        validate(TranscribeQuery, request.args.to_dict(), where="query")
        form = validate(Transcribe, _flat(fields))
        self._record_breaches(form.breaches())
        self.account.authenticate(request.headers, "speech_to_text")
        self.account.check_credits(0)
        if form.model_id not in TRANSCRIPTION_MODELS:
            raise errors.invalid(
                "unsupported_model",
                f"'{form.model_id}' is not a valid model_id. Only {TRANSCRIPTION_MODELS} are.",
                param="model_id",
                status="invalid_model_id",
            )
        form.check(0 if file is None else 1)
        with ExitStack() as stack:
            self.account.acquire_slot(stack, TRANSCRIPTION_GROUP)
            time.sleep(self.latency.transcribe)
            assert file is not None
            return self._transcript_response(form, fields, file)

    def _transcript_response(
        self, form: Transcribe, fields: dict[str, list[str]], file: FileStorage
    ) -> Response:
        pcm = self._decode(file.read(), form.file_format)
        seconds = len(pcm) / 2 / RATE
        if seconds < 0.1:
            raise errors.bad_audio("audio_too_short", "The audio is shorter than 100 ms.")
        transcript = self._speech.transcribe(pcm)
        self.transcriptions.append(Transcription(fields, seconds, transcript))
        self.recorder.notify()
        body = transcript_json(transcript, form, seconds, two_letters=self.two_letter_language)
        answer = jsonify(body)
        answer.headers.update(self.account.headers(TRANSCRIPTION_GROUP))
        return answer

    def _decode(self, audio: bytes, file_format: str) -> bytes:
        """Decode to 16 kHz mono s16le PCM; like the service, it trusts ``file_format``."""
        if file_format == "pcm_s16le_16":
            if audio.startswith(_CONTAINER_SIGNATURES):
                self._record_breaches(["the file has a container, but file_format says raw PCM"])
            if len(audio) % 2:
                self._record_breaches(["16-bit PCM of an odd number of bytes"])
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
        query = validate(SpeakQuery, request.args.to_dict(), where="query")
        body = validate(Speak, self._json())
        self.account.authenticate(request.headers, "text_to_speech")
        model = self._check_synthesis(voice_id, query, body, streamed=streamed)
        with ExitStack() as stack:
            self.account.acquire_slot(stack, model.group)
            time.sleep(self.latency.speak)
            audio = self._synthesize(body, model, query.output_format, streamed=streamed)
            seconds = self.latency.speak_per_character * len(body.text)
            answer = audio_response(audio, seconds, streamed=streamed)
            answer.content_type = CONTENT_TYPES[query.output_format.split("_")[0]]
            answer.headers.update(self.account.headers(model.group))
            answer.headers["history-item-id"] = uuid.uuid4().hex
            answer.headers["character-cost"] = str(model.credits(body.text))
            answer.headers["tts-latency-ms"] = str(round(1000 * (time.monotonic() - arrived)))
            if streamed:
                close_after_body(answer, stack.pop_all())
            return answer

    def _json(self) -> Any:
        if request.mimetype != "application/json":
            self._record_breaches(["the body is not declared as application/json"])
        body = request.get_json(force=True, silent=True)
        if body is None:
            detail = {"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error"}
            raise errors.schema([{**detail, "input": {}}], "the body is not JSON")
        g.call.detail.update(body=body, query=request.args.to_dict())
        self.recorder.notify()
        return body

    def _check_synthesis(
        self, voice_id: str, query: SpeakQuery, body: Speak, *, streamed: bool
    ) -> VoiceModel:
        """Check plan, credits, voice and model, in this order; returns the model."""
        if query.output_format not in (STREAM_FORMATS if streamed else WHOLE_FORMATS):
            raise errors.invalid(
                "invalid_output_format",
                f"Output format {query.output_format} does not exist here.",
                param="output_format",
            )
        self.account.check_output_format(query.output_format)
        model_id = body.model_id or "eleven_multilingual_v2"
        model = VOICE_MODELS.get(model_id)
        self.account.check_credits(len(body.text) if model is None else model.credits(body.text))
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
            self._record_breaches(["optimize_streaming_latency is deprecated"])
        self._record_breaches(body.breaches(model))
        return model

    def _synthesize(
        self, body: Speak, model: VoiceModel, output_format: str, *, streamed: bool
    ) -> bytes:
        code = body.language_code if model.language_code == "enforced" else None
        sound = self._speech.synthesize(body.text, code if code in model.languages else None)
        self.account.charge(model.credits(body.text))
        self.syntheses.append(
            Synthesis(
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
        self.account.authenticate(request.headers, "models_read")
        return jsonify([model.as_json() for model in VOICE_MODELS.values()])

    def _show_voice(self, voice_id: str) -> Response:
        self.account.authenticate(request.headers, "voices_read")
        if voice_id not in self.voices:
            raise errors.voice_does_not_exist(voice_id)
        return jsonify(voice_id=voice_id, name="Sandbox", category="premade", labels={})

    def _show_subscription(self) -> Response:
        self.account.authenticate(request.headers, "user_read")
        return jsonify(self.account.subscription())


def _form() -> dict[str, list[str]]:
    """The form without absent fields, which the SDK sends as the literal text ``null``."""
    lists = {
        name: [value for value in values if value != "null"]
        for name, values in request.form.lists()
    }
    return {name: values for name, values in lists.items() if values}


def _flat(fields: dict[str, list[str]]) -> dict[str, Any]:
    return {name: values if name == "keyterms" else values[-1] for name, values in fields.items()}
