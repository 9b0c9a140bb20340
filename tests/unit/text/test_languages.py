"""Language codes of three providers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text.languages import _TWO_LETTERS, SPOKEN_BY_FLASH, two_letters


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
        ("fre", "fr"),
        ("fra", "fr"),
        ("fil", "fil"),
        ("xxx", None),
        ("", None),
        ("-", None),
        (None, None),
    ],
)
def test_codes_become_two_letters(code: str | None, expected: str | None) -> None:
    assert two_letters(code) == expected


def test_the_table_leads_to_codes_that_lead_to_themselves() -> None:
    for target in _TWO_LETTERS.values():
        assert two_letters(target) == target


def test_every_language_that_can_be_spoken_can_be_heard() -> None:
    """Speech to text names languages by three letters; each spoken one is known by those."""
    assert set(_TWO_LETTERS.values()) >= SPOKEN_BY_FLASH


@given(st.text())
def test_any_code_is_judged(code: str) -> None:
    result = two_letters(code)
    assert result is None or 2 <= len(result) <= 3
