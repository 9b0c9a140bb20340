"""What was said, to whom, and every secret stay out of logs, figures and answers.

Every other world is looked through at its end as well; here all goes wrong on purpose.
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

from sandbox.faults import Fault
from storage.engine import FILE_NAME
from tests.e2e.conftest import StartWorld
from tests.e2e.world import World
from tests.sandbox.waiting import wait_until

pytestmark = pytest.mark.slow

QUESTION = "My daughter Layla Mansour lives at twelve Elm Street, what do we owe?"


@pytest.fixture(scope="module")
def debugged_world(start_world: StartWorld) -> Iterator[World]:
    settings = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json", "METRICS_TOKEN": "open-sesame"}
    with start_world(BREAKER_FAILURES="0", SPEECH_CACHE_BYTES="0", **settings) as world:
        yield world


@pytest.fixture
def world(debugged_world: World) -> Iterator[World]:
    debugged_world.begin()
    yield debugged_world
    debugged_world.check_leaks(debugged_world.log())


@contextmanager
def broken(world: World, table: str) -> Iterator[None]:
    """The bridge's database without that table."""
    database = world.bridge.state_dir / FILE_NAME
    for before, after in ((table, "elsewhere"), ("elsewhere", table)):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")
        if before == table:
            yield


def test_turns_of_each_kind(world: World) -> None:
    user, forms = world.user(), world.twilio.forms
    world.twilio.speak(user, world.note(QUESTION))
    world.twilio.wait_for_voice(user)
    world.twilio.say(user, QUESTION)
    for form in (forms.contact(user), forms.location(user), forms.document(user, name=QUESTION)):
        world.twilio.deliver(form)
    hidden = "whatsapp:US.13491208655302741918"
    world.twilio.say(hidden, "new conversation")
    world.answers(hidden, 1)
    world.answers(user, 6)


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
def test_errors_of_clouds_that_repeat_what_they_were_told(
    world: World, service: str, call: str, body: Callable[[str], str], status: int
) -> None:
    if call == "token":
        world.sandbox.agentforce.forget_tokens()
    user = world.user()
    told = f"{QUESTION} {user} {' '.join(world.bridge.settings.values())}"
    fault = Fault(service, call, "status", status=status, body=body(told))
    world.sandbox.faults.add(fault)
    delivery = world.twilio.speak(user, world.note(QUESTION))
    wait_until(lambda: not world.sandbox.faults.listed(), "the fault")
    wait_until(lambda: _idle(world), "the end of the turn")
    assert f'"turn": "{delivery.sid}"' in world.log()


def test_a_database_that_fails(world: World) -> None:
    user = world.user()
    world.twilio.speak(user, world.note(QUESTION))
    voice = world.twilio.wait_for_voice(user)
    assert voice.media_url
    with broken(world, "voice_notes"):
        answer = requests.get(voice.media_url, timeout=10)
    assert (answer.status_code, answer.text) == (500, "500 INTERNAL SERVER ERROR\n")
    with broken(world, "turns"):
        assert "Message" in world.twilio.say(user, QUESTION).body
    assert '"route": "/media/<token>' in world.log()
    assert "no such table: voice_notes" in world.log()
    assert "no such table: turns" in world.log()


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
def test_requests_that_are_none(world: World, request_line: str) -> None:
    """The server refuses them before the service sees them, and logs that."""
    secret = world.bridge.settings["TWILIO_AUTH_TOKEN"]
    with socket.create_connection(("127.0.0.1", world.bridge.port), timeout=10) as client:
        client.sendall(f"{request_line.format(secret=secret)}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: "Invalid request from ip" in world.log(), "the warning")


def _idle(world: World) -> Any:
    report = requests.get(f"{world.bridge.url}/health", timeout=10).json()
    return not report["waiting"] and not report["running"]
