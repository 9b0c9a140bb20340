"""Signatures of requests, by known test vectors (docs/providers/twilio.md, "Signatures")."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import EnvironHeaders, Headers, MultiDict

from core.errors import ForgedRequest
from sandbox.twilio.webhook import sign
from whatsapp.signature import SETTINGS, SIGNATURE, Signature

ACCOUNT = "AC" + "b" * 32
TOKEN = "test_auth_token_0123456789abcdef"
HOST = "https://bot.example.com"
SM = "SM" + "a" * 32
FIELDS = {
    "SmsMessageSid": SM,
    "SmsSid": SM,
    "MessageSid": SM,
    "NumMedia": "0",
    "ProfileName": "Zoë 🚀",
    "MessageType": "text",
    "WaId": "14155550100",
    "SmsStatus": "received",
    "Body": "Hi & bye +1 ñ\nline2",
    "To": "whatsapp:+14155238886",
    "NumSegments": "1",
    "ReferralNumMedia": "0",
    "AccountSid": ACCOUNT,
    "ChannelMetadata": '{"type":"whatsapp","data":{"context":'
    '{"ProfileName":"Zoë 🚀","WaId":"14155550100"}}}',
    "From": "whatsapp:+14155550100",
    "ApiVersion": "2010-04-01",
}
GOOD = "Pq6lHv9TuYiEVh8xRtB6yeJeA4M="
SHA256 = "lYlmstw5uETFJrZGv4NbQw9TKBm6tnSYWBFmuig/dC8="
CALL = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
DOCUMENTED = CALL | {"Caller": "+14158675310", "From": "+14158675310"}


def check(
    fields: Mapping[str, str | list[str]] | MultiDict[str, str],
    signature: str | None,
    *,
    public_url: str = HOST,
    path: str = "/whatsapp",
    query: str = "",
    token: str = TOKEN,
    settings: str | None = None,
    shared_key: str = "",
) -> None:
    headers = Headers()
    if signature is not None:
        headers.set(SIGNATURE.lower(), signature)
    if settings is not None:
        headers.set(SETTINGS, settings)
    checker = Signature(
        auth_token=token, account_sid=ACCOUNT, public_url=public_url, shared_key=shared_key
    )
    form = fields if isinstance(fields, MultiDict) else MultiDict(fields)
    checker.check(path, query, list(form.items(multi=True)), headers)


@pytest.mark.parametrize(
    ("public_url", "fields", "signature"),
    [
        ("https://example.com", DOCUMENTED, "L/OH5YylLD5NRKLltdqwSvS0BnU="),
        ("https://mycompany.com", CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://mycompany.com:443", CALL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        ("https://mycompany.com", CALL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        ("https://mycompany.com:443", CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("http://mycompany.com:80", CALL, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        ("http://mycompany.com", CALL, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        ("http://mycompany.com:1234", CALL, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
    ],
)
def test_the_published_vectors(public_url: str, fields: dict[str, str], signature: str) -> None:
    """With and without a port, because Twilio may sign either address."""
    check(
        fields,
        signature,
        public_url=public_url,
        path="/myapp.php",
        query="foo=1&bar=2",
        token="12345",
    )


def test_a_repeated_field_is_refused_although_it_is_signed() -> None:
    """Programs differ in which of the two values they use."""
    fields: dict[str, str | list[str]] = {
        "Sid": "CA123",
        "SidAccount": "AC123",
        "Digits": ["1234", "5678"],
    }
    with pytest.raises(ForgedRequest, match="twice"):
        check(
            fields,
            "IK+Dwps556ElfBT0I3Rgjkr1wJU=",
            public_url="https://mycompany.com",
            path="/myapp.php",
            query="foo=1&bar=2",
            token="12345",
        )


@pytest.mark.parametrize(
    ("signature", "options"),
    [
        (GOOD, {}),
        ("6XABZ0Qy5a/EnJ70RdTZDNYkUXI=", {}),
        ("6XABZ0Qy5a/EnJ70RdTZDNYkUXI=", {"public_url": f"{HOST}:443"}),
        ("AiAxDrYsNzya32dJbU0y0mRG/rw=", {"query": "tenant=a%20b&x=1"}),
        (SHA256, {"settings": "key=k1,algorithm=HMAC_SHA256"}),
        (SHA256, {"settings": "key=k1, algorithm=hmac_sha256"}),
        (GOOD, {"settings": ""}),
        (GOOD, {"settings": "key=k1"}),
    ],
)
def test_a_whatsapp_message_in_utf_8(signature: str, options: dict[str, str]) -> None:
    check(FIELDS, signature, **options)


@pytest.mark.parametrize(
    ("signature", "options"),
    [
        (None, {}),
        ("", {}),
        ("x", {}),
        (GOOD[:-1], {}),
        (f"{GOOD} ", {}),
        (GOOD.lower(), {}),
        ("é" * 28, {}),
        (GOOD, {"token": "other"}),
        (GOOD, {"path": "/whatsapp/"}),
        (GOOD, {"path": "/"}),
        (GOOD, {"query": "x=1"}),
        (GOOD, {"public_url": "http://bot.example.com"}),
        (GOOD, {"public_url": "https://bot.example.org"}),
        (GOOD, {"settings": "algorithm=HMAC_SHA256"}),
        (GOOD, {"settings": "algorithm=none"}),
        (SHA256, {}),
        (SHA256, {"settings": "algorithm=MD5"}),
        ("AiAxDrYsNzya32dJbU0y0mRG/rw=", {"query": "tenant=a+b&x=1"}),
    ],
)
def test_every_other_signature_is_refused(signature: str | None, options: dict[str, str]) -> None:
    with pytest.raises(ForgedRequest):
        check(FIELDS, signature, **options)


@pytest.mark.parametrize(
    ("signature", "settings"),
    [
        (SHA256, "key=k1,algorithm=HMAC_SHA256"),
        (SHA256, "key=k1, algorithm=hmac_sha256"),
        (GOOD, "key=k1,algorithm=HMAC_SHA1"),
        (GOOD, "key=k1"),
    ],
)
def test_a_shared_key_signs_instead_of_the_token(signature: str, settings: str) -> None:
    check(FIELDS, signature, token="another", shared_key=TOKEN, settings=settings)
    with pytest.raises(ForgedRequest):
        check(FIELDS, signature, token=TOKEN, shared_key="another", settings=settings)


def test_signatures_by_the_token_are_accepted_beside_a_shared_key() -> None:
    """``make message`` signs so, and Twilio until the account signs with the key."""
    check(FIELDS, GOOD, shared_key="another")
    with pytest.raises(ForgedRequest):
        check(FIELDS, GOOD, token="another", shared_key=TOKEN)


@pytest.mark.parametrize(
    ("settings", "shared_key", "reason"),
    [
        ("key=k1,algorithm=HMAC_SHA256", "", "set TWILIO_SHARED_KEY to its secret"),
        ("key=k1,algorithm=HMAC_SHA1", "", "set TWILIO_SHARED_KEY to its secret"),
        ("key=k1,algorithm=HMAC_SHA256", "another", "is not TWILIO_SHARED_KEY"),
        ("key=k1,algorithm=HMAC_SHA512", "", "another algorithm"),
        ("key=k1,algorithm=HMAC_SHA512", "another", "another algorithm"),
        (None, "", "no valid signature"),
        (None, "another", "no valid signature"),
        ("", "another", "no valid signature"),
    ],
)
def test_the_refusal_says_what_to_do_about_a_shared_key(
    settings: str | None, shared_key: str, reason: str
) -> None:
    signature = sign(f"{HOST}/whatsapp", FIELDS, "the shared key", "sha256")
    with pytest.raises(ForgedRequest, match=reason):
        check(FIELDS, signature, settings=settings, shared_key=shared_key)


@pytest.mark.parametrize("name", FIELDS)
def test_a_changed_missing_or_added_field_is_refused(name: str) -> None:
    for changed in (
        FIELDS | {name: f"{FIELDS[name]} "},
        {key: value for key, value in FIELDS.items() if key != name},
        FIELDS | {f"{name}2": ""},
    ):
        with pytest.raises(ForgedRequest):
            check(changed, GOOD)


def test_empty_fields_and_blanks_around_texts_are_signed() -> None:
    fields = FIELDS | {"Body": "  padded \n", "ReferralBody": ""}
    signature = sign(f"{HOST}/whatsapp", fields, TOKEN)
    check(fields, signature)
    with pytest.raises(ForgedRequest):
        check({key: value for key, value in fields.items() if value}, signature)
    with pytest.raises(ForgedRequest):
        check(fields | {"Body": "padded"}, signature)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/caf%C3%A9", ""),
        ("/a%2Fb", ""),
        ("/whatsapp", "tenant=%2Facme%7B1%7D&name=%C3%A9"),
        ("/whatsapp", "a=1&a=2&b="),
        ("/whatsapp", "signature=%3D%26"),
    ],
)
def test_paths_and_queries_are_signed_as_they_were_sent(path: str, query: str) -> None:
    url = f"{HOST}{path}?{query}" if query else f"{HOST}{path}"
    check(FIELDS, sign(url, FIELDS, TOKEN), path=path, query=query)


@pytest.mark.parametrize("configured", [HOST, f"{HOST}/"])
def test_an_address_without_a_path_may_be_signed_with_or_without_its_slash(configured: str) -> None:
    check(FIELDS, sign(configured, FIELDS, TOKEN), path="/")


def test_an_address_with_a_query_is_signed_with_the_slash() -> None:
    with pytest.raises(ForgedRequest):
        check(FIELDS, sign(HOST, FIELDS, TOKEN), path="/", query="x=1")


def test_the_header_is_found_in_a_wsgi_environment() -> None:
    checker = Signature(auth_token=TOKEN, account_sid=ACCOUNT, public_url=HOST)
    headers = EnvironHeaders({"HTTP_X_TWILIO_SIGNATURE": GOOD})
    checker.check("/whatsapp", "", list(FIELDS.items()), headers)


def test_another_account_is_refused_although_the_signature_is_right() -> None:
    fields = FIELDS | {"AccountSid": "AC" + "c" * 32}
    with pytest.raises(ForgedRequest, match="another Twilio account"):
        check(fields, sign(f"{HOST}/whatsapp", fields, TOKEN))


def test_a_request_needs_no_account_if_its_signature_is_right() -> None:
    """People who test with curl leave it out."""
    fields = {"MessageSid": "test123"}
    check(fields, sign(f"{HOST}/whatsapp", fields, TOKEN))


@given(
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), max_size=5),
    st.text(max_size=44),
    st.text(max_size=30),
)
def test_random_requests_are_refused(fields: dict[str, str], signature: str, settings: str) -> None:
    """No other error than ``ForgedRequest`` is raised, whatever fields and headers hold."""
    checker = Signature(auth_token=TOKEN, account_sid=ACCOUNT, public_url=HOST)
    headers = EnvironHeaders(
        {
            "HTTP_X_TWILIO_SIGNATURE": signature,
            "HTTP_X_TWILIO_WEBHOOKS_SIGNATURE_SETTINGS": settings,
        }
    )
    with pytest.raises(ForgedRequest):
        checker.check("/", "", list(fields.items()), headers)
