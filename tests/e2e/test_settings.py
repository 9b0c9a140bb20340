"""What operators can change."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from core.errors import SettingsError
from core.settings import WHERE
from sandbox.agentforce.events import StreamStyle
from sandbox.bridge import ROOT, procfile_command
from storage.engine import FILE_NAME, lock_state_dir
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

BEARER = {"Authorization": "Bearer open-sesame"}
QUESTION = "How do I register an electronic invoice?"


def start_in_vain(deployment: Deployment, kind: str, own: dict[str, str]) -> str:
    """The standard error of a process that cannot start with its ``own`` settings."""
    done = subprocess.run(
        procfile_command(kind),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]}
        | deployment.sandbox.environment(deployment.bridge.url)
        | own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr


@pytest.fixture(scope="module")
def deployment_with_token(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(
        METRICS_TOKEN="open-sesame",
        PUBLIC_URL="https://bot.example.com",
        UNSIGNED_LOCAL_WEBHOOKS="false",
    ) as deployment:
        yield deployment


def test_the_synchronous_endpoint_gives_the_same_answers(start_deployment: StartDeployment) -> None:
    with start_deployment(AGENTFORCE_STREAMING="false") as deployment:
        user = deployment.user()
        deployment.twilio.say(user, QUESTION)
        deployment.twilio.say(user, "I want to talk to a human")
        deployment.twilio.say(user, "test empty")
        deployment.twilio.say(user, "test error")
        bodies = [message.body for message in deployment.answers(user, 4)]
        assert bodies[0].startswith("To register an electronic invoice")
        assert "Please contact our team" in bodies[1]
        assert bodies[2].startswith("Sorry, I have no answer")
        assert bodies[3].startswith("Sorry, I couldn't get an answer")
        assert not any(question.streamed for question in deployment.asked(user))
        deployment.check()


@pytest.mark.parametrize(
    "style",
    [
        StreamStyle(newline="\r\n"),
        StreamStyle(writes="pieces"),
        StreamStyle(writes="split_character"),
        StreamStyle(writes="joined"),
        StreamStyle(text_chunks=False),
    ],
    ids=["CRLF", "pieces", "split character", "joined", "no chunks"],
)
def test_the_event_stream_is_read_in_chunks_of_any_size(
    deployment: Deployment, style: StreamStyle
) -> None:
    agent = deployment.sandbox.agentforce
    usual, agent.stream_style = agent.stream_style, style
    try:
        answer = deployment.ask("كيف أسجل فاتورة إلكترونية؟")
        assert answer.body.startswith("لتسجيل فاتورة إلكترونية")
        assert answer.body.count("سجّل الدخول") == 1
    finally:
        agent.stream_style = usual


def test_a_stream_without_its_end_is_an_error(deployment: Deployment) -> None:
    agent = deployment.sandbox.agentforce
    usual, agent.stream_style = agent.stream_style, StreamStyle(end_of_turn=False)
    try:
        assert deployment.ask("hello").body.startswith("Sorry, I couldn't get an answer")
    finally:
        agent.stream_style = usual


def test_a_late_answer_is_preceded_by_one_notice(start_deployment: StartDeployment) -> None:
    with start_deployment(STILL_WORKING_AFTER="0.2") as deployment:
        deployment.add_fault("agentforce", "ask", "hang", seconds=1.0)
        user = deployment.user()
        deployment.twilio.say(user, QUESTION)
        notice, answer = deployment.answers(user, 2)
        assert notice.body == "I'm still working on your answer, one moment please."
        assert answer.body.startswith("To register")
        deployment.expect_no_more(user, 2)


def test_voice_replies_to_all_with_the_transcript(start_deployment: StartDeployment) -> None:
    with start_deployment(VOICE_REPLIES="always", TRANSCRIPT_ECHO="true") as deployment:
        user = deployment.user()
        deployment.twilio.say(user, "thanks")
        deployment.twilio.wait_for_voice(user)
        deployment.twilio.speak(user, deployment.note("Thanks"))
        deployment.twilio.wait_for_voice(user, count=2)
        assert deployment.answers(user, 3)[2].body.startswith("🎤 _Thanks_\n\nYou're welcome")
        deployment.check()


def test_voice_replies_to_nobody(start_deployment: StartDeployment) -> None:
    with start_deployment(VOICE_REPLIES="never") as deployment:
        user = deployment.user()
        assert "switched off here" in deployment.ask("voice on", user).body
        deployment.twilio.speak(user, deployment.note(QUESTION))
        deployment.answers(user, 2)
        deployment.expect_no_more(user, 2)


def test_an_idle_session_is_ended_and_renewed(start_deployment: StartDeployment) -> None:
    with start_deployment(AGENTFORCE_SESSION_IDLE="0.001") as deployment:
        user = deployment.user()
        deployment.ask("hello", user)
        deployment.ask("thanks", user)
        first, second = (question.session_id for question in deployment.asked(user))
        assert first != second
        # It is ended beside the turn; so is one that idled before it could be asked in.
        agent = deployment.sandbox.agentforce
        ended = deployment.sandbox.recorder.wait_for(
            lambda: [end for end in agent.ended if end.session_id == first]
        )
        assert ended[0].reason == "Expiration"


def test_a_full_inbox_answers_the_sender_in_the_webhook(start_deployment: StartDeployment) -> None:
    with start_deployment(INBOX_LIMIT="1") as deployment:
        deployment.add_fault("agentforce", "ask", "hang", seconds=2.0)
        busy, refused = deployment.user(), deployment.user()
        deployment.twilio.say(busy, QUESTION)
        delivery = deployment.twilio.say(refused, QUESTION)
        assert delivery.status == 200
        assert deployment.answers(refused, 1)[0].body.startswith("Sorry, too many people")
        assert deployment.answers(busy, 1)[0].body.startswith("To register")


def test_a_database_that_fails_is_unhealthy_and_refuses_the_sender_politely(
    start_deployment: StartDeployment,
) -> None:
    """Twilio would not come back after a 500."""
    with start_deployment() as deployment:
        with sqlite3.connect(deployment.bridge.state_dir / FILE_NAME) as file:
            file.executescript(
                "DROP TABLE sendings; DROP TABLE turns; DROP TABLE preferences;"
                "DROP TABLE voice_notes"
            )
        user = deployment.user()
        assert deployment.twilio.say(user, QUESTION).status == 200
        assert deployment.answers(user, 1)[0].body.startswith("Sorry, something went wrong")
        answer = requests.get(f"{deployment.bridge.url}/health", timeout=10)
        assert answer.status_code == 503
        assert (answer.json()["healthy"], answer.json()["database"]) == (False, False)
        note = requests.get(f"{deployment.bridge.url}/media/{'0' * 32}.ogg", timeout=10)
        assert (note.status_code, note.text) == (500, "500 INTERNAL SERVER ERROR\n")


def test_two_services_do_not_share_a_state_dir(deployment: Deployment) -> None:
    with pytest.raises(SettingsError, match="another process uses STATE_DIR"):
        lock_state_dir(str(deployment.bridge.state_dir), wait_seconds=0)


@pytest.mark.parametrize("path", ["/metrics", "/dashboard"])
def test_metrics_and_dashboard_need_the_token(deployment_with_token: Deployment, path: str) -> None:
    url = deployment_with_token.bridge.url + path
    refused = requests.get(url, timeout=10)
    assert (refused.status_code, refused.text) == (401, "401 UNAUTHORIZED\n")
    assert refused.headers["WWW-Authenticate"].startswith('Basic realm="')
    assert requests.get(url, auth=("any", "open-sesam"), timeout=10).status_code == 401
    assert requests.get(url, headers=BEARER, timeout=10).status_code == 200
    assert requests.get(url, auth=("any", "open-sesame"), timeout=10).status_code == 200


def test_a_scraper_needs_the_token_and_health_does_not(deployment_with_token: Deployment) -> None:
    scraped = requests.get(
        f"{deployment_with_token.bridge.url}/metrics?format=prometheus", headers=BEARER, timeout=10
    )
    assert scraped.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "bridge_total_seconds_bucket" in scraped.text
    assert requests.get(f"{deployment_with_token.bridge.url}/health", timeout=10).status_code == 200


@pytest.mark.parametrize("page", ["", "/state", "/history", "/docs/first-bad-day.md"])
def test_https_is_enforced_where_the_password_is_asked_for(
    deployment_with_token: Deployment, page: str
) -> None:
    """If the service has an https address, browsers are told to remember it."""
    answer = requests.get(
        f"{deployment_with_token.bridge.url}/dashboard{page}",
        headers={"X-Forwarded-Proto": "http"},
        allow_redirects=False,
        timeout=10,
    )
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"https://bot.example.com/dashboard{page}"
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,"
            "*/*;q=0.1",
            "text/plain",
        ),
    ],
    ids=["curl", "browser", "json", "text", "Prometheus"],
)
def test_metrics_come_as_json_or_prometheus_text(
    deployment: Deployment, accept: str, kind: str
) -> None:
    answer = requests.get(
        f"{deployment.bridge.url}/metrics", headers={"Accept": accept}, timeout=10
    )
    assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize("kind", ["web", "worker"])
def test_a_missing_setting_stops_the_start_with_one_sentence(kind: str) -> None:
    done = subprocess.run(
        procfile_command(kind),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "TWILIO_AUTH_TOKEN is missing (Twilio Console" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["web", "worker"])
def test_settings_that_providers_would_reject_stop_the_start_with_one_sentence(
    deployment: Deployment, kind: str
) -> None:
    wrong = {
        "TWILIO_ACCOUNT_SID": "AC123",
        "TWILIO_WHATSAPP_FROM": "whatsapp:hello",
        "PUBLIC_URL": "https://my_bot.example.com",
        "SALESFORCE_INSTANCE_URL": "https://login.salesforce.com",
    }
    own = {"PORT": "0", "UNSIGNED_LOCAL_WEBHOOKS": "false", **wrong}
    error = start_in_vain(deployment, kind, own)
    (told,) = [line for line in error.splitlines() if "Cannot start" in line]
    for name in wrong:
        assert f"{name} must " in told
        assert f"({WHERE[name]})" in told
    assert "Traceback" not in error


@pytest.mark.parametrize("kind", ["web", "worker"])
def test_a_bad_pattern_stops_the_start_with_one_sentence(
    deployment: Deployment, kind: str, tmp_path: Path
) -> None:
    """Before it connects anywhere: the worker's database does not exist."""
    patterns = tmp_path / "public.txt"
    patterns.write_text("hello\nhow (do I", encoding="utf-8")
    own = {
        "PORT": "0",
        "STATE_DIR": str(tmp_path),
        "ANSWER_CACHE_PATTERNS": str(patterns),
        "DATABASE_URL": "postgres://127.0.0.1:9/none" if kind == "worker" else "",
    }
    error = start_in_vain(deployment, kind, own)
    assert f"Cannot start: ANSWER_CACHE_PATTERNS: line 2 of '{patterns}'" in error
    assert "Traceback" not in error


def test_a_worker_without_a_shared_database_says_what_to_do(deployment: Deployment) -> None:
    done = subprocess.run(
        procfile_command("worker"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | deployment.sandbox.environment(deployment.bridge.url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Cannot start: DATABASE_URL is missing, which a worker needs (")
    assert "Traceback" not in done.stderr
