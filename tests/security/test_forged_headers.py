"""Headers, addresses and preambles by which a stranger passes for a router in front of us.

On Heroku ``FORWARDED_ALLOW_IPS=*`` is in the environment: gunicorn then trusts everybody.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.twilio.webhook import sign
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.security.raw import answer, form_request, request, status

HOST = ("Host", "bot.example.com")


@pytest.fixture(scope="module")
def started(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(
        FORWARDED_ALLOW_IPS="*", UNSIGNED_LOCAL_WEBHOOKS="false", METRICS_TOKEN="open-sesame"
    ) as deployment:
        yield deployment


@pytest.fixture
def heroku(started: Deployment) -> Iterator[Deployment]:
    started.begin()
    yield started
    started.check()


def signed(deployment: Deployment, target: str, form: dict[str, str]) -> tuple[str, str]:
    """The signature header of a form that Twilio posts to ``target``."""
    token = deployment.bridge.settings["TWILIO_AUTH_TOKEN"]
    return "X-Twilio-Signature", sign(f"{deployment.bridge.url}{target}", form, token)


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/nothing/health", ("SCRIPT_NAME", "/nothing")),
        ("/nothing/health", ("Script_Name", "/nothing")),
        ("/nothing", ("SCRIPT_NAME", "/nothing")),
        ("/nothing", ("PATH_INFO", "/health")),
        ("/nothing", ("X-Forwarded-Prefix", "/nothing")),
        ("/nothing", ("X-Original-URL", "/health")),
        ("/nothing", ("X-Rewrite-URL", "/health")),
        ("/nothing", ("RAW_URI", "/health")),
        ("/nothing", ("REQUEST_URI", "/health")),
    ],
)
def test_no_header_changes_what_is_asked_for(
    heroku: Deployment, path: str, header: tuple[str, str]
) -> None:
    assert status(heroku.bridge.port, request(f"GET {path} HTTP/1.1", [HOST, header])) == 404


@pytest.mark.parametrize(
    "header",
    [
        ("SCRIPT_NAME", "/elsewhere"),
        ("SCRIPT_NAME", "/health"),
        ("PATH_INFO", "/nothing"),
        ("REQUEST_METHOD", "DELETE"),
        ("CONTENT_LENGTH", "100"),
        ("TRANSFER_ENCODING", "chunked"),
        ("X-Forwarded-Ssl", "off"),
        ("X-Forwarded-Protocol", "none"),
        ("X-Forwarded-Host", "evil.example.com"),
        ("Forwarded", "for=127.0.0.1;host=evil.example.com;proto=http"),
    ],
)
def test_no_header_spoils_a_good_request(heroku: Deployment, header: tuple[str, str]) -> None:
    """``X-Forwarded-Proto`` is the router's own; what contradicts it came from the client."""
    headers = [HOST, ("X-Forwarded-Proto", "https"), header]
    assert status(heroku.bridge.port, request("GET /health HTTP/1.1", headers)) == 200


@pytest.mark.parametrize(
    "prefix", ["/status", "/%73tatus"], ids=["as it is routed", "percent signs"]
)
def test_a_signed_callback_is_not_taken_for_a_message(heroku: Deployment, prefix: str) -> None:
    """The signature is of the address that was posted to, not of what a header makes of it."""
    form = dict(heroku.twilio.forms.text(heroku.user(), "hello"))
    headers = [HOST, signed(heroku, prefix, form), ("SCRIPT_NAME", prefix)]
    before = heroku_messages(heroku)
    assert status(heroku.bridge.port, form_request(prefix, headers, form)) in (204, 400)
    assert heroku_messages(heroku) == before


def heroku_messages(deployment: Deployment) -> int:
    """How many messages were taken so far."""
    token = {"Authorization": "Bearer open-sesame"}
    sent = request("GET /metrics HTTP/1.1", [HOST, *token.items()])
    page = answer(deployment.bridge.port, sent)
    return int(page.partition(b'"messages_received": ')[2].split(b",")[0])


@pytest.mark.parametrize("name", ["X_Twilio_Signature", "X-Twilio_Signature", "x_twilio_signature"])
def test_a_signature_counts_under_its_own_name_only(heroku: Deployment, name: str) -> None:
    form = dict(heroku.twilio.forms.text(heroku.user(), "hello"))
    _, signature = signed(heroku, "/", form)
    assert status(heroku.bridge.port, form_request("/", [HOST, (name, signature)], form)) == 403


@pytest.mark.parametrize("name", ["REMOTE_ADDR", "X-Real-IP", "X-Forwarded-For", "X_Forwarded_For"])
def test_nobody_gets_in_by_naming_this_machine(heroku: Deployment, name: str) -> None:
    form = dict(heroku.twilio.forms.text(heroku.user(), "hello"))
    headers = [HOST, (name, "127.0.0.1")]
    assert status(heroku.bridge.port, form_request("/", headers, form)) == 403
    sent = request("GET /metrics HTTP/1.1", [HOST, (name, "127.0.0.1")])
    assert status(heroku.bridge.port, sent) == 401


@pytest.mark.parametrize(
    "target",
    ["http://evil.example.com/", "https://bot.example.com/", "//", "//evil.example.com/", "/./"],
)
def test_a_webhook_in_another_form_of_address_is_refused(heroku: Deployment, target: str) -> None:
    """Also where the signature is the right one of ``/``."""
    form = dict(heroku.twilio.forms.text(heroku.user(), "hello"))
    headers = [HOST, signed(heroku, "/", form)]
    assert status(heroku.bridge.port, form_request(target, headers, form)) in (403, 404)


@pytest.mark.parametrize("path", ["//health", "//evil.example.com/health", "/./health", "/health/"])
def test_an_address_has_one_form(heroku: Deployment, path: str) -> None:
    assert status(heroku.bridge.port, request(f"GET {path} HTTP/1.1", [HOST])) == 404


@pytest.mark.parametrize(
    "header",
    [("Host", "evil.example.com"), ("X-Forwarded-Host", "evil.example.com")],
    ids=["Host", "X-Forwarded-Host"],
)
def test_redirects_lead_to_us_whatever_host_is_named(
    heroku: Deployment, header: tuple[str, str]
) -> None:
    headers = [("X-Forwarded-Proto", "http"), *([] if header[0] == "Host" else [HOST]), header]
    for target in ("/dashboard", "http://evil.example.com/dashboard", "/dashboard/"):
        page = answer(heroku.bridge.port, request(f"GET {target} HTTP/1.1", headers))
        assert b"evil" not in page


@pytest.mark.parametrize(
    "preamble",
    [
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x00\x02",
    ],
    ids=["version 1", "version 2"],
)
def test_nobody_is_a_proxy_by_saying_so(heroku: Deployment, preamble: bytes) -> None:
    sent = request("GET /health HTTP/1.1", [HOST], before=preamble)
    assert status(heroku.bridge.port, sent) in (0, 400)
