"""What was said, to whom, and every secret stay out of logs, figures and answers.

The log of every other deployment is searched at its end as well; here failures are made on purpose.
"""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import requests

from storage.engine import FILE_NAME
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

pytestmark = pytest.mark.slow

QUESTION = "My daughter Layla Mansour lives at twelve Elm Street, what do we owe?"


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    settings = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json", "METRICS_TOKEN": "open-sesame"}
    with start_deployment(BREAKER_FAILURES="0", SPEECH_CACHE_BYTES="0", **settings) as deployment:
        yield deployment


@pytest.fixture
def deployment(shared_deployment: Deployment) -> Iterator[Deployment]:
    shared_deployment.begin()
    yield shared_deployment
    shared_deployment.check_leaks(shared_deployment.log())


@contextmanager
def broken(deployment: Deployment, table: str) -> Iterator[None]:
    """Hide a table of the service's database meanwhile."""
    database = deployment.bridge.state_dir / FILE_NAME
    for before, after in ((table, "elsewhere"), ("elsewhere", table)):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")
        if before == table:
            yield


def test_turns_of_each_kind_do_not_leak(deployment: Deployment) -> None:
    user, forms = deployment.user(), deployment.twilio.forms
    deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.twilio.wait_for_voice(user)
    deployment.twilio.say(user, QUESTION)
    for form in (forms.contact(user), forms.location(user), forms.document(user, name=QUESTION)):
        deployment.twilio.deliver(form)
    hidden = "whatsapp:US.13491208655302741918"
    deployment.twilio.say(hidden, "new conversation")
    deployment.answers(hidden, 1)
    deployment.answers(user, 6)


def agentforce(told: str) -> str:
    return json.dumps({"status": 400, "error": told, "message": told})


def salesforce(told: str) -> str:
    return json.dumps({"error": told, "error_description": told})


def twilio(told: str) -> str:
    return json.dumps({"code": 21211, "message": told, "more_info": told, "status": 400})


def elevenlabs(told: str) -> str:
    return json.dumps({"detail": {"type": told, "code": told, "status": told, "message": told}})


@pytest.mark.parametrize("status", [400, 404, 500])
@pytest.mark.parametrize(
    ("service", "call", "body"),
    [
        ("agentforce", "token", salesforce),
        ("agentforce", "session", agentforce),
        ("agentforce", "ask", agentforce),
        ("twilio", "send", twilio),
        ("twilio", "typing", twilio),
        ("twilio", "media", twilio),
        ("twilio", "media_cdn", twilio),
        ("elevenlabs", "transcribe", elevenlabs),
        ("elevenlabs", "speak", elevenlabs),
    ],
)
def test_errors_of_providers_that_quote_the_request_do_not_leak(
    deployment: Deployment, service: str, call: str, body: Callable[[str], str], status: int
) -> None:
    if call == "token":
        deployment.sandbox.agentforce.forget_tokens()
    user = deployment.user()
    quoted = f"{QUESTION} {user} {' '.join(deployment.bridge.settings.values())}"
    deployment.add_fault(service, call, "status", status=status, body=body(quoted))
    delivery = deployment.twilio.speak(user, deployment.note(QUESTION))
    wait_until(lambda: not deployment.sandbox.faults.active(), "the fault")
    wait_until(lambda: _idle(deployment), "the end of the turn")
    assert f'"turn": "{delivery.sid}"' in deployment.log()


def test_database_errors_do_not_leak(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    voice = deployment.twilio.wait_for_voice(user)
    assert voice.media_url
    with broken(deployment, "voice_notes"):
        answer = requests.get(voice.media_url, timeout=10)
    assert (answer.status_code, answer.text) == (500, "500 INTERNAL SERVER ERROR\n")
    with broken(deployment, "turns"):
        assert "Message" in deployment.twilio.say(user, QUESTION).body
    assert '"route": "/media/<token>' in deployment.log()
    assert "no such table: voice_notes" in deployment.log()
    assert "no such table: turns" in deployment.log()


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /media/{secret}.ogg HTTP/9",
        "BREW-{secret}",
        "GET / HTTP/1.1\r\n{secret}",
        "GET / HTTP/1.1\r\nX {secret}: 1",
        "POST / HTTP/1.1\r\nContent-Length: {secret}",
    ],
)
def test_malformed_requests_do_not_leak(deployment: Deployment, request_line: str) -> None:
    """The web server refuses these before the service sees them, and logs it."""
    secret = deployment.bridge.settings["TWILIO_AUTH_TOKEN"]
    with socket.create_connection(("127.0.0.1", deployment.bridge.port), timeout=10) as client:
        client.sendall(f"{request_line.format(secret=secret)}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: "Invalid request from ip" in deployment.log(), "the warning")


def _idle(deployment: Deployment) -> Any:
    report = requests.get(f"{deployment.bridge.url}/health", timeout=10).json()
    return not report["waiting"] and not report["running"]
