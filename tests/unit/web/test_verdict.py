"""What the dashboard's headline says, and how each provider is judged."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from core.models import CheckResult, CheckState
from metrics import Moment
from turns.health import HealthReport
from web.providers import FORGOTTEN_SECONDS, Provider, providers
from web.verdict import Situation, Verdict, verdict

NOW = 1_700_000_000.0
HEALTHY = HealthReport(database=True, workers=1)


def known(calls: Mapping[str, str], *, down: tuple[str, ...] = ()) -> dict[str, Provider]:
    """The providers after calls such as ``{"twilio send": "ok, SendBusy"}``, a minute apart."""
    moments: dict[str, Moment] = {}
    for name, results in calls.items():
        for minutes_ago, result in enumerate(reversed(results.split(", "))):
            at = NOW - 60 * minutes_ago
            happened = f"ok {name}" if result == "ok" else f"failed {name}"
            moment = Moment(at, at, "" if result == "ok" else result)
            moments[happened] = moments.get(happened, moment).then(moment)
    return by_name(moments, down=down)


def by_name(
    moments: Mapping[str, Moment], *, down: tuple[str, ...] = (), now: float = NOW
) -> dict[str, Provider]:
    return {each.name: each for each in providers(moments, down, now)}


def judge(
    found: Mapping[str, Provider] | None = None,
    *,
    health: HealthReport = HEALTHY,
    unanswered: bool = False,
    answered: int = 0,
    failed: int = 0,
    webhooks_refused: bool = False,
    checks: tuple[CheckResult, ...] = (),
) -> Verdict:
    """The verdict; ``unanswered``: a turn has failed since the last answer."""
    return verdict(
        Situation(
            health=health,
            providers=list((found or known({})).values()),
            checks=checks,
            answered=answered,
            failed=failed,
            last_answer_at=NOW - 60,
            last_failed_turn_at=NOW if unanswered else 0.0,
            webhooks_refused=webhooks_refused,
            expected_url="https://bot.example.com/",
            has_messages=True,
        )
    )


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ({}, "unused"),
        ({"elevenlabs synthesis": "ok"}, "working"),
        ({"elevenlabs synthesis": "ok, SpeechUnavailable"}, "failing"),
        ({"elevenlabs synthesis": "SpeechUnavailable, ok"}, "working"),
        ({"elevenlabs synthesis": "SpeechRefused"}, "refused"),
        # A key that may speak and not transcribe.
        ({"elevenlabs transcription": "SpeechRefused, ok, SpeechRefused"}, "refused"),
        (
            {"elevenlabs transcription": "SpeechRefused", "elevenlabs synthesis": "ok"},
            "refused",
        ),
        ({"elevenlabs synthesis": "AnErrorOfANewerRelease"}, "failing"),
    ],
)
def test_a_provider_is_as_its_worst_kind_of_call(calls: dict[str, str], state: str) -> None:
    assert known(calls)["elevenlabs"].state == state


def test_a_provider_that_is_not_called_any_more_is_down() -> None:
    found = known({"salesforce answer": "ok, AgentDown"}, down=("Agentforce answers",))
    assert [found[name].state for name in ("twilio", "salesforce", "elevenlabs")] == [
        "unused",
        "down",
        "unused",
    ]
    assert found["salesforce"].error == "AgentDown"


@pytest.mark.parametrize(
    ("error", "later", "state"),
    [
        ("SendUncertain", FORGOTTEN_SECONDS, "failing"),
        ("SendUncertain", FORGOTTEN_SECONDS + 1, "unused"),
        # Only the operator can mend it, so time alone does not.
        ("SendUnauthorized", 100 * FORGOTTEN_SECONDS, "refused"),
    ],
)
def test_what_fails_by_chance_is_forgotten_after_an_hour(
    error: str, later: float, state: str
) -> None:
    earlier = NOW - 60
    moments = {
        "ok twilio send": Moment(earlier, earlier),
        "failed twilio send": Moment(NOW, NOW, error),
    }
    twilio = by_name(moments, now=NOW + later)["twilio"]
    assert (twilio.state, twilio.last_failure_at) == (state, NOW)


def test_all_is_well() -> None:
    assert judge() == Verdict("good", "Messages are answered")


@pytest.mark.parametrize(
    ("calls", "unanswered", "level", "title"),
    [
        (
            {"salesforce token": "AgentMisconfigured"},
            False,
            "warn",
            "Salesforce refuses our requests",
        ),
        (
            {"salesforce token": "AgentMisconfigured"},
            True,
            "bad",
            "Nobody is answered: Salesforce refuses our requests",
        ),
        (
            {"salesforce token": "AgentMisconfigured", "twilio send": "SendUnauthorized"},
            True,
            "bad",
            "Nobody is answered: Twilio and Salesforce refuse our requests",
        ),
        # Texts are answered without ElevenLabs and without recordings.
        (
            {"elevenlabs synthesis": "SpeechRefused"},
            True,
            "warn",
            "ElevenLabs refuses our requests",
        ),
        ({"twilio media": "MediaRefused"}, True, "warn", "Twilio refuses our requests"),
        # It passes by itself.
        ({"salesforce answer": "AgentDown"}, True, "warn", "The last message was not answered"),
        ({"salesforce answer": "AgentDown"}, False, "good", "Messages are answered"),
    ],
)
def test_refused_credentials(
    calls: dict[str, str], unanswered: bool, level: str, title: str
) -> None:
    found = judge(known(calls), unanswered=unanswered)
    assert (found.level, found.title) == (level, title)
    assert level == "good" or (found.detail.endswith(".") and found.link)


def test_a_provider_that_is_down() -> None:
    found = known({"salesforce session": "AgentUnavailable"}, down=("Agentforce sessions",))
    assert judge(found).title == "Salesforce is down"
    nobody = judge(found, unanswered=True)
    assert (nobody.level, nobody.title) == ("bad", "Nobody is answered: Salesforce does not answer")


@pytest.mark.parametrize(
    ("health", "level", "title"),
    [
        (HealthReport(database=False), "bad", "The database does not answer"),
        (
            HealthReport(database=True, waiting=1, oldest_waiting=9.0),
            "bad",
            "Turns wait and no worker runs them",
        ),
        (
            HealthReport(database=True, workers=1, waiting=9, oldest_waiting=10.0),
            "warn",
            "Answers are late",
        ),
        (
            HealthReport(database=True, workers=1, waiting=9, oldest_waiting=9.9),
            "good",
            "Messages are answered",
        ),
    ],
)
def test_problems_of_health(health: HealthReport, level: str, title: str) -> None:
    found = judge(health=health)
    assert (found.level, found.title) == (level, title)


@pytest.mark.parametrize(
    ("answered", "failed", "unanswered", "title"),
    [
        (12, 3, False, "Many messages are not answered"),
        (13, 3, False, "Messages are answered"),
        (0, 2, True, "The last message was not answered"),
        (0, 2, False, "Messages are answered"),
        (0, 3, True, "Nobody is answered"),
    ],
)
def test_failed_turns_of_the_last_hour(
    answered: int, failed: int, unanswered: bool, title: str
) -> None:
    assert judge(answered=answered, failed=failed, unanswered=unanswered).title == title


def test_refused_webhooks_are_named_with_the_address_that_was_expected() -> None:
    found = judge(webhooks_refused=True)
    assert (found.level, found.title) == ("warn", "Webhooks are refused")
    assert "https://bot.example.com/" in found.detail


def test_a_failed_check_is_named_with_its_hint() -> None:
    well = CheckResult("ffmpeg", "ffmpeg", CheckState.OK, "found")
    skipped = CheckResult("twilio", "Twilio", CheckState.SKIPPED, "not tried")
    failed = CheckResult("voice", "Voice", CheckState.FAILED, "no such voice", "Look it up.")
    assert judge(checks=(well, skipped)).level == "good"
    found = judge(checks=(well, failed))
    assert (found.level, found.title, found.detail) == (
        "warn",
        "Check failed: Voice",
        "Look it up.",
    )
