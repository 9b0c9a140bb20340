"""The ElevenLabs stand-in, as its HTTP callers and the SDK meet it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import imageio_ffmpeg
import pytest
import requests
from elevenlabs.client import ElevenLabs

from sandbox.call_recorder import CallRecorder
from sandbox.elevenlabs import errors
from sandbox.elevenlabs.standin import ElevenLabsStandIn
from sandbox.faults import Fault, Faults
from sandbox.latency import INSTANT, LatencyProfile
from sandbox.speech import Transcript, tone
from sandbox.speech.codec import NOTES, Codec
from sandbox.speech.fixture import FixtureSpeech

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
QUESTION = "How do I register an electronic invoice?"
PCM = tone.sine(440, 1.0)
FORM = {"model_id": "scribe_v2", "tag_audio_events": "false"}
RAW = {**FORM, "file_format": "pcm_s16le_16"}
TEXT = "Open the billing page."
FLASH = {"text": TEXT, "model_id": "eleven_flash_v2_5", "language_code": "en"}
OPUS = {"output_format": "opus_48000_32"}


class Provider:
    """A running stand-in, with shortcuts for its calls."""

    def __init__(self, *, latency: LatencyProfile = INSTANT, **options: Any) -> None:
        self.recorder, self.faults, self.speech = CallRecorder(), Faults(), FixtureSpeech()
        self.speech.tones.add(440, Transcript(QUESTION))
        self.standin = ElevenLabsStandIn(
            recorder=self.recorder,
            faults=self.faults,
            latency=latency,
            api_key="key",
            voice_id="voice",
            speech=self.speech,
            ffmpeg=FFMPEG,
            **options,
        )
        self.standin.start()

    @property
    def rules(self) -> list[str]:
        return [violation.rule for violation in self.recorder.violations]

    def transcribe(
        self, audio: bytes = PCM, fields: dict[str, Any] | None = None, key: str = "key"
    ) -> requests.Response:
        return requests.post(
            f"{self.standin.url}/v1/speech-to-text",
            data=RAW if fields is None else fields,
            files={"file": audio},
            headers={"xi-api-key": key},
            timeout=10,
        )

    def speak(self, *, path: str = "voice/stream", query: Any = OPUS, **body: Any) -> Any:
        return requests.post(
            f"{self.standin.url}/v1/text-to-speech/{path}",
            params=query,
            json={**FLASH, **body},
            headers={"xi-api-key": "key"},
            stream=True,
            timeout=10,
        )

    def fail(self, call: str, **how: Any) -> None:
        self.faults.add(Fault("elevenlabs", call, **how))


Start = Callable[..., Provider]


@pytest.fixture
def provider_class() -> type[Provider]:
    return Provider


def refused(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["detail"]["status"]


def test_the_sdk_transcribes_pcm_without_a_violation(provider: Provider) -> None:
    """The SDK's request is accepted, with its ``null`` fields."""
    client = ElevenLabs(base_url=provider.standin.url, api_key="key")
    answer: Any = client.speech_to_text.convert(
        model_id="scribe_v2",
        file=PCM,
        file_format="pcm_s16le_16",
        tag_audio_events=False,
        timestamps_granularity="none",
        keyterms=["invoice", "billing"],
        request_options={"max_retries": 0},
    )
    assert (answer.text, answer.language_code, answer.words) == (QUESTION, "eng", [])
    assert provider.rules == []
    assert provider.standin.transcriptions[0].fields["keyterms"] == ["invoice", "billing"]
    assert "webhook_metadata" not in provider.standin.transcriptions[0].fields


def test_the_sdk_synthesizes_without_a_violation(provider: Provider) -> None:
    """A streamed answer is Ogg/Opus, and the synthesis is recorded."""
    client = ElevenLabs(base_url=provider.standin.url, api_key="key")
    chunks = client.text_to_speech.stream(
        "voice",
        text=TEXT,
        model_id="eleven_flash_v2_5",
        language_code="en",
        output_format="opus_48000_32",
        previous_text="Hello.",
    )
    audio = b"".join(chunks)
    synthesis = provider.standin.syntheses[0]
    assert audio.startswith(b"OggS") and b"OpusHead" in audio[:64]
    assert (synthesis.text, synthesis.previous_text, synthesis.characters) == (
        TEXT,
        "Hello.",
        len(TEXT),
    )
    assert provider.speech.transcribe(Codec(ffmpeg=FFMPEG).decode(audio)).text == TEXT
    assert provider.rules == []


@pytest.mark.parametrize("kind", NOTES)
def test_notes_in_a_container_are_decoded(provider: Provider, kind: str) -> None:
    """Without ``file_format`` any container is transcribed."""
    note = Codec(ffmpeg=FFMPEG).note(PCM, kind)
    assert provider.transcribe(note, FORM).json()["text"] == QUESTION


def test_parallel_notes_keep_their_transcripts(provider: Provider) -> None:
    """A transcript depends on the recording, not on the order of arrival."""
    tones = range(300, 380, 8)
    for frequency in tones:
        provider.speech.tones.add(frequency, Transcript(f"question {frequency}"))
    with ThreadPoolExecutor(len(tones)) as pool:
        answers = pool.map(
            lambda frequency: provider.transcribe(tone.sine(frequency, 1.0)).json(), tones
        )
        assert [each["text"] for each in answers] == [
            f"question {frequency}" for frequency in tones
        ]


def test_silence_is_an_event_unless_events_are_off(provider: Provider) -> None:
    """With ``tag_audio_events`` silence has a transcript."""
    fields = {"model_id": "scribe_v2", "file_format": "pcm_s16le_16"}
    tagged = provider.transcribe(tone.silence(1.0), fields).json()
    plain = provider.transcribe(tone.silence(1.0)).json()
    assert (tagged["text"], tagged["words"][0]["type"]) == ("(silence)", "audio_event")
    assert (plain["text"], plain["words"]) == ("", [])


def test_words_have_times_unless_they_are_switched_off(provider: Provider) -> None:
    """Words and spaces add up to the text; characters come on request."""
    answer = provider.transcribe(fields={**RAW, "timestamps_granularity": "character"}).json()
    assert "".join(word["text"] for word in answer["words"]) == answer["text"]
    assert answer["words"][0]["characters"][0]["text"] == "H"
    assert (
        provider.transcribe(fields={**RAW, "timestamps_granularity": "none"}).json()["words"] == []
    )


def test_languages_have_three_letters_or_two(provider: Provider) -> None:
    """``two_letter_language`` decides."""
    provider.speech.tones.add(500, Transcript("أين الطلب؟", "ara"))
    assert provider.transcribe(tone.sine(500, 1.0)).json()["language_code"] == "ara"
    provider.standin.two_letter_language = True
    assert provider.transcribe(tone.sine(500, 1.0)).json()["language_code"] == "ar"


def test_a_missing_model_id_is_refused_before_the_key_is_checked(provider: Provider) -> None:
    """The schema is checked first; the violation names the SDK's defect in retries."""
    answer = provider.transcribe(fields={"webhook_metadata": "null"}, key="wrong")
    missing = {"type": "missing", "loc": ["body", "model_id"], "msg": "Field required"}
    assert answer.status_code == 422
    assert answer.json() == {"detail": [{**missing, "input": None}]}
    assert "max_retries=0" in provider.rules[0]


def test_refused_calls_are_recorded_with_their_form(provider: Provider) -> None:
    provider.transcribe(fields={"model_id": "null"})
    assert provider.recorder.calls("elevenlabs", "transcribe")[0].detail["fields"] == {
        "model_id": ["null"]
    }


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, (401, "needs_authorization")),
        ({"xi-api-key": "wrong"}, (401, "invalid_api_key")),
        ({"Authorization": "Bearer key"}, (401, "invalid_authorization_header")),
    ],
)
def test_keys_are_checked(
    provider: Provider, headers: dict[str, str], refusal: tuple[int, str]
) -> None:
    """Each mistake has its own status, and no answer has a request id header."""
    url = f"{provider.standin.url}/v1/text-to-speech/voice"
    answer = requests.post(url, json=FLASH, headers=headers, timeout=10)
    assert refused(answer) == refusal
    assert answer.headers["x-trace-id"] == answer.json()["detail"]["request_id"]
    assert "request-id" not in answer.headers and provider.rules == []


@pytest.mark.parametrize(
    ("audio", "fields", "refusal"),
    [
        (bytes(3198), RAW, (400, "audio_too_short")),
        (b"<html>no audio</html>", FORM, (400, "invalid_audio")),
        (PCM, FORM, (400, "invalid_audio")),
    ],
    ids=["99 ms", "a web page", "undeclared PCM"],
)
def test_bad_audio_is_refused(
    provider: Provider, audio: bytes, fields: dict[str, str], refusal: tuple[int, str]
) -> None:
    """A bad recording is refused, but is no violation."""
    assert refused(provider.transcribe(audio, fields)) == refusal
    assert provider.rules == []


@pytest.mark.parametrize(
    ("audio", "fields", "breach"),
    [
        (PCM, {**RAW, "model_id": "scribe_v1"}, "scribe_v1 is withdrawn"),
        (PCM, {**RAW, "model_id": "whisper"}, "not a valid model_id"),
        (PCM, {**RAW, "tag_audio_events": "true"}, "tag_audio_events"),
        (PCM, {**RAW, "langauge_code": "en"}, "unknown field langauge_code"),
        (PCM, {**RAW, "language_code": "ar-SA"}, "neither ISO-639-1 nor -3"),
        (PCM, {**RAW, "keyterms": "x" * 50}, "keyterms"),
        (PCM, {**RAW, "source_url": "https://example.org/a"}, "Exactly one of"),
        (PCM, {**RAW, "diarize": "perhaps"}, "body.diarize"),
        (b"RIFF" + PCM, RAW, "has a container"),
        (b"OggS" + PCM, RAW, "has a container"),
        (PCM + b"\0", RAW, "odd number of bytes"),
    ],
)
def test_mistakes_in_transcription_requests_are_violations(
    provider: Provider, audio: bytes, fields: dict[str, str], breach: str
) -> None:
    """This includes requests that the service accepts but misunderstands."""
    provider.transcribe(audio, fields)
    assert len(provider.rules) == 1 and breach in provider.rules[0]


def test_a_chunked_upload_is_a_violation(provider: Provider) -> None:
    """The documented client sends a Content-Length."""
    request = httpx.Request("POST", "http://unused", data=RAW, files={"file": PCM})
    headers = {"xi-api-key": "key", "Content-Type": request.headers["Content-Type"]}
    url, body = f"{provider.standin.url}/v1/speech-to-text", request.read()
    requests.post(url, data=iter([body]), headers=headers, timeout=10)
    assert "chunked" in provider.rules[0]


@pytest.mark.parametrize(
    ("body", "breach"),
    [
        ({"text": "This is **bold**."}, "markup"),
        ({"text": "This is *bold*."}, "markup"),
        ({"text": "Steps:\n- Open it."}, "markup"),
        ({"text": "# Heading"}, "markup"),
        ({"text": "See [the page](there)."}, "markup"),
        ({"text": "<speak>Hello</speak>"}, "markup"),
        ({"text": "See https://example.org now."}, "a URL"),
        ({"text": "Done \U0001f44d"}, "an emoji"),
        ({"text": "Bell\x07"}, "a control character"),
        ({"text": "…"}, "nothing to say"),
        ({"text": "  "}, "must not be empty"),
        ({"text": None}, "body.text"),
        ({"text": "x" * 40_001}, "40001 characters"),
        ({"model_id": "eleven_multilingual_v2"}, "language_code"),
        ({"model_id": "eleven_v5"}, "does not exist"),
        ({"model_id": "eleven_v3", "previous_text": "Hello."}, "previous_text"),
        ({"language_code": "eng"}, "does not speak"),
        ({"text": "مرحبا"}, "Arabic text"),
        ({"previuos_text": "Hello."}, "unknown field"),
        ({"voice_settings": {"stability": 2}}, "voice_settings.stability"),
        ({"voice_settings": {"speed": 2}}, "speed"),
    ],
)
def test_mistakes_in_synthesis_requests_are_violations(
    provider: Provider, body: dict[str, Any], breach: str
) -> None:
    """The violations do not quote the text."""
    provider.speak(**body)
    assert len(provider.rules) == 1 and breach in provider.rules[0]


@pytest.mark.parametrize(
    "text",
    [
        "It costs 3.50, that is 5 % less: yes or no?",
        "1. Open the page.\nThen press send, at 21 °C.",
        "The file_name and 2 * 3 * 4 stay.",
        "مرحبا، كيف يمكنني مساعدتك اليوم؟",
    ],
)
def test_plain_text_is_no_violation(provider: Provider, text: str) -> None:
    """Numbers, several lines and Arabic are allowed."""
    assert provider.speak(text=text, language_code=None).status_code == 200
    assert provider.rules == []


def test_checks_come_in_the_order_of_the_service(start: Start) -> None:
    """Schema, key, plan, quota, voice, model, text: the first that fails answers."""
    provider = start(plan="free", credits=5)
    stream: dict[str, Any] = {"path": "nobody/stream", "model_id": "eleven_v5", "text": " " * 20}
    assert provider.speak(**{**stream, "text": 7}).status_code == 422
    assert refused(provider.speak(**stream)) == (403, "output_format_not_allowed")
    assert refused(provider.speak(**stream, query={})) == (401, "quota_exceeded")
    provider.standin.account.credits = None
    assert refused(provider.speak(**stream, query={})) == (404, "voice_not_found")
    stream["path"] = "voice"
    assert refused(provider.speak(**stream, query={})) == (400, "invalid_model_id")
    stream["model_id"] = "eleven_v3"
    assert refused(provider.speak(**stream, query={})) == (400, "empty_text")


def test_the_free_plan_has_mp3_but_no_opus(start: Start) -> None:
    """The error is no violation, because a client learns its plan by it."""
    provider = start(plan="free")
    assert refused(provider.speak()) == (403, "output_format_not_allowed")
    answer = provider.speak(query={"output_format": "mp3_44100_128"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "audio/mpeg")
    assert provider.rules == []


@pytest.mark.parametrize("output_format", ["wav_16000", "ogg_48000"])
def test_unknown_formats_are_refused(provider: Provider, output_format: str) -> None:
    """WAV cannot be streamed, and other names do not exist."""
    answer = provider.speak(query={"output_format": output_format})
    assert refused(answer) == (400, "invalid_output_format")


def test_synthesis_uses_up_credits(start: Start) -> None:
    """Flash costs half a credit per character; then both services answer quota_exceeded."""
    provider = start(credits=11)
    answer = provider.speak()
    assert answer.status_code == 200 and answer.headers["character-cost"] == "11"
    assert refused(provider.speak()) == (401, "quota_exceeded")
    assert refused(provider.transcribe()) == (401, "quota_exceeded")


def test_successes_carry_the_headers_of_the_service(provider: Provider) -> None:
    """Content type, request id and the concurrency figures; the whole file has a length."""
    answer = provider.speak(path="voice")
    assert answer.headers["Content-Type"] == "audio/opus"
    assert answer.headers["request-id"] and answer.headers["tts-latency-ms"]
    assert answer.headers["current-concurrent-requests"] == "1"
    assert answer.headers["maximum-concurrent-requests"] == "10"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert provider.speak().headers["Transfer-Encoding"] == "chunked"


def test_a_stream_occupies_its_slot_until_the_last_byte(start: Start) -> None:
    """Calls above the limit get 429 without Retry-After; the slot is free when the body is read."""
    provider = start(concurrency=1, latency=LatencyProfile(speak_per_character=0.05))
    first = provider.speak()
    second = provider.speak()
    assert refused(second) == (429, "too_many_concurrent_requests")
    assert "Retry-After" not in second.headers
    assert provider.transcribe().status_code == 200
    assert first.content.startswith(b"OggS")
    assert provider.speak().status_code == 200
    assert provider.rules == []


def test_a_queue_delays_calls_above_the_limit(start: Start) -> None:
    """With ``queue`` a call waits for a slot instead of being refused."""
    provider = start(concurrency=1, queue=5.0, latency=LatencyProfile(transcribe=0.2))
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: provider.transcribe().status_code, range(3)))
    assert answers == [200, 200, 200]


def test_a_disconnected_client_frees_its_slot(start: Start) -> None:
    """A stream that is closed half-way does not count any more."""
    provider = start(concurrency=1, queue=5.0, latency=LatencyProfile(speak_per_character=0.02))
    provider.speak(text="Once more: " + TEXT * 4).close()
    assert provider.speak(text="Yes.").status_code == 200


def test_a_stream_takes_the_latency_of_the_service(start: Start) -> None:
    """The first byte comes after the fixed latency, the last after that per character."""
    provider = start(latency=LatencyProfile(speak=0.1, speak_per_character=0.02))
    provider.speak().close()
    began = time.monotonic()
    chunks = provider.speak().iter_content(None)
    next(chunks)
    first = time.monotonic() - began
    list(chunks)
    total = time.monotonic() - began
    assert first >= 0.1
    assert total >= 0.1 + 0.02 * len(TEXT)
    assert total - first >= 0.01 * len(TEXT)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 422, 429, 500, 503])
def test_injected_errors_have_the_format_of_the_service(provider: Provider, status: int) -> None:
    """A fault needs only a status."""
    provider.fail("speak", status=status)
    answer = provider.speak()
    assert answer.status_code == status and answer.json()["detail"]
    assert provider.speak().status_code == 200


def test_any_error_can_be_injected(provider: Provider) -> None:
    """A fault can have the body of any error."""
    provider.fail("transcribe", status=401, body=errors.missing_permissions().body())
    assert refused(provider.transcribe()) == (401, "missing_permissions")


@pytest.mark.parametrize("kind", ["cut", "vanish", "reset"])
def test_broken_streams_free_their_slot(start: Start, kind: str) -> None:
    """After a broken answer the next call is served."""
    provider = start(concurrency=1)
    provider.fail("speak", kind=kind)
    with pytest.raises(requests.RequestException):
        _ = provider.speak().content
    assert provider.speak().content.startswith(b"OggS")


def test_models_are_listed_with_their_limits(provider: Provider) -> None:
    """The SDK reads the list; without a key there is no workspace."""
    client = ElevenLabs(base_url=provider.standin.url, api_key="key")
    limits = {each.model_id: each.maximum_text_length_per_request for each in client.models.list()}
    assert limits["eleven_flash_v2_5"] == 40_000
    answer = requests.get(f"{provider.standin.url}/v1/models", timeout=10)
    assert refused(answer) == (404, "workspace_not_found")
