"""The whole sandbox, and its control server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from core.settings import load_settings
from sandbox import Sandbox
from sandbox.call_recorder import CallRecorder
from sandbox.faults import Fault
from tests.sandbox.bot import Bot

USER = "whatsapp:+14155550100"


@pytest.fixture
def bot(sandbox: Sandbox) -> Iterator[Bot]:
    bot = Bot(recorder=sandbox.recorder)
    bot.start()
    sandbox.connect(bot.url)
    yield bot
    bot.stop()


def ask(sandbox: Sandbox, method: str, path: str, **options: Any) -> requests.Response:
    return requests.request(method, f"{sandbox.control.url}{path}", timeout=5, **options)


def test_the_environment_has_the_addresses_of_the_stand_ins(sandbox: Sandbox) -> None:
    """The stand-ins answer at these addresses."""
    settings = sandbox.environment("https://bot.example.com")
    assert settings["PUBLIC_URL"] == "https://bot.example.com"
    assert settings["UNSIGNED_LOCAL_WEBHOOKS"] == "false"
    assert settings["TWILIO_MEDIA_HOSTS"] == f"localhost:{sandbox.twilio.cdn.port}"
    account = settings["TWILIO_ACCOUNT_SID"]
    answer = requests.get(
        f"{settings['TWILIO_API_URL']}/2010-04-01/Accounts/{account}/Messages.json",
        auth=(account, settings["TWILIO_AUTH_TOKEN"]),
        timeout=5,
    )
    assert (answer.status_code, answer.json()["messages"]) == (200, [])
    for name in ("SALESFORCE_INSTANCE_URL", "AGENTFORCE_API_URL", "ELEVENLABS_API_URL"):
        assert requests.get(settings[name], timeout=5).status_code == 404


def test_the_bridge_accepts_the_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge's settings accept all values."""
    for name, value in sandbox.environment("http://127.0.0.1:5000").items():
        monkeypatch.setenv(name, value)
    loaded = load_settings().model_dump()
    assert loaded["TWILIO_MESSAGING_URL"] == sandbox.twilio.url
    assert loaded["TWILIO_MEDIA_HOSTS"] == (sandbox.twilio.cdn.host,)


def test_the_overview_lists_addresses_and_calls(sandbox: Sandbox) -> None:
    """With the calls that can have faults."""
    overview = ask(sandbox, "GET", "/").json()
    assert overview["providers"]["agentforce"] == sandbox.agentforce.url
    assert {"send", "media", "media_cdn", "typing"} <= set(overview["calls"]["twilio"])
    assert {"token", "session", "ask", "end"} <= set(overview["calls"]["agentforce"])
    assert {"transcribe", "speak"} <= set(overview["calls"]["elevenlabs"])


def test_faults_are_set_and_cleared(sandbox: Sandbox) -> None:
    """A fault posted as JSON is listed until a DELETE."""
    fault = {"service": "agentforce", "call": "ask", "kind": "hang", "seconds": 3, "times": None}
    assert ask(sandbox, "POST", "/faults", json=fault).status_code == 201
    armed = sandbox.faults.active()
    assert armed == [Fault("agentforce", "ask", "hang", seconds=3, times=None)]
    assert ask(sandbox, "GET", "/faults").json()[0]["call"] == "ask"
    assert ask(sandbox, "DELETE", "/faults").status_code == 204
    assert sandbox.faults.active() == []


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"call": "send"}, "service: Field required."),
        ({"service": "twilio", "call": "sned"}, "There is no such call; there are"),
        ({"service": "twilio", "call": "send", "kind": "boom"}, "kind: Input should be 'status'"),
        ({"service": "twilio", "call": "send", "tiems": 1}, "There is no field tiems; a fault has"),
        ({"service": "twilio", "call": "send", "times": 0}, "times must be at least 1"),
        ({"service": "twilio", "call": "send", "seconds": -1}, "must not be negative"),
        ({"service": "twilio", "call": "send", "status": 99}, "status must be an HTTP status"),
        ({"service": "twilio", "call": "send", "kind": "twice"}, "send knows status, hang,"),
        ({"service": "twilio", "call": "voice"}, "voice knows undelivered only"),
        ([], "The body must be a JSON object."),
    ],
)
def test_wrong_faults_are_explained(sandbox: Sandbox, fault: Any, sentence: str) -> None:
    """A wrong fault is refused with a sentence that says why."""
    answer = ask(sandbox, "POST", "/faults", json=fault)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]
    assert sandbox.faults.active() == []


def test_a_user_can_write_and_speak(sandbox: Sandbox, bot: Bot) -> None:
    """Texts and recordings posted to the control server reach the webhook as WhatsApp messages."""
    said = ask(sandbox, "POST", "/say", json={"from": "+14155550100", "text": "hi"})
    assert said.json()["status"] == 200
    delivery = ask(
        sandbox,
        "POST",
        "/speak?from=+14155550100",
        data=b"OggS",
        headers={"Content-Type": "audio/ogg"},
    )
    assert delivery.json()["sid"] == bot.received[1]["MessageSid"]
    assert [(one["From"], one["MessageType"]) for one in bot.received] == [
        (USER, "text"),
        (USER, "audio"),
    ]


@pytest.mark.parametrize("body", [{}, {"from": USER}, {"text": "hi"}, {"from": 1, "text": "x"}])
def test_incomplete_messages_are_refused(sandbox: Sandbox, bot: Bot, body: dict[str, Any]) -> None:
    """A message without sender or text is not sent."""
    assert ask(sandbox, "POST", "/say", json=body).status_code == 400
    assert bot.received == []


def test_without_a_bridge_messages_are_refused(sandbox: Sandbox) -> None:
    """The error says that no bridge is connected."""
    answer = ask(sandbox, "POST", "/say", json={"from": USER, "text": "hi"})
    assert answer.status_code == 400
    assert "No bridge is connected" in answer.json()["error"]


def test_messages_and_calls_can_be_read(sandbox: Sandbox, bot: Bot) -> None:
    """Messages, calls and violations are available as JSON, without credentials."""
    settings = sandbox.environment(bot.url)
    sandbox.twilio.say(USER, "hi")
    form = {"To": USER, "From": settings["TWILIO_WHATSAPP_FROM"], "Body": "**hello**"}
    account = settings["TWILIO_ACCOUNT_SID"]
    requests.post(
        f"{sandbox.twilio.url}/2010-04-01/Accounts/{account}/Messages.json",
        data=form,
        auth=(account, settings["TWILIO_AUTH_TOKEN"]),
        timeout=5,
    )
    assert ask(sandbox, "GET", f"/messages?to={USER}").json()[0]["body"] == "**hello**"
    assert ask(sandbox, "GET", "/messages?to=whatsapp:+1999").json() == []
    answer = ask(sandbox, "GET", "/calls")
    assert [call["name"] for call in answer.json()["calls"]] == ["send"]
    rule = "Markdown left in the text: bold"
    assert answer.json()["violations"] == [{"service": "twilio", "call": "send", "rule": rule}]
    assert "authorization" not in answer.text.lower()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"Host": "[bad"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
    ],
)
def test_foreign_requests_are_refused(sandbox: Sandbox, headers: dict[str, str]) -> None:
    """A request for another host, or from a foreign web page, is refused."""
    assert ask(sandbox, "GET", "/", headers=headers).status_code == 403


def test_a_local_web_page_is_allowed(sandbox: Sandbox) -> None:
    """A page served on loopback may use the control server."""
    assert ask(sandbox, "GET", "/", headers={"Origin": "http://localhost:5000"}).ok


def test_wait_for_times_out() -> None:
    with pytest.raises(TimeoutError):
        CallRecorder().wait_for(lambda: False, timeout=0.01)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_the_command_runs_until_it_is_stopped(kind: signal.Signals) -> None:
    """``python -m sandbox`` prints the settings as KEY=value lines and ends cleanly."""
    port = 20_000 + os.getpid() % 10_000
    command = [sys.executable, "-m", "sandbox", "--speech", "fixtures", "--port", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline().strip() for _ in range(16)]
        assert process.stderr.readline().startswith(f"Control: http://127.0.0.1:{port}.")
        assert requests.get(f"http://127.0.0.1:{port}", timeout=5).ok
        process.send_signal(kind)
        rest = process.communicate(timeout=10)
    assert (process.returncode, rest) == (0, ("", ""))
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["TWILIO_API_URL"] == f"http://127.0.0.1:{port + 1}"
    assert settings["UNSIGNED_LOCAL_WEBHOOKS"] == "true"
    assert settings["PUBLIC_URL"] == f"http://127.0.0.1:{settings['PORT']}"
