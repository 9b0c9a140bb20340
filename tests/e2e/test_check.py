"""``flask --app app check`` names each mistake that an operator can make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from flask import Flask, Response, redirect
from structlog.testing import capture_logs

from cli.check import check
from sandbox.agentforce.login import Misconfiguration
from sandbox.bridge import ROOT, procfile_command
from sandbox.loopback import LoopbackServer
from sandbox.postgres import Postgres
from sandbox.twilio.console import SenderSettings
from storage.engine import open_postgres
from storage.processes import Processes
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

# Not that of Twilio's sandbox, about which less can be known.
SENDER = "whatsapp:+15550100100"
OTHER_VOICE = "another0000000000001"
OTHER_AGENT = "0XxANOTHER00000AAA"

Results = dict[str, dict[str, str]]
# Brings a mistake about, and returns the settings that differ from those of the deployment.
Arrange = Callable[[Deployment, pytest.MonkeyPatch], dict[str, str]]


@pytest.fixture(scope="module")
def shared(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(TWILIO_WHATSAPP_FROM=SENDER) as deployment:
        deployment.twilio.sender = SENDER
        # Each run of the command fetches a token of its own.
        deployment.sandbox.agentforce.token_clients = 1000
        # Its calls must not be taken for those of a test.
        await_start_check(deployment)
        yield deployment


@pytest.fixture
def deployment(shared: Deployment) -> Deployment:
    """What an operator does wrong may break a provider's rules."""
    shared.begin()
    return shared


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The address of a web server that is not the service."""
    app = Flask("elsewhere")

    @app.post("/<path>/")
    def answer(path: str) -> Any:
        if path == "moved":
            return redirect("https://bot.example.com/", 301)
        return Response("Welcome to the shop", 503 if path == "down" else 200)

    server = LoopbackServer(app=app, name="elsewhere", port=0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def run(deployment: Deployment, *options: str, **changes: str) -> tuple[Results, int]:
    """The results by their names, and the exit status; nothing secret may be in them."""
    settings = deployment.bridge.settings | changes
    with capture_logs():
        outcome = CliRunner().invoke(check, ["--json", *options], env=settings)
    deployment.check_leaks(outcome.stdout)
    report = json.loads(outcome.stdout)
    assert report["ok"] == (outcome.exit_code == 0)
    results = {result["name"]: result for result in report["results"]}
    assert len(results) == len(report["results"])
    return results, outcome.exit_code


def setting(**changes: str) -> Arrange:
    return lambda *_: changes


def salesforce(mistake: Misconfiguration) -> Arrange:
    return attribute("agentforce", "misconfiguration", mistake)


def attribute(provider: str, path: str, value: Any) -> Arrange:
    def arrange(deployment: Deployment, patch: pytest.MonkeyPatch) -> dict[str, str]:
        target = getattr(deployment.sandbox, provider)
        *middle, last = path.split(".")
        for name in middle:
            target = getattr(target, name)
        patch.setattr(target, last, value)
        return {}

    return arrange


def refusal(service: str, call: str, status: int, body: object = None) -> Arrange:
    def arrange(deployment: Deployment, _: pytest.MonkeyPatch) -> dict[str, str]:
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        deployment.add_fault(service, call, "status", status=status, body=text, times=None)
        return {}

    return arrange


def oauth(error: str, description: str) -> Arrange:
    body = {"error": error, "error_description": description}
    return refusal("agentforce", "token", 400, body)


def session(status: int, error: str, message: str) -> Arrange:
    return refusal("agentforce", "session", status, {"error": error, "message": message})


def senders(*each: SenderSettings) -> Arrange:
    return attribute("twilio", "console.senders", list(each))


def ours(url: str = "", **more: str) -> SenderSettings:
    return SenderSettings(SENDER, url, **more)


def webhook_on(place: str) -> Arrange:
    """The webhook is set on another sender of the account, or for SMS on a phone number."""

    def arrange(deployment: Deployment, patch: pytest.MonkeyPatch) -> dict[str, str]:
        url = f"{deployment.bridge.url}/"
        others = [SenderSettings("whatsapp:+15550100101", url)] if place == "sender" else []
        patch.setattr(deployment.twilio.console, "senders", [ours(), *others])
        patch.setattr(deployment.twilio.console, "sms_urls", [url])
        return {}

    return arrange


def webhook_by_get(deployment: Deployment, patch: pytest.MonkeyPatch) -> dict[str, str]:
    sender = ours(f"{deployment.bridge.url}/", method="GET")
    patch.setattr(deployment.twilio.console, "senders", [sender])
    return {}


def unread_numbers(deployment: Deployment, patch: pytest.MonkeyPatch) -> dict[str, str]:
    """The webhook is not that of the sender, and the phone numbers cannot be read."""
    patch.setattr(deployment.twilio.console, "senders", [ours()])
    return refusal("twilio", "numbers", 503, "")(deployment, patch)


def undelivered(code: int) -> Arrange:
    def arrange(deployment: Deployment, _: pytest.MonkeyPatch) -> dict[str, str]:
        deployment.add_fault("twilio", "text", "undelivered", code=code)
        user = deployment.user()
        deployment.ask("hello", user)
        deployment.sandbox.recorder.wait_for(
            lambda: [each for each in deployment.twilio.messages(user) if each.error_code]
        )
        return {}

    return arrange


def eleven(call: str, http: int, **detail: str) -> Arrange:
    return refusal("elevenlabs", call, http, {"detail": detail})


def only(*permissions: str) -> Arrange:
    return attribute("elevenlabs", "account.permissions", frozenset(permissions))


NOTHING = {"language_code": "eng", "language_probability": 1.0, "text": "", "words": []}

# What is wrong, the check that must say so, its state, and what finding or hint must name.
MISTAKES: list[tuple[str, Arrange, str, str, str]] = [
    ("token", setting(TWILIO_AUTH_TOKEN="wrong-token"), "twilio_account", "failed", "primary"),
    ("account", setting(TWILIO_ACCOUNT_SID="AC" + "0" * 32), "twilio_account", "failed", "ACCOUNT"),
    ("suspended", attribute("twilio", "console.account_status", "suspended"),
     "twilio_account", "failed", "suspended"),
    ("trial", attribute("twilio", "console.account_type", "Trial"),
     "twilio_account", "warning", "trial"),
    ("busy", refusal("twilio", "account", 429), "twilio_account", "failed", "in a minute"),
    ("down", refusal("twilio", "account", 503), "twilio_account", "failed", "status.twilio.com"),
    ("senders", refusal("twilio", "senders", 429), "twilio_sender", "failed", "in a minute"),
    ("senders, webhook", refusal("twilio", "senders", 503),
     "twilio_webhook", "skipped", "the senders cannot be read"),
    ("numbers", unread_numbers, "twilio_webhook", "failed", "HTTP 503"),
    ("messages", refusal("twilio", "list", 401), "twilio_messages", "failed", "primary"),
    ("sandbox", setting(TWILIO_WHATSAPP_FROM="whatsapp:+14155238886"),
     "twilio_sender", "warning", "join code"),
    ("sandbox webhook", setting(TWILIO_WHATSAPP_FROM="whatsapp:+14155238886"),
     "twilio_webhook", "warning", "Sandbox settings"),
    ("no sender", senders(SenderSettings("whatsapp:+15550100109", "")),
     "twilio_sender", "failed", "no WhatsApp sender of this account"),
    ("offline sender", senders(ours(status="OFFLINE")), "twilio_sender", "failed", "OFFLINE"),
    ("no webhook", senders(ours()), "twilio_webhook", "failed", "is not set"),
    ("other webhook", senders(ours("https://old.example.com/")),
     "twilio_webhook", "failed", "another address, at old.example.com"),
    ("GET", webhook_by_get, "twilio_webhook", "failed", "method GET"),
    ("SMS", webhook_on("number"), "twilio_webhook", "failed", "a phone number for SMS"),
    ("other sender", webhook_on("sender"), "twilio_webhook", "failed", "that ends in 0101"),
    ("not joined", undelivered(63015), "twilio_messages", "warning", "join code"),
    ("window", undelivered(63016), "twilio_messages", "warning", "over 24 h ago"),
    ("signature", setting(TWILIO_AUTH_TOKEN="wrong-token"), "public_address", "failed", "refuses"),
    ("closed port", setting(PUBLIC_URL="http://127.0.0.1:9"),
     "public_address", "failed", "accepts no connection"),
    ("consumer key", setting(SALESFORCE_CONSUMER_KEY="wrong-key"),
     "salesforce_token", "failed", "SALESFORCE_CONSUMER_KEY"),
    ("consumer secret", setting(SALESFORCE_CONSUMER_SECRET="wrong-secret"),
     "salesforce_token", "failed", "SALESFORCE_CONSUMER_SECRET"),
    ("run-as user", salesforce(Misconfiguration.NO_RUN_AS_USER),
     "salesforce_token", "failed", "set a Run-As user"),
    ("domain", salesforce(Misconfiguration.WRONG_DOMAIN),
     "salesforce_token", "failed", "SALESFORCE_INSTANCE_URL"),
    ("flow", oauth("unsupported_grant_type", "grant type not supported"),
     "salesforce_token", "failed", "switch on the Client Credentials Flow"),
    ("approval", oauth("invalid_app_access", "user is not admin approved to access this app"),
     "salesforce_token", "failed", "let the Run-As user use"),
    ("consent", oauth("invalid_grant", "user hasn't approved this consumer"),
     "salesforce_token", "failed", "let the Run-As user use"),
    ("logins", oauth("invalid_grant", "login rate exceeded"),
     "salesforce_token", "failed", "too often"),
    ("no org", setting(SALESFORCE_INSTANCE_URL="http://127.0.0.1:9"),
     "salesforce_token", "failed", "is SALESFORCE_INSTANCE_URL your My Domain"),
    ("opaque token", salesforce(Misconfiguration.NO_JWT),
     "salesforce_jwt", "failed", "Issue JSON Web Token"),
    ("scopes", attribute("agentforce", "scopes", ("api", "sfap_api")),
     "salesforce_scopes", "failed", "Access chatbot services (chatbot_api)"),
    ("other org", attribute("agentforce", "instance_url", "https://other.my.salesforce.com"),
     "salesforce_domain", "failed", "https://other.my.salesforce.com"),
    ("forbidden", salesforce(Misconfiguration.FORBIDDEN),
     "agentforce_session", "failed", "API Enabled"),
    ("inactive, 422", salesforce(Misconfiguration.AGENT_INACTIVE),
     "agentforce_session", "failed", "activate the agent"),
    ("inactive, 404", session(404, "NOT_FOUND", "No valid version available"),
     "agentforce_session", "failed", "activate the agent"),
    ("inactive, 500", session(500, "InactiveConfigException", "Config is not active"),
     "agentforce_session", "failed", "activate the agent"),
    ("licence", session(412, "PRECONDITION_FAILED", "No access to Einstein Copilot."),
     "agentforce_session", "failed", "permission set"),
    ("not attached", session(401, "UnauthorizedError", "Connected app is not attached to Agent"),
     "agentforce_session", "failed", "attach the app"),
    ("endpoint", session(500, "EngineConfigLookupException", "Error while retrieving"),
     "agentforce_session", "failed", "the org's own My Domain"),
    ("kind of id", session(400, "BadRequestError", "0Xx is not a valid agent ID"),
     "agentforce_session", "failed", "AGENTFORCE_AGENT_ID"),
    ("unknown agent", setting(AGENTFORCE_AGENT_ID=OTHER_AGENT),
     "agentforce_session", "failed", "no agent with this AGENTFORCE_AGENT_ID"),
    ("gateway", refusal("agentforce", "session", 404, ""),
     "agentforce_session", "failed", "JWT-based"),
    ("agent limit", refusal("agentforce", "session", 429),
     "agentforce_session", "failed", "in a minute"),
    ("key", setting(ELEVENLABS_API_KEY="wrong-key"),
     "elevenlabs_key", "failed", "ELEVENLABS_API_KEY"),
    ("voice", setting(ELEVENLABS_VOICE_ID=OTHER_VOICE),
     "elevenlabs_voice", "failed", "ELEVENLABS_VOICE_ID"),
    ("voice, spoken", setting(ELEVENLABS_VOICE_ID=OTHER_VOICE),
     "elevenlabs_speech", "failed", "ELEVENLABS_VOICE_ID"),
    ("speech model", setting(ELEVENLABS_TTS_MODEL="eleven_flash_v9"),
     "elevenlabs_model", "failed", "ELEVENLABS_TTS_MODEL"),
    ("language", setting(DEFAULT_LANGUAGE="he"), "elevenlabs_model", "warning", "speak he,"),
    ("transcription model", setting(ELEVENLABS_STT_MODEL="scribe_v9"),
     "elevenlabs_transcription", "failed", "ELEVENLABS_STT_MODEL"),
    ("no hearing", only("text_to_speech"),
     "elevenlabs_transcription", "failed", "Speech to Text"),
    ("nothing heard", refusal("elevenlabs", "transcribe", 200, NOTHING),
     "elevenlabs_transcription", "warning", "heard nothing"),
    ("unknown refusal", eleven("speak", 418, code="brand_new_code"),
     "elevenlabs_speech", "failed", "status.elevenlabs.io"),
    ("no speaking", only("speech_to_text"), "elevenlabs_speech", "failed", "Text to Speech"),
    ("credits", attribute("elevenlabs", "account.credits", 0),
     "elevenlabs_speech", "failed", "credits are used up"),
    ("few credits", attribute("elevenlabs", "account.credits", 100),
     "elevenlabs_plan", "warning", "100 of 10,000"),
    ("library voice", eleven("speak", 402, code="paid_plan_required"),
     "elevenlabs_speech", "failed", "voices of the library"),
    ("shared address", eleven("speak", 401, status="detected_unusual_activity"),
     "elevenlabs_speech", "failed", "the free plan is refused"),
    ("other programs", eleven("speak", 429, code="concurrent_limit_exceeded"),
     "elevenlabs_speech", "failed", "other programs"),
    ("allowed addresses", eleven("models", 403, code="forbidden"),
     "elevenlabs_key", "failed", "from this address"),
    ("free plan", attribute("elevenlabs", "account.plan", "free"),
     "elevenlabs_plan", "warning", "take a paid plan"),
    ("no Opus", attribute("elevenlabs", "account.plan", "free"),
     "elevenlabs_opus", "warning", "encoded here"),
    ("concurrency", attribute("elevenlabs", "account.concurrency", 2),
     "elevenlabs_concurrency", "warning", "the plan allows 2"),
    ("ffmpeg", setting(FFMPEG_PATH="true"), "ffmpeg", "failed", "FFMPEG_PATH"),
    ("files", setting(TURN_THREADS="100000000"), "machine_limits", "failed", "set it to"),
]  # fmt: skip


def test_with_all_well_there_is_nothing_but_ticks(deployment: Deployment) -> None:
    results, status = run(deployment)
    assert {result["state"] for result in results.values()} == {"ok"}
    assert len(results) > 20
    assert status == 0
    deployment.check()
    assert [each.reason for each in deployment.sandbox.agentforce.ended] == ["Other"]
    assert deployment.counter("messages_received") == 0


@pytest.mark.parametrize(
    ("arrange", "name", "state", "words"),
    [pytest.param(*each, id=mistake) for mistake, *each in MISTAKES],
)
def test_each_mistake_is_named_rightly(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    arrange: Arrange,
    name: str,
    state: str,
    words: str,
) -> None:
    # What is refused for now is tried again and again, but not for as long as in earnest.
    changes = {"PROVIDER_TIMEOUT_FACTOR": "0.1"} | arrange(deployment, monkeypatch)
    results, status = run(deployment, **changes)
    result = results[name]
    assert result["state"] == state, result
    assert words in f"{result['finding']}; {result['hint']}"
    assert result["hint"] or state == "skipped"
    failed = [each for each in results.values() if each["state"] == "failed"]
    assert status == (1 if failed else 0)
    deployment.twilio.forget_messages()


@pytest.mark.parametrize(
    ("path", "words"),
    [("moved", "redirects"), ("down", "answers with HTTP 503"), ("shop", "something else answers")],
)
def test_another_server_at_our_address_is_noticed(
    deployment: Deployment, elsewhere: str, path: str, words: str
) -> None:
    results, _ = run(deployment, PUBLIC_URL=f"{elsewhere}/{path}")
    assert words in results["public_address"]["finding"]


def test_a_key_that_may_only_speak_and_hear_is_enough(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("speech_to_text", "text_to_speech")(deployment, monkeypatch)
    results, status = run(deployment)
    skipped = {name for name, result in results.items() if result["state"] == "skipped"}
    assert skipped == {"elevenlabs_model", "elevenlabs_voice", "elevenlabs_plan"}
    assert status == 0


def test_offline_nothing_is_called(deployment: Deployment) -> None:
    results, status = run(deployment, "--offline")
    assert status == 0
    assert {"settings", "machine_limits", "state_dir", "ffmpeg"} <= results.keys()
    assert not deployment.calls()


def test_a_public_deployment_without_a_token_for_its_pages_is_warned(
    deployment: Deployment,
) -> None:
    changes = {"PUBLIC_URL": "https://bot.example.com", "UNSIGNED_LOCAL_WEBHOOKS": "false"}
    results, status = run(deployment, "--offline", **changes)
    assert results["metrics_token"]["state"] == "warning"
    assert status == 0
    results, _ = run(deployment, "--offline", METRICS_TOKEN="made-up-token", **changes)
    assert results["metrics_token"]["state"] == "ok"


def test_each_wrong_setting_has_a_line(deployment: Deployment) -> None:
    changes = {"ELEVENLABS_VOICE_ID": "Rachel", "INBOX_LIMIT": "many", "METRIC_TOKEN": "made-up"}
    results, status = run(deployment, **changes)
    assert status == 1
    assert "not its name" in results["setting_elevenlabs_voice_id"]["finding"]
    assert "Copy voice ID" in results["setting_elevenlabs_voice_id"]["hint"]
    assert results["setting_inbox_limit"]["state"] == "failed"
    assert "did you mean METRICS_TOKEN?" in results["setting_names"]["hint"]
    assert not deployment.calls()


@pytest.mark.parametrize("option", ["--json", "--offline"])
@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem", "cannot be read"),
        ("SSL_CERT_FILE", __file__, "no certificates"),
    ],
)
def test_certificates_that_cannot_be_used_have_a_line(
    deployment: Deployment, option: str, name: str, file: str, words: str
) -> None:
    changes = {"REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": ""} | {name: file}
    results, status = run(deployment, option, **changes)
    assert words in results[f"setting_{name.lower()}"]["finding"]
    assert status == 1


def test_the_database_and_its_workers_are_looked_at(
    deployment: Deployment, server: Postgres
) -> None:
    url = server.database("checked")
    results, _ = run(deployment, DATABASE_URL=url)
    assert results["database"]["state"] == results["database_connections"]["state"] == "ok"
    assert results["workers"]["finding"] == "none has ever started"
    database = open_postgres(url, connections=1)
    results, status = run(deployment, DATABASE_URL=url)
    assert (results["workers"]["finding"], status) == ("none is alive", 1)
    Processes(database=database).report("worker.1", "worker", {})
    results, status = run(deployment, DATABASE_URL=url)
    database.close()
    assert (results["workers"]["finding"], status) == ("1 alive", 0)


def test_a_database_that_cannot_be_used_is_named(deployment: Deployment) -> None:
    nowhere = "postgres://user:made-up-password@127.0.0.1:9/bridge"
    results, status = run(deployment, DATABASE_URL=nowhere)
    assert results["database"]["state"] == "failed"
    assert "DATABASE_URL" in results["database"]["hint"]
    assert "made-up-password" not in json.dumps(results)
    assert status == 1


def test_a_password_that_is_not_encoded_is_told_and_not_shown(deployment: Deployment) -> None:
    results, status = run(deployment, DATABASE_URL="postgres://user:made-up@word@db.invalid/bridge")
    assert "@ as %40" in results["setting_database_url"]["finding"]
    assert "word@" not in json.dumps(results)
    assert status == 1


# As an operator runs it


def flask(*arguments: str, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flask", "--app", "app", *arguments]
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "80"} | settings
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_it_prints_a_table_beside_a_service_that_runs(deployment: Deployment) -> None:
    state_dir = {"STATE_DIR": str(deployment.bridge.state_dir)}
    settings = deployment.bridge.settings | state_dir | {"ELEVENLABS_VOICE_ID": OTHER_VOICE}
    outcome = flask("check", settings=settings)
    lines = outcome.stdout.splitlines()
    assert outcome.returncode == 1
    assert outcome.stderr == ""
    assert "✓ Twilio account           active" in lines
    place = next(place for place, line in enumerate(lines) if line.startswith("✗ Voice "))
    assert lines[place + 1].startswith("                           → look at ELEVENLABS_VOICE_ID")
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "2 failed, 21 fine, 2 not tried"


def test_the_release_phase_refuses_a_broken_configuration(
    deployment: Deployment,
) -> None:
    settings = {"PATH": os.environ["PATH"]} | deployment.bridge.settings
    run_release = partial(
        subprocess.run, procfile_command("release"), cwd=ROOT, capture_output=True, text=True
    )
    broken = run_release(env=settings | {"TWILIO_AUTH_TOKEN": ""}, check=False)
    assert broken.returncode == 1
    assert "TWILIO_AUTH_TOKEN        is missing" in broken.stdout
    assert "the primary token" in broken.stdout
    assert run_release(env=settings, check=False).returncode == 0
    assert not deployment.calls()


# After each start


def test_after_a_start_its_result_is_in_health_and_in_the_log(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = restart(deployment)
    assert (found["failed"], found["warnings"]) == ([], [])
    assert not deployment.sandbox.elevenlabs.syntheses[deployment._spoken_before :]
    monkeypatch.setattr(deployment.twilio.console, "senders", [ours("https://old.example.com/")])
    monkeypatch.setattr(deployment.sandbox.elevenlabs.account, "plan", "free")
    found = restart(deployment)
    assert found["failed"] == ["twilio_webhook"]
    assert found["warnings"] == ["elevenlabs_plan"]
    ready, said = deployment.log().splitlines()[-2:]
    assert ready.endswith(
        f"] Ready: answers {SENDER}; Twilio's webhook is {deployment.bridge.url}/ (POST)"
    )
    assert "Check: something does not work" in said
    assert "failed=twilio_webhook" in said


def restart(deployment: Deployment) -> dict[str, Any]:
    """Start the service anew, and return what the check found, when it is done."""
    deployment.bridge.kill()
    deployment.bridge.start()
    return await_start_check(deployment)


def await_start_check(deployment: Deployment) -> dict[str, Any]:
    """What the check after the start has found, when it is done."""
    found: dict[str, Any] = {}

    def is_done() -> bool:
        answer = requests.get(f"{deployment.bridge.url}/health", timeout=10)
        assert answer.status_code == 200
        found.update(answer.json()["check"] or {})
        return bool(found)

    wait_until(is_done, "the check after the start", every=0.1)
    return found
