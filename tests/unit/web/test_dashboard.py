"""What the page makes of the figures; its script runs in V8 here."""

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
def figures() -> MetricsSnapshot:
    return MetricsSnapshot()


def call(engine: MiniRacer, function: str, *arguments: object) -> Any:
    return engine.call(function, *arguments)


def verdict(
    engine: MiniRacer, figures: MetricsSnapshot, health: HealthReport = HEALTHY
) -> tuple[str, str]:
    level, title, _ = call(engine, "verdict", report(figures), health.to_json(), NOW)
    return level, title


def report(figures: MetricsSnapshot) -> dict[str, Any]:
    """As the page gets it, but of all hours: those of ``NOW`` are long gone."""
    hours = [{"from": hour * HOUR, **numbers} for hour, numbers in figures.hours.items()]
    return figures.report(0) | {"hours": hours}


def arrive(figures: MetricsSnapshot, messages: int, failed: int = 0, *, ago: float = 0) -> None:
    figures.count("messages_received", messages, NOW - ago)
    figures.count("turns_failed", failed, NOW - ago)


def test_without_traffic_it_is_ready(engine: MiniRacer, figures: MetricsSnapshot) -> None:
    assert verdict(engine, figures) == ("good", "Ready")
    arrive(figures, 1)
    assert verdict(engine, figures) == ("good", "Messages get answered")


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
def test_what_health_finds_comes_first(
    engine: MiniRacer, figures: MetricsSnapshot, health: HealthReport, expected: tuple[str, str]
) -> None:
    arrive(figures, 100)
    assert verdict(engine, figures, health) == expected


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
def test_failures_count_where_they_are_many_and_of_late(
    engine: MiniRacer, figures: MetricsSnapshot, messages: int, failed: int, ago: float, level: str
) -> None:
    arrive(figures, messages, failed, ago=ago)
    assert verdict(engine, figures)[0] == level


def test_hours_of_the_last_day_end_with_the_one_that_runs(
    engine: MiniRacer, figures: MetricsSnapshot
) -> None:
    arrive(figures, 5)
    arrive(figures, 7, 2, ago=23 * HOUR)
    arrive(figures, 9, ago=24 * HOUR)
    hours = call(engine, "lastDay", report(figures), NOW)
    assert [(hour["received"], hour["failed"]) for hour in hours if hour["received"]] == [
        (7, 2),
        (5, 0),
    ]
    assert [hour["from"] for hour in hours] == [(NOW // HOUR - back) * HOUR for back in range(24)][
        ::-1
    ]


def test_a_turn_waits_for_what_it_has_to_wait_for(
    engine: MiniRacer, figures: MetricsSnapshot
) -> None:
    took = {"download_time": 0.5, "stt_time": 1.0, "session_time": 5.0, "agentforce_time": 2.0}
    took |= {"send_time": 0.25, "tts_time": 0.75}
    for stage, length in took.items():
        figures.stages[stage].add(length)
    found = call(engine, "timeline", report(figures))
    assert {lane["name"]: lane["begin"] for lane in found["lanes"]} == {
        "Session": 0,
        "Download": 0,
        "Transcription": 0.5,
        "Agent": 1.5,
        "Text to Twilio": 3.5,
        "Speech": 3.5,
    }
    # The session was there before, though starting it takes longer than all the rest.
    assert found["total"] == 5.0


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0057, "5.7 ms"), (0.45, "0.45 s"), (12.345, "12.3 s"), (125, "2 min"), (7260, "2 h 1 min")],
)
def test_durations_are_said_as_people_say_them(engine: MiniRacer, value: float, said: str) -> None:
    assert call(engine, "seconds", value).replace("\N{NO-BREAK SPACE}", " ") == said


def test_every_figure_that_the_page_names_exists() -> None:
    assert set(re.findall(r'"(\w+_time)"', SCRIPT)) <= set(STAGES)
    used = re.findall(r"(\w+): \w+(?:, (\w+): \w+)? \} = metrics\.counters", SCRIPT)
    assert {name for pair in used for name in pair} == {"turns_answered", "turns_failed"}
    assert set(re.findall(r"metrics\.counters\.(\w+)", SCRIPT)) <= set(COUNTERS)


def test_ids_that_the_script_looks_for_are_in_the_page() -> None:
    page = (PAGES / "dashboard.html").read_text(encoding="utf-8")
    for name in re.findall(r'(?:byId|write|show)\("([\w-]+)"', SCRIPT):
        assert f'id="{name}"' in page


def test_each_error_comes_with_something_to_do() -> None:
    told = advice()
    assert told["SpeechRefused"].startswith("the key, its permissions")
    leaves = {name for name, each in classes().items() if _is_leaf(each)}
    vague = {name for name in leaves if told[name] == BridgeError.advice}
    # These are never counted.
    assert vague == {"SettingsError", "TurnSuperseded", "ForgedRequest", "MalformedRequest"}


def _is_leaf(kind: type[BridgeError]) -> bool:
    """Other files have classes of their own, for what never gets out of them."""
    return kind.__module__ == "core.errors" and not {
        each for each in kind.__subclasses__() if each.__module__ == "core.errors"
    }


def classes(tree: type[BridgeError] = BridgeError) -> dict[str, type[BridgeError]]:
    found = {tree.__name__: tree}
    for branch in tree.__subclasses__():
        found |= classes(branch)
    return found
