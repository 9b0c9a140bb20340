"""What is refused before a thread is taken for it, and what the service decides."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

import forgeries
from forgeries import CLOSED, KEPT, LARGEST, LOG_SECONDS, MOST_FIELDS, Forgeries
from metrics import Metrics
from sandbox.twilio.webhook import sign
from signature import Signature

ACCOUNT, TOKEN, HOST = "AC" + "b" * 32, "test_auth_token", "https://bot.example.com"
FIELDS = {"MessageSid": "SM1", "From": "whatsapp:+1", "Body": "Zoë & co\n", "Empty": ""}
FORM = "application/x-www-form-urlencoded"
GOOD = sign(f"{HOST}/", FIELDS, TOKEN)
FORGED = sign(f"{HOST}/", FIELDS, "a guess")


def made(*, unsigned: bool = False) -> Forgeries:
    signature = Signature(auth_token=TOKEN, account_sid=ACCOUNT, public_url=HOST)
    return Forgeries(signature=signature, metrics=Metrics(), unsigned=unsigned)


def request(
    signature: str | None = FORGED,
    *,
    line: str = "POST / HTTP/1.1",
    body: bytes = urlencode(FIELDS).encode(),
    **headers: str,
) -> bytes:
    every = {"Host": "bot.example.com", "Content-Type": FORM, "Content-Length": str(len(body))}
    every |= {} if signature is None else {"X-Twilio-Signature": signature}
    every |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [line, *(f"{name}: {value}" for name, value in every.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.mark.parametrize(
    "forged",
    [
        request(),
        request(None),
        request(""),
        request("é"),
        request(GOOD, body=b"Body=other"),
        request(GOOD, body=b""),
        request(GOOD, body=b"\xff\xfe%ff&&=&="),
        request(GOOD, line="POST /status HTTP/1.1"),
        request(GOOD, line="POST /?x=1 HTTP/1.1"),
        request(GOOD, X_Twilio_Webhooks_Signature_Settings="algorithm=HMAC_SHA256"),
        request(GOOD, X_Twilio_Webhooks_Signature_Settings="algorithm=none"),
        request(Content_Type=f"{FORM.upper()} ; charset=UTF-8"),
        request(connection="keep-alive"),
    ],
)
def test_what_is_forged_is_refused_and_may_go_on(forged: bytes) -> None:
    assert made().refusal(forged) is KEPT


@pytest.mark.parametrize(
    "forged", [request(line="POST / HTTP/1.0"), request(Connection="Close, TE")]
)
def test_who_hangs_up_is_hung_up_on(forged: bytes) -> None:
    assert made().refusal(forged) is CLOSED


@pytest.mark.parametrize(
    "other",
    [
        request(GOOD),
        request(GOOD, X_Forwarded_For="203.0.113.9"),
        request(sign(HOST, FIELDS, TOKEN)),
        request(sign(f"{HOST}:443/", FIELDS, TOKEN)),
        request(
            sign(f"{HOST}/status?sending=a%20b", FIELDS, TOKEN),
            line="POST /status?sending=a%20b HTTP/1.1",
        ),
        request(line="GET / HTTP/1.1"),
        request(line="POST /media/ HTTP/1.1"),
        request(line="POST //status HTTP/1.1"),
        request(line="POST http://bot.example.com/ HTTP/1.1"),
        request(line="POST / HTTP/2.0"),
        request(line="post / HTTP/1.1"),
        request(Content_Type="application/json"),
        request(Content_Type="multipart/form-data"),
        request(Content_Length="1"),
        request(Transfer_Encoding="chunked"),
        request(Expect="100-continue"),
        request(content_length="1"),
        request(x_twilio_signature=GOOD),
        request(body=b"x" * (LARGEST + 1)),
        request(body=b"&" * MOST_FIELDS),
        request() + b"P",
        b"",
        b"\r\n\r\n",
    ],
)
def test_everything_else_is_left_to_the_service(other: bytes) -> None:
    assert made().refusal(other) is None


def test_a_message_without_a_signature_is_left_to_a_service_that_takes_such() -> None:
    assert made(unsigned=True).refusal(request(None)) is None
    assert made(unsigned=True).refusal(request()) is KEPT


TEXTS = st.text(max_size=20)


@given(st.dictionaries(TEXTS.filter(lambda text: text not in ("", "AccountSid")), TEXTS, max_size=6))
def test_what_twilio_signs_is_never_refused(fields: dict[str, str]) -> None:
    body = urlencode(fields).encode()
    assert made().refusal(request(sign(f"{HOST}/", dict(fields), TOKEN), body=body)) is None


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_break_it(line: bytes, body: bytes) -> None:
    made().refusal(line + request())
    made().refusal(request(body=body))
    made().refusal(b"POST / HTTP/1.1\r\n" + line + b"\r\n\r\n" + body)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(forgeries, "time", SimpleNamespace(monotonic=lambda: clock.now))
    yield clock


def test_a_flood_is_a_line_a_minute(clock: SimpleNamespace) -> None:
    gate = made()
    with capture_logs() as lines:
        for clock.now in (0.0, 1.0, 2.0, LOG_SECONDS, LOG_SECONDS + 1):
            gate.refusal(request())
    assert [(line["event"], line["times"]) for line in lines] == [
        ("Webhook refused", 1),
        ("Webhook refused", 3),
    ]
