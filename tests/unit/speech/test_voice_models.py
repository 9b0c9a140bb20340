"""What each text-to-speech model is sent."""

from __future__ import annotations

import pytest

from speech.voice_models import find_voice_model


@pytest.mark.parametrize(
    ("model", "language", "code"),
    [
        ("eleven_flash_v2_5", "ar", "ar"),
        ("eleven_flash_v2_5", "hu", "hu"),
        ("eleven_turbo_v2_5", "de", "de"),
        ("eleven_flash_v2_5", "ur", None),
        ("eleven_flash_v2_5", "fa", None),
        ("eleven_flash_v2_5", "he", None),
        ("eleven_flash_v2_5", None, None),
        ("eleven_flash_v2", "en", None),
        ("eleven_turbo_v2", "en", None),
        ("eleven_multilingual_v2", "de", None),
        ("eleven_multilingual_v1", "de", None),
        ("eleven_monolingual_v1", "en", None),
        ("eleven_v3", "ur", "ur"),
        ("eleven_v3_conversational", "he", "he"),
        ("eleven_v4_turbo", "fa", "fa"),
        ("eleven_v3", "xx", None),
        ("a_model_to_come", "de", None),
    ],
)
def test_a_code_is_sent_only_to_models_that_speak_it(
    model: str, language: str | None, code: str | None
) -> None:
    assert find_voice_model(model).language_code(language) == code


@pytest.mark.parametrize(
    ("model", "takes_context", "reads_numbers"),
    [
        ("eleven_flash_v2_5", True, False),
        ("eleven_turbo_v2", True, False),
        ("eleven_multilingual_v2", True, True),
        ("eleven_v3", False, True),
        ("eleven_v4_turbo", False, True),
    ],
)
def test_what_else_a_model_takes(model: str, takes_context: bool, reads_numbers: bool) -> None:
    found = find_voice_model(model)
    assert (found.takes_context, found.reads_numbers) == (takes_context, reads_numbers)
