"""Status callbacks: counted, and followed by second attempts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests

from sandbox.twilio.messages import Outbound
from sandbox.twilio.sid import new_sid
from storage.engine import FILE_NAME
from tests.e2e.conftest import PATIENT, StartDeployment
from tests.e2e.deployment import Deployment
from tests.e2e.test_restart import FOR_EVER
from tests.sandbox.waiting import wait_until

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
STATES = ("delivered", "read", "undelivered", "failed")


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """A service whose users read everything they get."""
    with start_deployment() as deployment:
        deployment.twilio.delivery_simulator.read_receipts = True
        yield deployment


class Counts:
    """The counters since a test began; every test waits for all that it caused."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._before = self._now()

    def wait_for(self, **wanted: int) -> None:
        expected = dict.fromkeys(STATES, 0) | wanted
        wait_until(lambda: self.since() == expected, f"the counts {expected}")

    def since(self) -> dict[str, int]:
        return {state: number - self._before[state] for state, number in self._now().items()}

    def _now(self) -> dict[str, int]:
        counters = self._deployment.metrics()["counters"]
        return {state: counters[f"messages_{state}"] for state in STATES}


@pytest.fixture
def counts(deployment: Deployment) -> Counts:
    return Counts(deployment)


def voices(deployment: Deployment, user: str) -> list[Outbound]:
    return [message for message in deployment.twilio.messages(user) if message.media_url]


def failures(deployment: Deployment, code: int) -> int:
    return int(deployment.metrics()["delivery_errors"].get(str(code), 0))


def post_signed(deployment: Deployment, address: str, form: dict[str, str]) -> int:
    """Post a signed callback to ``address``; returns the HTTP status."""
    return post(address, form, **deployment.signature(address, form))


def post(address: str, form: dict[str, str], **headers: str) -> int:
    return requests.post(address, data=form, headers=headers, timeout=10).status_code


def make_status(deployment: Deployment, **fields: str) -> dict[str, str]:
    account = deployment.bridge.settings["TWILIO_ACCOUNT_SID"]
    status = {"MessageSid": new_sid("SM"), "MessageStatus": "read", "AccountSid": account}
    return status | fields


def execute(deployment: Deployment, statement: str) -> None:
    """Change the bridge's database behind its back."""
    with closing(sqlite3.connect(deployment.bridge.state_dir / FILE_NAME)) as file:
        file.execute(statement)


def test_delivered_and_read_messages_are_counted(deployment: Deployment, counts: Counts) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.twilio.wait_for_voice(user)
    counts.wait_for(delivered=2, read=2)
    scraped = requests.get(f"{deployment.bridge.url}/metrics?format=prometheus", timeout=10).text
    assert "\nbridge_messages_read_total " in scraped


@pytest.mark.parametrize("manner", ["twice", "reversed", "early"])
def test_repeated_reordered_and_early_callbacks_count_once(
    deployment: Deployment, counts: Counts, manner: Any
) -> None:
    """Early ones come before the service knows the SID of the message."""
    user = deployment.user()
    deployment.add_fault("twilio", "callback", manner, times=None)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.twilio.wait_for_voice(user)
    counts.wait_for(delivered=2, read=2)
    deployment.expect_no_more(user, 2)
    counts.wait_for(delivered=3, read=3)


def test_forged_callbacks_are_not_counted(deployment: Deployment, counts: Counts) -> None:
    user = deployment.user()
    before = deployment.counter("signatures_rejected")
    deployment.add_fault("twilio", "callback", "unsigned")
    deployment.twilio.say(user, "hello")
    wait_until(lambda: deployment.counter("signatures_rejected") == before + 3, "three refusals")
    counts.wait_for()


@pytest.mark.parametrize("code", [63019, 63021])
def test_a_voice_note_that_twilio_cannot_use_is_sent_once_more_as_mp3(
    deployment: Deployment, counts: Counts, code: int
) -> None:
    user = deployment.user()
    known, resent = failures(deployment, code), deployment.counter("voice_notes_resent")
    deployment.add_fault("twilio", "voice", "undelivered", code=code)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    voice = deployment.twilio.wait_for_voice(user)
    assert (voice.audio_type, voice.error_code) == ("audio/mpeg", None)
    assert deployment.hear(voice).startswith(ANSWER)
    counts.wait_for(delivered=2, read=2, undelivered=1)
    assert failures(deployment, code) == known + 1
    wait_until(lambda: deployment.counter("voice_notes_resent") == resent + 1, "the count")
    assert voice.media_url
    assert voice.media_url.endswith(".mp3")
    as_ogg = requests.get(voice.media_url.replace(".mp3", ".ogg"), timeout=10)
    assert as_ogg.status_code == 404


def test_a_voice_note_is_sent_again_only_once(deployment: Deployment, counts: Counts) -> None:
    """Second attempts are made in order, so that of a later turn proves that this one has ended."""
    user = deployment.user()
    for failing in (1, 2):
        deployment.add_fault("twilio", "voice", "undelivered", code=63019, times=2)
        deployment.twilio.speak(user, deployment.note(QUESTION))
        counts.wait_for(delivered=failing, read=failing, undelivered=2 * failing)
    assert len(voices(deployment, user)) == 4


def test_a_text_outside_the_24_hour_window_is_logged_and_not_repeated(
    deployment: Deployment, counts: Counts
) -> None:
    user = deployment.user()
    known = failures(deployment, 63016)
    deployment.add_fault("twilio", "text", "undelivered", code=63016)
    deployment.twilio.say(user, "hello")
    counts.wait_for(undelivered=1)
    assert failures(deployment, 63016) == known + 1
    wait_until(lambda: "Not delivered (63016): " in deployment.log(), "the log line")
    assert user.removeprefix("whatsapp:") not in deployment.log()
    deployment.expect_no_more(user, 1)
    counts.wait_for(undelivered=1, delivered=1, read=1)


@pytest.mark.slow
def test_a_process_that_dies_during_a_second_attempt_makes_no_third(
    start_deployment: StartDeployment,
) -> None:
    """The second attempt of another turn after the restart proves that this turn makes none."""
    with start_deployment(**PATIENT) as deployment:
        user, sends = deployment.user(), deployment.sandbox.recorder
        deployment.add_fault("twilio", "voice", "undelivered", code=63019)
        deployment.add_fault("twilio", "send", "hang", seconds=FOR_EVER, after=2)
        deployment.twilio.speak(user, deployment.note(QUESTION))
        sends.wait_for(lambda: sends.calls("twilio", "send")[2:])
        deployment.bridge.kill()
        deployment.sandbox.agentforce.forget_tokens()
        deployment.bridge.start()
        other = deployment.user()
        deployment.add_fault("twilio", "voice", "undelivered", code=63019)
        deployment.twilio.speak(other, deployment.note(QUESTION))
        assert deployment.twilio.wait_for_voice(other).audio_type == "audio/mpeg"
        assert len(voices(deployment, user)) == 1


def test_a_callback_is_counted_once_the_database_works_again(
    deployment: Deployment, counts: Counts
) -> None:
    user = deployment.user()
    deployment.twilio.delivery_simulator.read_receipts = False
    deployment.twilio.say(user, "hello")
    (text,) = deployment.answers(user, 1)
    counts.wait_for(delivered=1)
    deployment.twilio.delivery_simulator.read_receipts = True
    execute(deployment, "ALTER TABLE sendings RENAME TO elsewhere")
    assert text.callback
    assert (
        post_signed(deployment, text.callback, make_status(deployment, MessageSid=text.sid)) == 204
    )
    counts.wait_for(delivered=1)
    execute(deployment, "ALTER TABLE elsewhere RENAME TO sendings")
    counts.wait_for(delivered=1, read=1)


def test_a_status_needs_a_signature_for_its_address(deployment: Deployment, counts: Counts) -> None:
    form, address = make_status(deployment), f"{deployment.bridge.url}/status"
    assert post_signed(deployment, address, form) == 204
    assert post_signed(deployment, f"{address}?sending=nobody%20knows", form) == 204
    assert post_signed(deployment, address, form | {"AccountSid": f"AC{'0' * 32}"}) == 403
    for elsewhere in (f"{deployment.bridge.url}/", f"{address}?sending=another"):
        assert post(address, form, **deployment.signature(elsewhere, form)) == 403
    assert post(address, form, **{"X-Forwarded-For": "203.0.113.9"}) == 403
    counts.wait_for()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"MessageSid": "../etc"}, 400),
        ({"MessageStatus": ""}, 400),
        ({"MessageStatus": "of Twilio's next year"}, 204),
        ({"Body": "x" * 300_000}, 413),
    ],
)
def test_a_malformed_callback_is_a_clear_error(
    deployment: Deployment, counts: Counts, change: dict[str, str], answer: int
) -> None:
    assert (
        post_signed(
            deployment, f"{deployment.bridge.url}/status", make_status(deployment, **change)
        )
        == answer
    )
    counts.wait_for()


@pytest.mark.parametrize(
    ("given", "logged"),
    [
        ("Message \x1b[2Jfailed\nto send (#131000)", "Message [2Jfailed to send (#131000)"),
        ("Message to +1 415 555 0100 failed", ""),
    ],
)
def test_the_text_of_the_channel_is_logged_unless_it_may_hold_personal_data(
    deployment: Deployment, counts: Counts, given: str, logged: str
) -> None:
    user = deployment.user()
    deployment.add_fault("twilio", "callback", "unsigned")
    delivery = deployment.twilio.say(user, "hello")
    (text,) = deployment.answers(user, 1)
    assert text.callback
    failure = {"MessageStatus": "undelivered", "ErrorCode": "63009", "ChannelStatusMessage": given}
    form = make_status(deployment, MessageSid=text.sid, **failure)
    assert post_signed(deployment, text.callback, form) == 204
    counts.wait_for(undelivered=1)

    def lines() -> list[str]:
        everything = deployment.log().splitlines()
        return [line for line in everything if delivery.sid in line and "Not delivered" in line]

    wait_until(lambda: len(lines()) == 1, "the log line")
    (line,) = lines()
    assert "Not delivered (63009): WhatsApp failed" in line
    assert ("channel=" in line) is bool(logged)
    assert logged in line
    assert "0100" not in line
