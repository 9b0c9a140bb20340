"""The addresses that the open internet can reach."""

from __future__ import annotations

import re

import pytest
import requests

from tests.e2e.deployment import Deployment


def test_get_says_that_the_service_is_alive(deployment: Deployment) -> None:
    answer = requests.get(deployment.bridge.url, timeout=10)
    assert (answer.status_code, answer.text) == (200, "OK")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_needs_no_token_and_is_not_cached(deployment: Deployment, method: str) -> None:
    answer = requests.request(method, f"{deployment.bridge.url}/health", timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"
    if method == "GET":
        report = answer.json()
        assert list(report) == [
            "healthy",
            "database",
            "workers",
            "waiting",
            "running",
            "oldest_waiting",
            "clouds_down",
            "check",
        ]
        assert (report["healthy"], report["database"], report["workers"]) == (True, True, 1)


def test_a_forged_signature_is_refused_before_anything_happens(deployment: Deployment) -> None:
    form = deployment.twilio.forms.text(deployment.user(), "hello")
    answer = requests.post(
        deployment.bridge.url, data=form, headers={"X-Twilio-Signature": "forged"}, timeout=10
    )
    assert answer.status_code == 403
    assert answer.content == b""
    assert not deployment.calls()


def test_a_forged_request_does_not_affect_others_on_its_connection(
    deployment: Deployment,
) -> None:
    user = deployment.user()
    form = deployment.twilio.forms.text(user, "hello")
    deployment.twilio.register_inbound(form)
    (good,) = deployment.signature(f"{deployment.bridge.url}/", form).values()
    ports = set()
    with requests.Session() as session:
        for signature, status in (("forged", 403), (good, 200), ("forged", 403), ("", 403)):
            headers = {"X-Twilio-Signature": signature}
            with session.post(
                deployment.bridge.url, data=form, headers=headers, timeout=10, stream=True
            ) as answer:
                assert answer.status_code == status
                assert answer.raw.connection
                ports.add(answer.raw.connection.sock.getsockname()[1])
                assert not answer.content or status == 200
    assert len(ports) == 1
    deployment.answers(user, 1)


def test_an_unsigned_request_from_elsewhere_is_refused(deployment: Deployment) -> None:
    """A router in front of the service adds X-Forwarded-For; then it came from outside."""
    answer = requests.post(
        deployment.bridge.url,
        data=deployment.twilio.forms.text(deployment.user(), "hello"),
        headers={"X-Forwarded-For": "203.0.113.9"},
        timeout=10,
    )
    assert answer.status_code == 403


def test_the_signature_covers_the_query(deployment: Deployment) -> None:
    """Percent signs stay as they came: Flask's own decoded address would not verify."""
    user = deployment.user()
    form = deployment.twilio.forms.text(user, "hello")
    address = f"{deployment.bridge.url}/?tenant=a%2Fb&name=%C3%A9"
    other, headers = address.replace("a%2Fb", "c"), deployment.signature(address, form)
    assert requests.post(other, data=form, headers=headers, timeout=10).status_code == 403
    assert deployment.twilio.deliver(form, url=address).status == 200
    deployment.answers(user, 1)


def test_another_account_is_refused(deployment: Deployment) -> None:
    form = {
        **deployment.twilio.forms.text(deployment.user(), "hello"),
        "AccountSid": f"AC{'0' * 32}",
    }
    assert deployment.twilio.deliver(form).status == 403
    deployment.sandbox.recorder.clear()


@pytest.mark.parametrize(
    "change", [{"MessageSid": ""}, {"MessageSid": "../etc"}, {"From": ""}, {"From": "x" * 300}]
)
def test_a_signed_request_that_is_no_message_is_a_clear_error(
    deployment: Deployment, change: dict[str, str]
) -> None:
    form = {**deployment.twilio.forms.text(deployment.user(), "hello"), **change}
    answer = requests.post(deployment.bridge.url, data=form, timeout=10)
    assert answer.status_code == 400


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, "200 OK"),
        ("GET", "/health", {}, "200 OK"),
        ("GET", "/metrics", {}, "200 OK"),
        ("GET", "/dashboard", {}, "200 OK"),
        ("POST", "/", FORM, "400 BAD REQUEST"),
        ("GET", "/nothing", {}, "404 NOT FOUND"),
        ("GET", "/media/", {}, "404 NOT FOUND"),
        ("GET", "/web/dashboard/dashboard.js", {}, "404 NOT FOUND"),
        ("GET", "/media//0.ogg", {}, "404 NOT FOUND"),
        ("DELETE", "/", {}, "405 METHOD NOT ALLOWED"),
        ("OPTIONS", "/", {}, "405 METHOD NOT ALLOWED"),
        ("POST", "/metrics", FORM, "405 METHOD NOT ALLOWED"),
        ("POST", "/", JSON, "415 UNSUPPORTED MEDIA TYPE"),
    ],
)
def test_every_response_has_security_headers_and_every_refusal_is_short(
    deployment: Deployment, method: str, path: str, headers: dict[str, str], status: str
) -> None:
    url = deployment.bridge.url + path
    answer = requests.request(
        method, url, headers=headers, data=b"{}", allow_redirects=False, timeout=10
    )
    assert f"{answer.status_code} {answer.reason}" == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in answer.headers
    assert not re.search(r"\d", answer.headers["Server"])
    if answer.status_code > 400:
        assert answer.text == f"{status}\n"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    if answer.status_code == 405:
        assert answer.headers["Allow"]


def test_the_dashboard_loads_nothing_from_elsewhere_and_runs_only_its_script(
    deployment: Deployment,
) -> None:
    user = deployment.user()
    deployment.ask("hello", user)
    answer = requests.get(f"{deployment.bridge.url}/dashboard", timeout=10)
    policy = answer.headers["Content-Security-Policy"]
    (nonce,) = set(re.findall(r"'nonce-([\w-]+)'", policy))
    assert set(re.findall(r'nonce="(.*?)"', answer.text)) == {nonce}
    assert "unsafe" not in policy
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", answer.text)
    assert not re.findall(r"\bon\w+=|\bstyle=", answer.text.partition("<script")[0])
    again = requests.get(f"{deployment.bridge.url}/dashboard", timeout=10)
    assert nonce not in again.headers["Content-Security-Policy"]
    assert user.removeprefix("whatsapp:+") not in answer.text


def test_credentials_are_sent_to_twilio_only(deployment: Deployment) -> None:
    """A MediaUrl0 that points elsewhere is not fetched at all."""
    user = deployment.user()
    form = dict(deployment.twilio.forms.voice(user, b"OggS"))
    form["MediaUrl0"] = f"{deployment.sandbox.elevenlabs.url}/steal"
    deployment.twilio.deliver(form)
    assert deployment.answers(user, 1)[0].body.startswith("Sorry, I couldn't fetch")
    assert not deployment.calls("elevenlabs")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_voice_note_is_404(deployment: Deployment, method: str) -> None:
    answer = requests.request(method, f"{deployment.bridge.url}/media/{'0' * 32}.ogg", timeout=10)
    assert answer.status_code == 404


def test_a_voice_note_has_the_headers_that_twilio_wants(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Thanks"))
    voice = deployment.twilio.wait_for_voice(user)
    assert voice.media_url is not None
    assert voice.audio is not None
    head = requests.head(voice.media_url, timeout=10)
    assert head.headers["Content-Type"] == "audio/ogg"
    assert head.headers["Content-Length"] == str(len(voice.audio))
    assert head.headers["X-Content-Type-Options"] == "nosniff"
    assert head.headers["Content-Disposition"] == "inline; filename=answer.ogg"
    assert head.headers["Cache-Control"] == "private, no-store"
    assert "Set-Cookie" not in head.headers
    part = requests.get(voice.media_url, headers={"Range": "bytes=0-3"}, timeout=10)
    assert (part.status_code, part.content) == (206, b"OggS")
    beyond = {"Range": "bytes=99999999-"}
    assert requests.get(voice.media_url, headers=beyond, timeout=10).status_code == 416


def test_a_body_that_is_too_large_is_refused(deployment: Deployment) -> None:
    answer = requests.post(deployment.bridge.url, data={"Body": "x" * 300_000}, timeout=10)
    assert (answer.status_code, answer.text) == (413, "413 REQUEST ENTITY TOO LARGE\n")
