"""Failures that are not in the tables of docs/failures.md, and their after-effects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.faults import Kind
from sandbox.latency import LatencyProfile
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.security.planted import planted

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
LISTEN = "Sorry, I can't listen to voice notes right now."
AGENT = "Sorry, I couldn't get an answer."


@pytest.mark.parametrize(
    ("service", "call", "kind"),
    [
        ("agentforce", "token", "reset"),
        ("twilio", "media", "reset"),
        ("twilio", "typing", "status"),
        ("twilio", "send", "reset"),
    ],
)
def test_a_single_failure_is_retried_without_the_user_noticing(
    deployment: Deployment, service: str, call: str, kind: Kind
) -> None:
    """The answer comes once by text and once by voice."""
    if call == "token":
        deployment.sandbox.agentforce.forget_tokens()
    user = deployment.user()
    deployment.add_fault(service, call, kind)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.twilio.wait_for_voice(user)
    text, _voice = deployment.answers(user, 2)
    assert text.body.startswith(ANSWER)
    assert len(deployment.asked(user)) == 1
    deployment.expect_no_more(user, 2)


@pytest.mark.parametrize(
    ("service", "call", "kind", "status", "told"),
    [
        ("agentforce", "session", "status", 422, AGENT),
        ("agentforce", "ask", "status", 400, AGENT),
        ("agentforce", "ask", "reset", 0, AGENT),
        ("agentforce", "ask", "vanish", 0, AGENT),
        ("elevenlabs", "transcribe", "status", 422, LISTEN),
    ],
)
def test_a_lasting_failure_is_reported_once_and_the_question_not_repeated(
    deployment: Deployment, service: str, call: str, kind: Kind, status: int, told: str
) -> None:
    """A request that may have had an effect is not repeated; the next question is answered."""
    user = deployment.user()
    deployment.add_fault(service, call, kind, status=status or 500, times=None)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    assert deployment.answers(user, 1)[0].body.startswith(told)
    assert len(deployment.calls("agentforce", "ask")) <= 1
    deployment.sandbox.faults.clear()
    deployment.expect_no_more(user, 1)


def test_failed_speech_synthesis_costs_only_the_voice_note(deployment: Deployment) -> None:
    """The user is told nothing; the failure is counted."""
    user = deployment.user()
    before = deployment.counter("voice_notes_failed")
    # Neither Opus nor MP3.
    deployment.add_fault("elevenlabs", "speak", status=403, times=None)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    assert deployment.answers(user, 1)[0].body.startswith(ANSWER)
    deployment.expect_no_more(user, 1)
    assert deployment.counter("voice_notes_failed") == before + 1


def test_a_plan_without_opus_still_gets_a_voice_note(deployment: Deployment) -> None:
    user = deployment.user()
    account = deployment.sandbox.elevenlabs.account
    plan, account.plan = account.plan, "free"
    try:
        deployment.twilio.speak(user, deployment.note(QUESTION))
        assert deployment.twilio.wait_for_voice(user).audio_type == "audio/ogg"
    finally:
        account.plan = plan


def test_a_model_above_the_plan_is_logged_as_such_and_changes_no_format(
    start_deployment: StartDeployment,
) -> None:
    refusal = '{"detail": {"code": "subscription_required", "status": "only_for_creator+"}}'
    with start_deployment(VOICE_REPLIES="always") as deployment:
        user = deployment.user()
        deployment.add_fault("elevenlabs", "speak", status=403, body=refusal)
        deployment.ask("thanks", user)
        deployment.twilio.say(user, "thanks")
        deployment.twilio.wait_for_voice(user)
        assert {piece.output_format for piece in deployment.synthesised()} == {"opus_48000_32"}
        assert "HTTP 403 subscription_required only_for_creator+" in deployment.log()


@pytest.mark.parametrize("words", ["", "The conversation has expired."])
def test_a_session_that_agentforce_forgot_is_renewed_and_the_question_asked_again(
    deployment: Deployment, words: str
) -> None:
    user = deployment.user()
    deployment.ask("hello", user)
    deployment.sandbox.agentforce.forget_sessions(words)
    assert deployment.ask(QUESTION, user).body.startswith(ANSWER)


def test_a_token_that_was_revoked_is_replaced_by_one_thread(deployment: Deployment) -> None:
    users = [deployment.user() for _ in range(8)]
    for user in users:
        deployment.twilio.say(user, "hello")
    for user in users:
        deployment.answers(user, 1)
    deployment.sandbox.agentforce.forget_tokens()
    deployment.sandbox.recorder.clear()
    for user in users:
        deployment.twilio.say(user, "thanks")
    for user in users:
        deployment.answers(user, 2)
    assert len(deployment.calls("agentforce", "token")) == 1


def test_an_agent_without_a_user_of_its_own_is_served(deployment: Deployment) -> None:
    """bypassUser is refused for employee agents.

    docs/providers/agentforce.md, "Starting a session".
    """
    deployment.sandbox.agentforce.employee_agent = True
    try:
        assert deployment.ask("hello").body.startswith("Hello!")
    finally:
        deployment.sandbox.agentforce.employee_agent = False


def test_a_burst_is_answered_by_providers_with_few_concurrent_requests(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every user gets text and voice, with few refused calls."""
    sandbox = deployment.sandbox
    for provider in (sandbox.twilio, sandbox.agentforce, sandbox.elevenlabs):
        monkeypatch.setattr(
            provider, "latency", LatencyProfile(transcribe=0.1, ask=0.1, speak=0.1, send=0.1)
        )
    monkeypatch.setattr(sandbox.elevenlabs.account, "concurrency", 3)
    monkeypatch.setattr(sandbox.agentforce, "concurrency", 3)
    monkeypatch.setattr(sandbox.twilio, "concurrency", 3)
    users = [deployment.user() for _ in range(16)]
    failed = deployment.counter("turns_failed"), deployment.counter("voice_notes_failed")
    notes = [deployment.note(QUESTION) for _ in users]
    with ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(deployment.twilio.speak, users, notes))
    for user in users:
        deployment.twilio.wait_for_voice(user)
        assert deployment.answers(user, 2)[0].body.startswith(ANSWER)
    assert (deployment.counter("turns_failed"), deployment.counter("voice_notes_failed")) == failed
    assert len(deployment.asked(users[0])) == len(users)
    refused = [call for call in sandbox.recorder.calls() if call.status == 429]
    assert len(refused) <= 2 * len(users)


def test_the_same_text_from_another_number_does_not_count_as_our_answer(
    deployment: Deployment,
) -> None:
    """Another program of the account may write the same text to the same user."""
    user = deployment.user()
    deployment.twilio.say(user, "thanks")
    (known,) = deployment.answers(user, 1)
    deployment.add_fault("twilio", "send", "reset")
    deployment.twilio.send_as("whatsapp:+14155238887", user, known.body)
    deployment.twilio.say(user, "thanks")
    ours = [message for message in deployment.answers(user, 3) if message.sender == known.sender]
    assert [message.body for message in ours] == [known.body] * 2


# Writing is refused for as long as a first message's language takes, as by a disk that is full.
READ_ONLY = """
from storage.preferences import PreferenceTable
from turns import runner
from sqlalchemy.exc import OperationalError

runner.RETRY_SECONDS = 0.1
refusals = iter(range(3))
intact = PreferenceTable.save_language

def refusing(self, sender, language):
    for _ in refusals:
        raise OperationalError("INSERT", {}, Exception("attempt to write a readonly database"))
    intact(self, sender, language)

PreferenceTable.save_language = refusing
"""


def test_a_transcript_is_not_paid_for_again_while_the_database_is_read_only(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(command=planted(READ_ONLY)) as deployment:
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note("Hello"))
        deployment.answers(user, 2)
        assert deployment.log().count("A step of the turn failed") == 3
        for service, call in (("twilio", "media"), ("elevenlabs", "transcribe")):
            assert len(deployment.calls(service, call)) == 1
        assert len(deployment.asked(user)) == 1
