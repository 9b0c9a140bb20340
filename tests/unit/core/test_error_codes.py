"""Codes are taken from providers' error responses, and sentences are left out."""

from __future__ import annotations

import pytest

from core.error_codes import codes, codes_in

QUOTED = "My card is 4111 1111 1111 1111"


def test_values_that_are_codes_are_returned_once() -> None:
    values = (
        "invalid_api_key",
        QUOTED,
        None,
        7,
        "invalid_api_key",
        "a.b",
        "+14155550100",
        "x" * 61,
    )
    assert codes(*values) == ["invalid_api_key", "a.b"]


@pytest.mark.parametrize("code", ["only_for_creator+", "creator+_only", "pro+", "a+.b2+"])
def test_a_code_may_contain_the_name_of_a_plan_with_a_plus(code: str) -> None:
    assert codes(code) == [code]


@pytest.mark.parametrize("text", ["+", "a++", "+a", "a_+", "a+b", "1+1", "a+ b"])
def test_other_plus_signs_are_not_part_of_a_code(text: str) -> None:
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
        (f"ServerBusyError: {QUOTED}", ["ServerBusyError"]),
        (QUOTED, []),
        ("I made an Error", []),
        ("A_" * 40 + "B", []),
    ],
)
def test_only_names_of_errors_are_taken_from_a_sentence(text: str, names: list[str]) -> None:
    assert codes_in(text) == names
