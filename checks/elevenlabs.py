"""ElevenLabs: the key and what it may do, the voice, the models, and the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from audio.ffmpeg import Ffmpeg
from checks.report import Check, hint_for
from core.deadline import Deadline
from core.errors import BridgeError, NothingHeard, SpeechError
from core.models import CheckResult
from core.settings import WHERE, Settings
from http_clients.circuit_breakers import CircuitBreakers
from metrics import Metrics
from speech.account import ElevenLabsAccount
from speech.elevenlabs import Speech

KEY = Check("elevenlabs_key", "ElevenLabs key")
MODEL = Check("elevenlabs_model", "Speech model")
VOICE = Check("elevenlabs_voice", "Voice")
PLAN = Check("elevenlabs_plan", "ElevenLabs plan")
SPEAKING = Check("elevenlabs_speech", "Speaking")
OPUS = Check("elevenlabs_opus", "Ogg/Opus")
CONCURRENCY = Check("elevenlabs_concurrency", "Requests at once")
HEARING = Check("elevenlabs_transcription", "Transcribing")

STATUS_PAGE = "status.elevenlabs.io"
_KEYS = WHERE["ELEVENLABS_API_KEY"]
# By the codes of docs/providers/elevenlabs.md, "Errors and what they mean".
HINTS = {
    "invalid_api_key": f"look at ELEVENLABS_API_KEY: {_KEYS}",
    "missing_permissions": f"give the key Speech to Text and Text to Speech: {_KEYS} > Edit",
    "quota_exceeded": "the credits are used up: take a larger plan, or buy more",
    "insufficient_credits": "the credits are used up: take a larger plan, or buy more",
    "paid_plan_required": "voices of the library need a paid plan: choose another, or upgrade",
    "detected_unusual_activity": "the free plan is refused at shared addresses: upgrade",
    "voice_not_found": f"look at ELEVENLABS_VOICE_ID: {WHERE['ELEVENLABS_VOICE_ID']}",
    "voice_does_not_exist": f"look at ELEVENLABS_VOICE_ID: {WHERE['ELEVENLABS_VOICE_ID']}",
    "invalid_voice_id": f"look at ELEVENLABS_VOICE_ID: {WHERE['ELEVENLABS_VOICE_ID']}",
    "model_access_denied": "the plan does not include the model: choose another, or upgrade",
    "forbidden": f"the key may not be used from this address: {_KEYS} > Edit > allowed IPs",
    "concurrent_limit_exceeded": "other programs use up the plan's requests at once",
}
MODEL_ERRORS = ("unsupported_model", "invalid_model_id", "model_not_found")
MODEL_HINT = "look at {}: elevenlabs.io > Docs > Models"
# With fewer requests at once, the segments of one answer wait for each other.
MIN_CONCURRENCY = 5
# The part of the plan's credits below which it is time to buy more.
MIN_CREDITS = 0.05
# What is spoken, and heard again; it costs three credits or six.
WORD = "Hello."
TRY_SECONDS = 20.0


class ElevenLabs:
    """``spends_credits``: a word is spoken and transcribed, too."""

    def __init__(self, settings: Settings, *, spends_credits: bool) -> None:
        self._settings = settings
        self._seconds = TRY_SECONDS * settings.PROVIDER_TIMEOUT_FACTOR
        self._account = ElevenLabsAccount(settings)
        self._spends_credits = spends_credits

    def check(self) -> Iterator[CheckResult]:
        try:
            models = self._account.models()
        except SpeechError as error:
            if not _may_not_read(error):
                yield KEY.fail(error.reason, hint_for(error, HINTS, STATUS_PAGE))
                return
            models = []
        yield KEY.ok("known")
        yield self._check_model(models)
        yield self._read(VOICE, self._check_voice)
        yield self._read(PLAN, self._check_plan)
        if self._spends_credits:
            yield from self._speak_and_hear()
        else:
            yield from (each.skip("not tried here, for it costs credits") for each in TRIES)

    def _check_model(self, models: list[dict[str, Any]]) -> CheckResult:
        name, language = self._settings.ELEVENLABS_TTS_MODEL, self._settings.DEFAULT_LANGUAGE
        if not models:
            return MODEL.skip("the key may not read the list, which the service does not need")
        model = next((model for model in models if model.get("model_id") == name), None)
        if model is None or model.get("can_do_text_to_speech") is False:
            return MODEL.fail(f"there is no {name}", MODEL_HINT.format("ELEVENLABS_TTS_MODEL"))
        languages = [str(each.get("language_id")) for each in model.get("languages") or []]
        if not languages:
            return MODEL.ok(f"there is {name}")
        if language not in languages:
            return MODEL.warn(
                f"{name} does not speak {language}, your DEFAULT_LANGUAGE",
                MODEL_HINT.format("ELEVENLABS_TTS_MODEL"),
            )
        return MODEL.ok(f"{name} speaks {len(languages)} languages, {language} among them")

    def _check_voice(self) -> CheckResult:
        self._account.voice(self._settings.ELEVENLABS_VOICE_ID)
        return VOICE.ok("exists")

    def _check_plan(self) -> CheckResult:
        plan = self._account.subscription()
        limit, used = (int(plan.get(f"character_{each}") or 0) for each in ("limit", "count"))
        finding = f"{plan.get('tier')}, {max(limit - used, 0):,} of {limit:,} credits are left"
        if plan.get("tier") == "free":
            return PLAN.warn(finding, "take a paid plan: the free one has no commercial licence")
        if limit - used < limit * MIN_CREDITS:
            return PLAN.warn(finding, "buy more credits, or take a larger plan")
        return PLAN.ok(finding)

    def _read(self, check: Check, read: Callable[[], CheckResult]) -> CheckResult:
        try:
            return read()
        except SpeechError as error:
            if _may_not_read(error):
                return check.skip("the key may not read it, which the service does not need")
            return check.fail(error.reason, hint_for(error, HINTS, STATUS_PAGE))

    def _speak_and_hear(self) -> Iterator[CheckResult]:
        """Speak a word and transcribe that, as the service does."""
        settings, metrics = self._settings, Metrics()
        ffmpeg = Ffmpeg(path=settings.FFMPEG_PATH, max_seconds=settings.VOICE_NOTE_MAX_SECONDS)
        speech = Speech(
            settings=settings,
            ffmpeg=ffmpeg,
            metrics=metrics,
            breakers=CircuitBreakers(failures=0, seconds=1, metrics=metrics),
            connections=1,
        )
        sound = b""
        try:
            with Deadline(self._seconds).applied():
                sound = ffmpeg.decode(speech.synthesize(WORD, "en"))
        except BridgeError as error:
            yield SPEAKING.fail(str(error), self._hint(error, "ELEVENLABS_TTS_MODEL"))
            yield from (each.skip("it does not speak") for each in (OPUS, CONCURRENCY))
        else:
            yield SPEAKING.ok("spoke a word")
            yield _check_opus(speech)
            yield _check_concurrency(speech)
        yield self._hear(speech, sound)

    def _hear(self, speech: Speech, sound: bytes) -> CheckResult:
        """Transcribe the spoken word, or silence if there is none."""
        try:
            with Deadline(self._seconds).applied():
                speech.transcribe(sound or SILENCE)
        except NothingHeard:
            if sound:
                return HEARING.warn(
                    f"heard nothing in the spoken word “{WORD}”",
                    "see that ELEVENLABS_VOICE_ID speaks: elevenlabs.io > Voices",
                )
            return HEARING.ok("transcribed silence as silence")
        except BridgeError as error:
            return HEARING.fail(str(error), self._hint(error, "ELEVENLABS_STT_MODEL"))
        return HEARING.ok("transcribed it")

    def _hint(self, error: BridgeError, model: str) -> str:
        about_model = dict.fromkeys(MODEL_ERRORS, MODEL_HINT.format(model))
        return hint_for(error, HINTS | about_model, STATUS_PAGE)


TRIES = (SPEAKING, OPUS, CONCURRENCY, HEARING)
# A second of 16 kHz mono PCM, if there is nothing else to transcribe.
SILENCE = bytes(32_000)


def _may_not_read(error: SpeechError) -> bool:
    return "missing_permissions" in str(error)


def _check_opus(speech: Speech) -> CheckResult:
    if speech.has_opus:
        return OPUS.ok("the plan includes it")
    return OPUS.warn(
        "the plan does not include it, so voice notes are encoded here", "take a paid plan"
    )


def _check_concurrency(speech: Speech) -> CheckResult:
    allowed = speech.concurrency
    if allowed >= MIN_CONCURRENCY:
        return CONCURRENCY.ok(f"the plan allows {allowed}")
    return CONCURRENCY.warn(
        f"the plan allows {allowed}, so voice notes wait for each other", "take a larger plan"
    )
