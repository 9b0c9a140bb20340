"""Every stage failing: the user reads one useful message, and the next question is answered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.faults import Fault, Kind
from sandbox.pace import Pace
from tests.e2e.world import World

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
FETCH = "Sorry, I couldn't fetch your voice note."
LISTEN = "Sorry, I can't listen to voice notes right now."
AGENT = "Sorry, I couldn't get an answer."
BUSY = "Sorry, a lot is going on right now."


@pytest.mark.parametrize(
    ("service", "call", "kind", "status"),
    [
        ("agentforce", "token", "status", 503),
        ("agentforce", "token", "reset", 0),
        ("agentforce", "session", "status", 503),
        ("agentforce", "session", "status", 429),
        ("agentforce", "session", "status", 401),
        ("agentforce", "ask", "status", 401),
        ("agentforce", "ask", "status", 423),
        ("agentforce", "ask", "status", 429),
        ("twilio", "media", "status", 404),
        ("twilio", "media", "status", 503),
        ("twilio", "media", "reset", 0),
        ("twilio", "media_cdn", "cut", 0),
        ("twilio", "typing", "status", 500),
        ("twilio", "send", "status", 429),
        ("twilio", "send", "status", 500),
        ("twilio", "send", "reset", 0),
        ("twilio", "send", "vanish", 0),
        ("elevenlabs", "transcribe", "status", 429),
        ("elevenlabs", "transcribe", "status", 500),
        ("elevenlabs", "transcribe", "reset", 0),
        ("elevenlabs", "speak", "status", 429),
        ("elevenlabs", "speak", "status", 503),
        ("elevenlabs", "speak", "cut", 0),
    ],
)
def test_a_failure_that_passes_is_not_noticed(
    world: World, service: str, call: str, kind: Kind, status: int
) -> None:
    """The answer comes once, by text and by voice."""
    if call == "token":
        world.sandbox.agentforce.forget_tokens()
    user = world.user()
    world.sandbox.faults.add(Fault(service, call, kind, status=status or 500))
    world.twilio.speak(user, world.note(QUESTION))
    world.twilio.wait_for_voice(user)
    text, _voice = world.answers(user, 2)
    assert text.body.startswith(ANSWER)
    assert len(world.asked(user)) == 1
    world.expect_no_more(user, 2)


@pytest.mark.parametrize(
    ("service", "call", "kind", "status", "told"),
    [
        ("agentforce", "session", "status", 403, AGENT),
        ("agentforce", "session", "status", 422, AGENT),
        ("agentforce", "ask", "status", 500, AGENT),
        ("agentforce", "ask", "status", 503, AGENT),
        ("agentforce", "ask", "status", 400, AGENT),
        ("agentforce", "ask", "junk", 0, AGENT),
        ("agentforce", "ask", "cut", 0, AGENT),
        ("agentforce", "ask", "reset", 0, AGENT),
        ("agentforce", "ask", "vanish", 0, AGENT),
        ("twilio", "media", "status", 401, FETCH),
        ("twilio", "media_cdn", "status", 403, FETCH),
        ("elevenlabs", "transcribe", "status", 401, LISTEN),
        ("elevenlabs", "transcribe", "status", 422, LISTEN),
    ],
)
def test_a_failure_that_lasts_is_told_once_and_asked_no_second_time(
    world: World, service: str, call: str, kind: Kind, status: int, told: str
) -> None:
    """What may have had an effect is not repeated; the next question is answered."""
    user = world.user()
    world.sandbox.faults.add(Fault(service, call, kind, status=status or 500, times=None))
    world.twilio.speak(user, world.note(QUESTION))
    assert world.answers(user, 1)[0].body.startswith(told)
    assert len(world.sandbox.ledger.calls("agentforce", "ask")) <= 1
    world.sandbox.faults.clear()
    world.expect_no_more(user, 1)


@pytest.mark.parametrize("status", [401, 403])
def test_speech_that_fails_leaves_the_text_alone(world: World, status: int) -> None:
    """Nothing is said of it to the user; it is counted."""
    user = world.user()
    before = world.counter("voice_notes_failed")
    world.sandbox.faults.add(Fault("elevenlabs", "speak", status=status, times=None))
    world.twilio.speak(user, world.note(QUESTION))
    assert world.answers(user, 1)[0].body.startswith(ANSWER)
    world.expect_no_more(user, 1)
    assert world.counter("voice_notes_failed") == before + 1


def test_a_plan_without_opus_still_gets_a_voice_note(world: World) -> None:
    user = world.user()
    account = world.sandbox.elevenlabs.account
    plan, account.plan = account.plan, "free"
    try:
        world.twilio.speak(user, world.note(QUESTION))
        assert world.twilio.wait_for_voice(user).audio_type == "audio/ogg"
    finally:
        account.plan = plan


def test_a_session_that_agentforce_forgot_is_renewed_and_the_question_asked_again(
    world: World,
) -> None:
    user = world.user()
    world.twilio.say(user, "hello")
    world.answers(user, 1)
    world.sandbox.agentforce.forget_sessions()
    world.twilio.say(user, QUESTION)
    assert world.answers(user, 2)[1].body.startswith(ANSWER)


def test_a_token_that_was_revoked_is_replaced_by_one_thread(world: World) -> None:
    users = [world.user() for _ in range(8)]
    for user in users:
        world.twilio.say(user, "hello")
    for user in users:
        world.answers(user, 1)
    world.sandbox.agentforce.forget_tokens()
    world.sandbox.ledger.clear()
    for user in users:
        world.twilio.say(user, "thanks")
    for user in users:
        world.answers(user, 2)
    assert len(world.sandbox.ledger.calls("agentforce", "token")) == 1


def test_an_agent_without_a_user_of_its_own_is_served(world: World) -> None:
    """bypassUser is refused for employee agents (contracts/agentforce.md §2.2)."""
    world.sandbox.agentforce.employee_agent = True
    try:
        user = world.user()
        world.twilio.say(user, "hello")
        assert world.answers(user, 1)[0].body.startswith("Hello!")
    finally:
        world.sandbox.agentforce.employee_agent = False


def test_an_answer_is_kept_while_twilio_takes_none(world: World) -> None:
    """It is not asked for again, and sent once when Twilio is back."""
    user = world.user()
    world.sandbox.faults.add(Fault("twilio", "send", status=503, times=3))
    world.twilio.say(user, QUESTION)
    assert world.answers(user, 1)[0].body.startswith(ANSWER)
    assert len(world.asked(user)) == 1
    world.expect_no_more(user, 1)


def test_an_answer_that_twilio_refuses_is_told_and_holds_nothing_up(world: World) -> None:
    user = world.user()
    world.sandbox.faults.add(Fault("twilio", "send", status=400))
    world.twilio.say(user, QUESTION)
    world.twilio.say(user, "hello")
    apology, answer = world.answers(user, 2)
    assert apology.body.startswith("Sorry, something went wrong")
    assert answer.body.startswith("Hello!")


def test_clouds_that_take_few_at_once_answer_a_burst_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody gets text and voice, and hardly more calls are made than that takes."""
    sandbox = world.sandbox
    for cloud in (sandbox.twilio, sandbox.agentforce, sandbox.elevenlabs):
        monkeypatch.setattr(cloud, "pace", Pace(transcribe=0.1, ask=0.1, speak=0.1, send=0.1))
    monkeypatch.setattr(sandbox.elevenlabs.account, "concurrency", 3)
    monkeypatch.setattr(sandbox.agentforce, "at_once", 3)
    monkeypatch.setattr(sandbox.twilio, "at_once", 3)
    users = [world.user() for _ in range(16)]
    failed = world.counter("turns_failed"), world.counter("voice_notes_failed")
    notes = [world.note(QUESTION) for _ in users]
    with ThreadPoolExecutor(len(users)) as pool:
        list(pool.map(world.twilio.speak, users, notes))
    for user in users:
        world.twilio.wait_for_voice(user)
        assert world.answers(user, 2)[0].body.startswith(ANSWER)
    assert (world.counter("turns_failed"), world.counter("voice_notes_failed")) == failed
    assert len(world.asked(users[0])) == len(users)
    refused = [call for call in sandbox.ledger.calls() if call.status == 429]
    assert len(refused) <= 2 * len(users)
