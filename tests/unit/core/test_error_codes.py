"""What is kept of providers' error answers."""

from __future__ import annotations

import pytest

from core.error_codes import codes, codes_in

SAID = "My card is 4111 1111 1111 1111"


def test_values_that_are_codes_are_kept_once() -> None:
    given = ("invalid_api_key", SAID, None, 7, "invalid_api_key", "a.b", "+14155550100", "x" * 61)
    assert codes(*given) == ["invalid_api_key", "a.b"]


@pytest.mark.parametrize("code", ["only_for_creator+", "creator+_only", "pro+", "a+.b2+"])
def test_codes_may_name_a_plan_and_those_above_it(code: str) -> None:
    assert codes(code) == [code]


@pytest.mark.parametrize("text", ["+", "a++", "+a", "a_+", "a+b", "1+1", "a+ b"])
def test_other_plusses_are_no_part_of_a_code(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("NotFoundException V6Session not found for sessionId: 1", ["NotFoundException"]),
        ("INTERNAL_SERVER_ERROR", ["INTERNAL_SERVER_ERROR"]),
        (
            '500 [{"message":"My card","errorCode":"UNKNOWN_EXCEPTION"}]',
            ["UNKNOWN_EXCEPTION"],
        ),
        (f"ServerBusyError: {SAID}", ["ServerBusyError"]),
        (SAID, []),
        ("I made an Error", []),
        ("A_" * 40 + "B", []),
    ],
)
def test_sentences_are_left_out(text: str, names: list[str]) -> None:
    assert codes_in(text) == names
