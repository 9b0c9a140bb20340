"""Language codes as the providers write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.voice_models import find_voice_model
from text.languages import two_letters

# As speech to text names the languages that the default voice speaks.
THREE_LETTERS = """
    ara arb arz ary apc ajp acm afb eng fra fre deu ger spa ita por nld dut pol rus tur jpn kor zho
    chi cmn hin ind fil tgl swe bul ron rum ces cze ell gre fin hrv msa may zsm slk slo dan tam ukr
    hun nor nob vie""".split()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ara", "ar"),
        ("arz", "ar"),
        ("ar", "ar"),
        ("ar-EG", "ar"),
        ("en_US", "en"),
        ("ENG", "en"),
        (" eng\n", "en"),
        ("zh-Hant-TW", "zh"),
        ("cmn", "zh"),
        ("yue", "zh"),
        ("fre", "fr"),
        ("fra", "fr"),
        ("fil", "fil"),
        ("tgl", "fil"),
        ("nb", "no"),
        ("iw", "he"),
        ("ben", "bn"),
        ("pus", "ps"),
        ("xxx", None),
        ("e", None),
        ("", None),
        ("-", None),
        (None, None),
    ],
)
def test_codes_become_two_letters(code: str | None, expected: str | None) -> None:
    assert two_letters(code) == expected


def test_every_language_that_can_be_spoken_can_be_heard() -> None:
    spoken = find_voice_model("eleven_flash_v2_5").languages
    assert {two_letters(code) for code in THREE_LETTERS} == spoken


@given(st.text())
def test_any_code_is_judged(code: str) -> None:
    result = two_letters(code)
    assert result is None or 2 <= len(result) <= 3
