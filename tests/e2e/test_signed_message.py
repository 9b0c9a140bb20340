"""``flask --app app say`` and ``make message``, against a service that needs signatures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.say import say as command
from cli.service_metrics import ServiceMetrics
from sandbox.bridge import ROOT, free_port
from sandbox.loopback import LoopbackServer
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

ACCOUNT = (
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_WHATSAPP_FROM",
    "TWILIO_API_URL",
    "PUBLIC_URL",
    "METRICS_TOKEN",
)
HELLO = "Hello! What would you like to know about electronic invoices?"

Say = Callable[..., Result]


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(
        UNSIGNED_LOCAL_WEBHOOKS="false",
        METRICS_TOKEN="operators-only",
        SENDER_TURNS_PER_MINUTE="2",
        SPEECH_CACHE_BYTES="0",
    ) as deployment:
        yield deployment


@pytest.fixture
def deployment(shared_deployment: Deployment) -> Deployment:
    """The shared service, without the check of rules: Twilio did not get these messages."""
    shared_deployment.begin()
    return shared_deployment


@pytest.fixture
def user(deployment: Deployment) -> str:
    """A user who has written before, so that the answer can be delivered."""
    user = deployment.user()
    deployment.twilio.open_window(user)
    return user


@pytest.fixture
def say(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    """Runs the command with the settings of the account alone, and with ``changes`` of them."""
    monkeypatch.setattr("cli.answer_follower.POLL_SECONDS", 0.02)
    monkeypatch.setattr("cli.answer_follower.QUIET_SECONDS", 0.1)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **changes: str) -> Result:
        return CliRunner(env=account(deployment) | changes).invoke(command, arguments)

    return run


def account(deployment: Deployment) -> dict[str, str]:
    settings = {name: deployment.bridge.settings[name] for name in ACCOUNT}
    return settings | {"NO_PROXY": "*"}


def run_command(
    *command: str, piped: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "*", "FLASK_SKIP_DOTENV": "1"} | settings,
        input=piped,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def flask(*arguments: str, piped: str = "") -> subprocess.CompletedProcess[str]:
    return run_command(sys.executable, "-m", "flask", "--app", "app", *arguments, piped=piped)


def test_a_message_is_followed_to_its_answer(deployment: Deployment, user: str) -> None:
    """With the settings that ``heroku config -s`` prints, and no others."""
    config = "".join(f"{name}='{value}'\n" for name, value in account(deployment).items())
    number = user.removeprefix("whatsapp:")
    done = flask("say", "hello", "--from", number, "--settings", "-", piped=config)
    assert (done.returncode, done.stderr) == (0, "")
    expected = ("accepted by the service", "Agentforce took", f"“{HELLO}”", "text delivered")
    for line in expected:
        assert line in done.stdout
    assert done.stdout.endswith(" s, delivered.\n")
    for secret in ("TWILIO_AUTH_TOKEN", "METRICS_TOKEN"):
        assert deployment.bridge.settings[secret] not in done.stdout


def test_make_message_takes_every_quoting(deployment: Deployment, user: str) -> None:
    number = user.removeprefix("whatsapp:+")
    text = """It's "50 %" of $HOME, $(shell id) `id` \\ #1; --url"""
    done = run_command(
        shutil.which("make") or "make",
        f"--old-file={sys.prefix}/.bridge",
        f"VENV={sys.prefix}",
        "message",
        f"FROM=WhatsApp:＋{number[0]} ({number[1:4]}) {number[4:7]}-{number[7:]}",
        f"TEXT={text}",
        **account(deployment),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "delivered" in done.stdout
    assert [question.text for question in deployment.asked(user)] == [text]


def test_other_commands_of_flask_load_the_service() -> None:
    done = flask("routes")
    assert done.returncode != 0
    assert "TWILIO_ACCOUNT_SID is missing" in done.stderr


def test_a_voice_note_is_answered_by_one(
    deployment: Deployment, user: str, say: Say, tmp_path: Path
) -> None:
    """In any format; without METRICS_TOKEN the answer is still followed."""
    note = tmp_path / "note.mp3"
    note.write_bytes(deployment.recording("hello", "mp3")[0])
    done = say("--voice", str(note), "--from", user, METRICS_TOKEN="")
    assert done.exit_code == 0, done.output
    assert [question.text for question in deployment.asked(user)] == ["hello"]
    text, voice = deployment.answers(user, 2)
    assert (text.body, deployment.hear(voice)) == (HELLO, HELLO)
    assert ", voice note after " in done.output


@pytest.mark.parametrize("token", [{}, {"METRICS_TOKEN": ""}])
def test_the_stage_that_failed_is_named(
    deployment: Deployment, user: str, say: Say, token: dict[str, str]
) -> None:
    deployment.add_fault("agentforce", "ask", "reset", times=None)
    done = say("--from", user, **token)
    assert done.exit_code == 1
    assert "Sorry, I couldn't get an answer." in done.output
    assert "Failed at: Agentforce." in done.output
    assert ("The service counted Agent" in done.output) == (not token)


def test_a_note_that_cannot_be_spoken_is_told(
    deployment: Deployment, user: str, say: Say, tmp_path: Path
) -> None:
    note = tmp_path / "note.ogg"
    note.write_bytes(deployment.note("thanks"))
    deployment.add_fault("elevenlabs", "speak", "status", status=401, times=None)
    done = say("--voice", str(note), "--from", user)
    assert done.exit_code == 1
    assert ", but not spoken. The service counted SpeechRefused (" in done.output


def test_a_recording_that_is_not_understood_is_told(
    deployment: Deployment, user: str, say: Say, tmp_path: Path
) -> None:
    note = tmp_path / "note.ogg"
    note.write_bytes(deployment.note(""))
    done = say("--voice", str(note), "--from", user)
    assert done.exit_code == 1
    assert "Failed at: transcription: no words were recognised." in done.output


def test_only_what_is_sent_from_now_on_is_the_answer(
    deployment: Deployment, user: str, say: Say
) -> None:
    """Also if Twilio's list fails meanwhile."""
    deployment.twilio.answer_by_twiml(user, "I wrote before this message.")
    deployment.add_fault("agentforce", "ask", "hang", seconds=0.5)
    deployment.add_fault("twilio", "list", "status", status=503, after=2)
    done = say("hello", "--from", user)
    assert (done.exit_code, HELLO in done.output) == (0, True), done.output
    assert "Twilio does not give its list of messages: " in done.output
    assert "I wrote before" not in done.output


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (63016, "this phone has not written to the service within 24 h"),
        (63015, "this phone has not joined Twilio's sandbox"),
        (63024, "the user is not on WhatsApp any more"),
    ],
)
def test_why_an_answer_was_not_delivered_is_told(
    deployment: Deployment, say: Say, code: int, told: str
) -> None:
    """Without a message of the user, Twilio's window is closed."""
    if code != 63016:
        deployment.add_fault("twilio", "text", "undelivered", code=code)
    done = say("--from", deployment.user())
    assert done.exit_code == 1
    assert f"text undelivered ({code})" in done.output
    assert f", text not delivered: {told}" in done.output


def test_a_voice_note_that_is_sent_once_more_is_waited_for(
    deployment: Deployment, user: str, say: Say, tmp_path: Path
) -> None:
    note = tmp_path / "note.ogg"
    note.write_bytes(deployment.note("hello"))
    deployment.add_fault("twilio", "voice", "undelivered", code=63019)
    done = say("--voice", str(note), "--from", user)
    assert done.exit_code == 0, done.output
    assert "voice note undelivered (63019)" in done.output
    assert "voice note delivered" in done.output


def test_an_answer_that_twilio_refuses_is_not_waited_for(
    deployment: Deployment, user: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.answer_follower.APOLOGY_SECONDS", 0.1)
    deployment.add_fault("twilio", "send", "status", status=400, times=None)
    done = say("--from", user)
    assert done.exit_code == 1
    assert "No answer was sent. The service counted SendRefused (" in done.output


def test_waiting_ends(deployment: Deployment, user: str, say: Say) -> None:
    fault = deployment.add_fault("agentforce", "ask", "hang", seconds=60, times=None)
    done = say("--from", user, "--timeout", "0.1")
    deployment.sandbox.faults.remove(fault)
    assert done.exit_code == 1
    assert "No answer within 0.1 s; the service's log says why." in done.output


def test_a_message_that_is_not_accepted_is_explained(user: str, say: Say) -> None:
    """Also the second time, when the service says nothing."""
    for _ in range(2):
        assert say("--from", user).exit_code == 0
    limited = say("--from", user)
    assert limited.exit_code == 1
    assert "Error: Not accepted: SENDER_TURNS_PER_MINUTE is used up." in limited.output
    again = say("--from", user)
    assert again.exit_code == 1
    assert "Not accepted: a limit for senders is used up" in again.output


def test_what_controls_a_terminal_is_not_printed(say: Say) -> None:
    def redirect(_: Any, start_response: Any) -> list[bytes]:
        headers = [("Location", "https://a.example/\x1b]0;mine\x07"), ("Content-Length", "0")]
        start_response("301 Moved", headers)
        return []

    server = LoopbackServer(app=redirect, name="elsewhere")
    server.start()
    done = say("--from", "+15550101", "--url", f"http://127.0.0.1:{server.port}")
    server.stop()
    assert "redirected to https://a.example/]0;mine; use that" in done.output


def test_the_token_goes_to_the_own_host_only(
    deployment: Deployment, user: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another name of this machine stands for another host."""
    sent: list[object] = []

    def note(self: ServiceMetrics) -> None:
        sent.append(self._token)

    monkeypatch.setattr(ServiceMetrics, "read", note)
    port = deployment.bridge.url.rpartition(":")[2]
    for address in (f"http://localhost:{port}", deployment.bridge.url):
        say("--from", user, "--url", address)
    assert sent[0] == ""
    assert sent[1] == "operators-only"


@pytest.mark.parametrize(
    ("arguments", "changes", "expected"),
    [
        (["--url", "http://localhost:{port}"], {}, "403: refused: the signature is not the one"),
        (["--url", f"http://127.0.0.1:{free_port()}"], {}, "No response: ConnectionError"),
        (["--url", "{elevenlabs}"], {}, "no bridge answers there"),
        (["--url", "bad url"], {}, "PUBLIC_URL is not a web address"),
        ([], {"TWILIO_AUTH_TOKEN": "of-another-account"}, "Twilio refuses TWILIO_ACCOUNT_SID"),
        ([], {"TWILIO_API_URL": f"http://127.0.0.1:{free_port()}"}, "Twilio cannot be reached"),
        ([], {"REQUESTS_CA_BUNDLE": "no-such-file"}, "REQUESTS_CA_BUNDLE names a file that"),
        (["--settings", "no-such-file"], {}, "No such file"),
        (["--voice", "no-such-file"], {}, "no-such-file cannot be read: No such file"),
        (["hello", "--voice", "note.ogg"], {}, "a text or a voice note"),
        (["--from", "whatsapp:+14155238886"], {}, "nobody answers themselves"),
        (["--from", "+1"], {}, "+1 is not a phone number"),
    ],
)
def test_every_mistake_is_explained(
    deployment: Deployment,
    say: Say,
    arguments: list[str],
    changes: dict[str, str],
    expected: str,
) -> None:
    places = {
        "elevenlabs": deployment.sandbox.elevenlabs.url,
        "port": deployment.bridge.url.rpartition(":")[2],
    }
    done = say("--from", "+15550101", *(each.format(**places) for each in arguments), **changes)
    assert (done.exit_code, done.exception.__class__) == (1, SystemExit)
    assert expected in done.output
    assert "Answered" not in done.output


def test_all_that_is_missing_is_named_at_once(say: Say) -> None:
    done = say(**dict.fromkeys(ACCOUNT, ""))
    assert done.exit_code == 1
    for missing in ("--from +1…", "--url https://…", *ACCOUNT[:3], ".env, which is not there"):
        assert missing in done.output
