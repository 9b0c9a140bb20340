"""What looks for leaks finds them."""

from __future__ import annotations

import pytest

from sandbox import CREDENTIALS
from tests.leaks import Known, secrets_of, static_leaks

KNOWN = Known(
    secrets=["14155550100", "kept+secret/", ""],
    texts=[
        "Where do I find my tax code, please?\nI lost it",
        "yes",
        "invoices",
        "أين أجد الرمز الضريبي",
    ],
)


@pytest.mark.parametrize(
    "line",
    [
        "sender=14155550100",
        "path=/kept+secret/",
        "query=kept%2Bsecret/",
        "error='do i FIND my tax code'",
        "error='tax code, please?\\nI lost it'",
        "Turn failed: invoices",
        "failed: (أين أجد الرمز الضريبي)",
    ],
)
def test_what_is_known_is_found(line: str) -> None:
    assert len(KNOWN.leaks_in(f"first line\n{line}\nlast line, which says yes")) == 1


@pytest.mark.parametrize("line", ["yes", "Where do I find the log?", "my tax code", "1415555010"])
def test_ordinary_words_are_not(line: str) -> None:
    assert KNOWN.leaks_in(line) == []


@pytest.mark.parametrize(
    "line",
    [
        "From=whatsapp:+4915550000001",
        "to whatsapp: 4915550000001",
        "call +4915550000001 now",
        "Authorization: Bearer abc",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0",
        "GET /media/0123456789abcdef0123456789abcdef.ogg",
        "POST /status?sending=1a2b",
        "https://cdn.example.com/x?Expires=1&Signature=abc",
        "postgresql://bridge:password@db.example.com/bridge",
        *sorted(secrets_of(CREDENTIALS) - {""}),
    ],
)
def test_what_nobody_may_see_is_found_whoever_said_it(line: str) -> None:
    assert len(static_leaks(f"[info     ] {line} turn=SM1")) == 1
