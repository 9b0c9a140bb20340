"""What the dashboard shows for given metrics; its script runs in V8."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from py_mini_racer import MiniRacer

from core.errors import BridgeError
from metrics import COUNTERS, HOUR, STAGES, MetricsSnapshot
from turns.health import HealthReport
from web.monitoring import advice

PAGES = Path(__file__).resolve().parents[3] / "web" / "dashboard"
SCRIPT = (PAGES / "dashboard.js").read_text(encoding="utf-8")
NOW = 1_700_000_000
HEALTHY = HealthReport(database=True, workers=1)


@pytest.fixture(scope="module")
def engine() -> MiniRacer:
    engine = MiniRacer()
    engine.eval(SCRIPT)
    return engine


@pytest.fixture
def snapshot() -> MetricsSnapshot:
    return MetricsSnapshot()


def call(engine: MiniRacer, function: str, *arguments: object) -> Any:
    return engine.call(function, *arguments)


def verdict(
    engine: MiniRacer, snapshot: MetricsSnapshot, health: HealthReport = HEALTHY
) -> tuple[str, str]:
    level, title, _ = call(engine, "verdict", report(snapshot), health.to_json(), NOW)
    return level, title


def report(snapshot: MetricsSnapshot) -> dict[str, Any]:
    """As the page gets it, but with all hours: the hours around ``NOW`` are long past."""
    hours = [{"from": hour * HOUR, **numbers} for hour, numbers in snapshot.hours.items()]
    return snapshot.report(0) | {"hours": hours}


def arrive(snapshot: MetricsSnapshot, messages: int, failed: int = 0, *, ago: float = 0) -> None:
    snapshot.count("messages_received", messages, NOW - ago)
    snapshot.count("turns_failed", failed, NOW - ago)


def test_without_traffic_the_service_is_ready(engine: MiniRacer, snapshot: MetricsSnapshot) -> None:
    assert verdict(engine, snapshot) == ("good", "Ready")
    arrive(snapshot, 1)
    assert verdict(engine, snapshot) == ("good", "Messages get answered")


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (HealthReport(database=False), ("bad", "The database does not answer")),
        (
            HealthReport(database=True, waiting=1, oldest_waiting=9.0),
            ("bad", "Turns wait and no worker runs them"),
        ),
        (
            HealthReport(database=True, workers=1, waiting=9, oldest_waiting=10.0),
            ("warn", "Answers are late"),
        ),
        (
            HealthReport(database=True, workers=1, waiting=9, oldest_waiting=9.9),
            ("good", "Messages get answered"),
        ),
    ],
)
def test_problems_of_health_come_first(
    engine: MiniRacer, snapshot: MetricsSnapshot, health: HealthReport, expected: tuple[str, str]
) -> None:
    arrive(snapshot, 100)
    assert verdict(engine, snapshot, health) == expected


@pytest.mark.parametrize(
    ("messages", "failed", "ago", "level"),
    [
        (15, 3, 0, "warn"),
        (15, 3, HOUR, "warn"),
        (15, 3, 2 * HOUR, "good"),
        (16, 3, 0, "good"),
        (2, 2, 0, "good"),
    ],
)
def test_many_recent_failures_are_a_warning(
    engine: MiniRacer, snapshot: MetricsSnapshot, messages: int, failed: int, ago: float, level: str
) -> None:
    arrive(snapshot, messages, failed, ago=ago)
    assert verdict(engine, snapshot)[0] == level


def test_the_last_day_ends_with_the_current_hour(
    engine: MiniRacer, snapshot: MetricsSnapshot
) -> None:
    arrive(snapshot, 5)
    arrive(snapshot, 7, 2, ago=23 * HOUR)
    arrive(snapshot, 9, ago=24 * HOUR)
    hours = call(engine, "lastDay", report(snapshot), NOW)
    assert [(hour["received"], hour["failed"]) for hour in hours if hour["received"]] == [
        (7, 2),
        (5, 0),
    ]
    assert [hour["from"] for hour in hours] == [(NOW // HOUR - back) * HOUR for back in range(24)][
        ::-1
    ]


def test_the_timeline_shows_when_each_stage_begins(
    engine: MiniRacer, snapshot: MetricsSnapshot
) -> None:
    took = {"download_time": 0.5, "stt_time": 1.0, "session_time": 5.0, "agentforce_time": 2.0}
    took |= {"send_time": 0.25, "tts_time": 0.75}
    for stage, length in took.items():
        snapshot.stages[stage].add(length)
    found = call(engine, "timeline", report(snapshot))
    assert {lane["name"]: lane["begin"] for lane in found["lanes"]} == {
        "Session": 0,
        "Download": 0,
        "Transcription": 0.5,
        "Agent": 1.5,
        "Text to Twilio": 3.5,
        "Speech": 3.5,
    }
    # Starting the session takes longest, but the agent does not wait for it: it was started before.
    assert found["total"] == 5.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0057, "5.7 ms"), (0.45, "0.45 s"), (12.345, "12.3 s"), (125, "2 min"), (7260, "2 h 1 min")],
)
def test_durations_are_readable(engine: MiniRacer, value: float, text: str) -> None:
    assert call(engine, "seconds", value).replace("\N{NO-BREAK SPACE}", " ") == text


def test_the_script_uses_existing_metrics_only() -> None:
    assert set(re.findall(r'"(\w+_time)"', SCRIPT)) <= set(STAGES)
    used = re.findall(r"(\w+): \w+(?:, (\w+): \w+)? \} = metrics\.counters", SCRIPT)
    assert {name for pair in used for name in pair} == {"turns_answered", "turns_failed"}
    assert set(re.findall(r"metrics\.counters\.(\w+)", SCRIPT)) <= set(COUNTERS)


def test_the_page_has_the_ids_that_the_script_uses() -> None:
    page = (PAGES / "dashboard.html").read_text(encoding="utf-8")
    for name in re.findall(r'(?:byId|write|show)\("([\w-]+)"', SCRIPT):
        assert f'id="{name}"' in page


def test_each_error_has_advice() -> None:
    advices = advice()
    assert advices["SpeechRefused"].startswith("the key, its permissions")
    leaves = {name for name, each in classes().items() if _is_leaf(each)}
    vague = {name for name in leaves if advices[name] == BridgeError.advice}
    # These are never counted as errors of a turn.
    assert vague == {"SettingsError", "TurnSuperseded", "ForgedRequest", "MalformedRequest"}


def _is_leaf(kind: type[BridgeError]) -> bool:
    """Other modules have classes of their own, which their callers handle."""
    return kind.__module__ == "core.errors" and not {
        each for each in kind.__subclasses__() if each.__module__ == "core.errors"
    }


def classes(tree: type[BridgeError] = BridgeError) -> dict[str, type[BridgeError]]:
    found = {tree.__name__: tree}
    for branch in tree.__subclasses__():
        found |= classes(branch)
    return found
