"""The dashboard's history shows what was sent: over processes, restarts and kills."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from sandbox.bridge import Bridge
from sandbox.cluster import Cluster
from sandbox.elevenlabs.catalogue import VOICE_MODELS
from sandbox.elevenlabs.standin import Synthesis
from tests.e2e.conftest import ECHO_AGENT, StartCluster
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

# Prices that make a cost easy to check.
PRICES = {
    "PRICE_PER_QUESTION": "0.5",
    "PRICE_PER_MESSAGE": "0.25",
    "PRICE_PER_1000_CREDITS": "100",
    "PRICE_PER_TRANSCRIBED_HOUR": "3600",
    "CURRENCY": "EUR",
}
SLOW_SECONDS = 1.0
DAILY = 20

# What each user writes in the first and in the second half, ten messages each.
ENGLISH, ARABIC = "Please tell me about my order", "من فضلك أخبرني عن طلبي"
SCRIPT = [ENGLISH] * 5 + [
    ARABIC,
    # Not “voice off”, which the pages name and which would be found there as what a user wrote.
    "turn voice off",
    "This question is broken",
    "Answer this slowly",
    ARABIC,
]
# 108 messages, or 508.
USERS = (5, pytest.param(25, marks=pytest.mark.slow))
VOICE_NOTES = 8


def credits_of(synthesis: Synthesis) -> int:
    return VOICE_MODELS[synthesis.model].credits(synthesis.text)


def history(web: Bridge, window: str = "hour") -> dict[str, Any]:
    answer = requests.get(f"{web.url}/dashboard/history?window={window}", timeout=10)
    assert answer.status_code == 200
    return dict(answer.json())


def total(web: Bridge, window: str = "hour") -> dict[str, Any]:
    return dict(history(web, window)["total"])


def ended(web: Bridge) -> int:
    counted = total(web)
    return int(counted["answered"] + counted["failed"])


def delivered(web: Bridge) -> int:
    return int(total(web)["deliveries"]["delivered"])


def most(web: Bridge, gauge: str) -> int:
    return max(int(point[gauge]) for point in history(web)["points"])


def figures(web: Bridge, window: str) -> dict[str, Any]:
    shown = history(web, window)
    names = ("answered", "failed", "messages", "texts", "text_latency", "stages")
    return {name: shown["total"][name] for name in names} | {"costs": shown["costs"]}


def sent(deployment: Deployment) -> int:
    """The messages of which Twilio reports what became of them."""
    return sum(message.callback is not None for message in deployment.twilio.messages())


def write(deployment: Deployment, users: list[str]) -> None:
    """All users write their script, each one message after the other."""

    def write_all(user: str) -> None:
        for text in SCRIPT:
            assert deployment.twilio.say(user, text).status == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_all, users))


@dataclass(frozen=True)
class Load:
    """What ``users`` have written, each the script twice, and some others have said."""

    users: int
    deployment: Deployment
    cluster: Cluster

    @property
    def web(self) -> Bridge:
        """The one that was killed and started anew."""
        return self.cluster.webs[0]

    @property
    def scripts(self) -> int:
        return 2 * self.users


@pytest.fixture(scope="module", params=USERS)
def load(request: pytest.FixtureRequest, start_cluster: StartCluster) -> Iterator[Load]:
    """Two webs and two workers, of which one each was replaced in the middle."""
    number: int = request.param
    with start_cluster(
        helpdesk_file=ECHO_AGENT,
        BREAKER_FAILURES="0",
        SENDER_TURNS_PER_DAY=str(DAILY),
        SENDER_TURNS_PER_MINUTE="0",
        **PRICES,
    ) as (deployment, cluster):
        deployment.add_fault("agentforce", "ask", "status", status=503, about="broken", times=None)
        deployment.add_fault(
            "agentforce", "ask", "hang", seconds=SLOW_SECONDS, about="slowly", times=None
        )
        users = [deployment.user() for _ in range(number)]
        speakers = [deployment.user() for _ in range(VOICE_NOTES)]
        write(deployment, users)
        # The worker ends in good order, with turns that run and wait; the web is killed.
        cluster.workers[0].stop()
        cluster.workers[0].start()
        other = cluster.webs[1]
        wait_until(lambda: ended(other) == number * 10, "all turns are saved")
        wait_until(lambda: delivered(other) == sent(deployment), "all deliveries are saved")
        cluster.webs[0].kill()
        cluster.webs[0].start()
        # One turn runs until it was seen: the gauges are read every few seconds only.
        held = deployment.add_fault("agentforce", "ask", "hang", seconds=60, about=ENGLISH)
        write(deployment, users)
        wait_until(lambda: most(other, "running") > 0, "a running turn is seen")
        deployment.sandbox.faults.remove(held)
        for user in speakers:
            deployment.twilio.speak(user, deployment.note(ENGLISH))
        for user in speakers:
            deployment.twilio.wait_for_voice(user)
        # More than a day's quota; these are no messages of the figures.
        for user in users[:3]:
            assert deployment.twilio.say(user, ENGLISH).status == 200
        wait_until(lambda: ended(other) == number * 20 + VOICE_NOTES, "all turns are counted")
        yield Load(number, deployment, cluster)


def test_the_history_shows_what_was_sent(load: Load) -> None:
    counted = total(load.web)
    expected = {
        "messages": load.scripts * 10 + VOICE_NOTES,
        "texts": load.scripts * 9,
        "voice_notes": VOICE_NOTES,
        "commands": load.scripts,
        "answered": load.scripts * 9 + VOICE_NOTES,
        "failed": load.scripts,
    }
    assert {name: counted[name] for name in expected} == expected
    assert counted["text_latency"]["count"] == load.scripts * 8
    assert counted["voice_latency"]["count"] == VOICE_NOTES
    languages = {each["language"]: each["count"] for each in counted["languages"]}
    assert languages == {"en": load.scripts * 6 + VOICE_NOTES, "ar": load.scripts * 2}
    assert [(each["name"], each["count"]) for each in counted["failures"]] == [
        ("AgentDown", load.scripts)
    ]
    assert counted["limits"] == [
        {"name": "limit_day", "title": "A sender's messages a day", "count": 3}
    ]


def test_known_delays_show_in_the_percentiles(load: Load) -> None:
    """One of eight answers took a second longer."""
    counted = total(load.web)
    agent = next(each for each in counted["stages"] if each["name"] == "agentforce_time")
    assert agent["count"] == load.scripts * 8 + VOICE_NOTES
    assert agent["p50"] < SLOW_SECONDS * 0.95 < agent["p95"]
    assert counted["text_latency"]["p95"] > SLOW_SECONDS * 0.95


def test_deliveries_are_those_that_twilio_reported(load: Load) -> None:
    web = load.web
    wait_until(lambda: delivered(web) == sent(load.deployment), "all deliveries are counted", 10)


def test_all_windows_and_all_processes_show_the_same(load: Load) -> None:
    views = list(itertools.product(load.cluster.webs, ("hour", "day", "week")))

    def differ() -> list[tuple[str, str]]:
        """What is not the same everywhere; each process saves and reads every few seconds."""
        hour = figures(load.web, "hour")
        others = [(window, figures(web, window)) for web, window in views]
        return [
            (window, name) for window, other in others for name in hour if other[name] != hour[name]
        ]

    wait_until(lambda: not differ(), "all show the same")
    for web, window in views:
        other = history(web, window)
        points = other["points"]
        assert sum(point["messages"] for point in points) == other["total"]["messages"]
        assert [point["at"] for point in points] == list(
            range(other["from"], other["to"], other["step"])
        )


def test_gauges_show_the_most_that_was_seen(load: Load) -> None:
    """For a while, a worker counts that was replaced."""
    assert most(load.web, "running") > 0
    wait_until(lambda: most(load.web, "workers") in (2, 3), "the workers are seen")


def test_costs_are_amounts_times_prices(load: Load) -> None:
    costs = history(load.web)["costs"]
    lines = {line["title"]: line for line in costs["lines"]}
    sessions = len(load.deployment.calls("agentforce", "session"))
    assert costs["conversations"] == sessions == load.users + VOICE_NOTES
    asked = len(load.deployment.calls("agentforce", "ask"))
    assert lines["Questions"] == {
        "title": "Questions",
        "amount": asked,
        "unit": "questions",
        "cost": asked * 0.5,
    }
    credits = sum(map(credits_of, load.deployment.synthesised()))
    assert (lines["Speech"]["amount"], lines["Speech"]["cost"]) == (credits, credits * 0.1)
    assert lines["Transcription"]["amount"] == VOICE_NOTES * 2
    assert lines["Conversations"]["cost"] is None
    known = [line["cost"] for line in costs["lines"] if line["cost"] is not None]
    assert costs["total"] == pytest.approx(sum(known))
    assert costs["per_conversation"] == pytest.approx(costs["total"] / sessions)
    assert costs["currency"] == "EUR"
