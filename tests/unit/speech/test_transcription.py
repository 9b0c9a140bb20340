"""Which transcripts hold words, and which key terms a model takes."""

from __future__ import annotations

import pytest

from core.errors import SettingsError
from core.settings import load_settings
from sandbox import CREDENTIALS
from speech.transcription import has_speech


@pytest.mark.parametrize(
    "transcript",
    [
        "",
        " ",
        ".",
        "…",
        "♪",
        "♪ la la ♪",
        "*music*",
        "* sighs *",
        "(laughs)",
        "[Musik]",
        "[music] (laughter).",
        "（笑）",
        "【音楽】",
        "؟!",
        "👍",
    ],
)
def test_a_transcript_of_sounds_alone_holds_no_words(transcript: str) -> None:
    assert not has_speech(transcript)


@pytest.mark.parametrize(
    "transcript",
    ["yes", "5", "٥", "نعم", "(laughs) yes", "yes [music]", "2*3", "(unclosed", "是"],
)
def test_a_letter_or_a_digit_beside_sounds_is_speech(transcript: str) -> None:
    assert has_speech(transcript)


def settings_with(monkeypatch: pytest.MonkeyPatch, **given: str) -> tuple[str, ...]:
    complete = CREDENTIALS | {
        "PUBLIC_URL": "https://bot.example.com",
        "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
    }
    for name, value in (complete | given).items():
        monkeypatch.setenv(name, value)
    return load_settings().STT_KEYTERMS


@pytest.mark.parametrize(
    ("value", "terms"),
    [
        ("", ()),
        (" FiberPlus , Acme Router 5 ,", ("FiberPlus", "Acme Router 5")),
        ("x" * 49, ("x" * 49,)),
        ("one two three four five", ("one two three four five",)),
        (",".join(map(str, range(100))), tuple(map(str, range(100)))),
    ],
)
def test_key_terms_are_read(
    monkeypatch: pytest.MonkeyPatch, value: str, terms: tuple[str, ...]
) -> None:
    assert settings_with(monkeypatch, STT_KEYTERMS=value) == terms


@pytest.mark.parametrize(
    ("value", "model", "complaint"),
    [
        ("x" * 50, "scribe_v2", "49 characters at most"),
        ("one two three four five six", "scribe_v2", "5 words at most"),
        ("a{b}", "scribe_v2", "must not hold any of"),
        ("a\\b", "scribe_v2", "must not hold any of"),
        ("a\x07b", "scribe_v2", "control characters"),
        (",".join(map(str, range(101))), "scribe_v2", "100 terms at most"),
        ("FiberPlus", "scribe_v1", "needs scribe_v2"),
    ],
)
def test_key_terms_that_the_model_refuses_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, value: str, model: str, complaint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_with(monkeypatch, STT_KEYTERMS=value, ELEVENLABS_STT_MODEL=model)
    assert "STT_KEYTERMS" in str(caught.value)
    assert complaint in str(caught.value)
