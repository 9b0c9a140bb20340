"""Headers, addresses and preambles by which a stranger passes for a router in front of us.

On Heroku ``FORWARDED_ALLOW_IPS=*`` is in the environment: gunicorn then trusts everybody.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.security.raw import answer, form_request, request, status

HOST = ("Host", "bot.example.com")


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(
        FORWARDED_ALLOW_IPS="*", UNSIGNED_LOCAL_WEBHOOKS="false", METRICS_TOKEN="open-sesame"
    ) as deployment:
        yield deployment


def signature_header(deployment: Deployment, target: str, form: dict[str, str]) -> tuple[str, str]:
    """The signature header of a form that Twilio posts to ``target``."""
    ((name, value),) = deployment.signature(f"{deployment.bridge.url}{target}", form).items()
    return name, value


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
def test_no_header_changes_the_requested_path(
    deployment: Deployment, path: str, header: tuple[str, str]
) -> None:
    assert status(deployment.bridge.port, request(f"GET {path} HTTP/1.1", [HOST, header])) == 404


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
def test_no_header_spoils_a_good_request(deployment: Deployment, header: tuple[str, str]) -> None:
    """``X-Forwarded-Proto`` is the router's; headers that contradict it came from the client."""
    headers = [HOST, ("X-Forwarded-Proto", "https"), header]
    assert status(deployment.bridge.port, request("GET /health HTTP/1.1", headers)) == 200


@pytest.mark.parametrize(
    "prefix", ["/status", "/%73tatus"], ids=["as it is routed", "percent signs"]
)
def test_a_signed_callback_is_not_taken_for_a_message(deployment: Deployment, prefix: str) -> None:
    """The signature covers the address that was posted to, not the one that a header names."""
    form = dict(deployment.twilio.forms.text(deployment.user(), "hello"))
    headers = [HOST, signature_header(deployment, prefix, form), ("SCRIPT_NAME", prefix)]
    before = count_messages_received(deployment)
    assert status(deployment.bridge.port, form_request(prefix, headers, form)) in (204, 400)
    assert count_messages_received(deployment) == before


def count_messages_received(deployment: Deployment) -> int:
    """The number of messages that were accepted so far."""
    token = {"Authorization": "Bearer open-sesame"}
    sent = request("GET /metrics HTTP/1.1", [HOST, *token.items()])
    page = answer(deployment.bridge.port, sent)
    return int(page.partition(b'"messages_received": ')[2].split(b",")[0])


@pytest.mark.parametrize("name", ["X_Twilio_Signature", "X-Twilio_Signature", "x_twilio_signature"])
def test_a_signature_counts_only_under_its_own_header_name(
    deployment: Deployment, name: str
) -> None:
    form = dict(deployment.twilio.forms.text(deployment.user(), "hello"))
    _, signature = signature_header(deployment, "/", form)
    assert status(deployment.bridge.port, form_request("/", [HOST, (name, signature)], form)) == 403


@pytest.mark.parametrize("name", ["REMOTE_ADDR", "X-Real-IP", "X-Forwarded-For", "X_Forwarded_For"])
def test_claiming_to_be_this_machine_opens_nothing(deployment: Deployment, name: str) -> None:
    form = dict(deployment.twilio.forms.text(deployment.user(), "hello"))
    headers = [HOST, (name, "127.0.0.1")]
    assert status(deployment.bridge.port, form_request("/", headers, form)) == 403
    sent = request("GET /metrics HTTP/1.1", [HOST, (name, "127.0.0.1")])
    assert status(deployment.bridge.port, sent) == 401


@pytest.mark.parametrize(
    "target",
    ["http://evil.example.com/", "https://bot.example.com/", "//", "//evil.example.com/", "/./"],
)
def test_a_webhook_in_another_form_of_address_is_refused(
    deployment: Deployment, target: str
) -> None:
    """Even with a signature that is valid for ``/``."""
    form = dict(deployment.twilio.forms.text(deployment.user(), "hello"))
    headers = [HOST, signature_header(deployment, "/", form)]
    assert status(deployment.bridge.port, form_request(target, headers, form)) in (403, 404)


@pytest.mark.parametrize("path", ["//health", "//evil.example.com/health", "/./health", "/health/"])
def test_other_spellings_of_a_path_are_404(deployment: Deployment, path: str) -> None:
    assert status(deployment.bridge.port, request(f"GET {path} HTTP/1.1", [HOST])) == 404


@pytest.mark.parametrize(
    "header",
    [("Host", "evil.example.com"), ("X-Forwarded-Host", "evil.example.com")],
    ids=["Host", "X-Forwarded-Host"],
)
def test_responses_never_name_a_forged_host(
    deployment: Deployment, header: tuple[str, str]
) -> None:
    headers = [("X-Forwarded-Proto", "http"), *([] if header[0] == "Host" else [HOST]), header]
    for target in ("/dashboard", "http://evil.example.com/dashboard", "/dashboard/"):
        page = answer(deployment.bridge.port, request(f"GET {target} HTTP/1.1", headers))
        assert b"evil" not in page


@pytest.mark.parametrize(
    "preamble",
    [
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x00\x02",
    ],
    ids=["version 1", "version 2"],
)
def test_a_proxy_protocol_preamble_is_refused(deployment: Deployment, preamble: bytes) -> None:
    sent = request("GET /health HTTP/1.1", [HOST], before=preamble)
    assert status(deployment.bridge.port, sent) in (0, 400)
