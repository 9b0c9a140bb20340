"""Turns of the real service, as the phone shows them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import Sandbox
from sandbox.bridge import Bridge
from sandbox.faults import Fault
from sandbox.phone import Phone
from sandbox.speech.fixture import FixtureSpeech
from tests.sandbox.phone_events import read_parts

# The service waits a little longer before it repeats a call.
PAUSE_SECONDS = 0.4
# Otherwise the start, too, meets the faults that are for the turn.
ONLY_TURNS = {"KEEP_WARM": "false", "AGENTFORCE_SPARE_SESSIONS": "0"}


@pytest.fixture
def phone(sandbox: Sandbox, tmp_path: Path) -> Iterator[Phone]:
    bridge = Bridge(log_file=tmp_path / "log")
    bridge.settings = sandbox.environment(bridge.url) | ONLY_TURNS
    sandbox.connect(bridge.url)
    try:
        bridge.start()
        with Phone(sandbox=sandbox, bridge=bridge, speech=FixtureSpeech()) as phone:
            yield phone
    finally:
        bridge.kill()


def test_the_pause_before_a_repeated_call_is_not_the_providers_time(
    sandbox: Sandbox, phone: Phone
) -> None:
    # The first call only prepares a session, and is not repeated.
    sandbox.faults.add(Fault("agentforce", "session", status=503, times=2))
    turn = _answered_turn(phone, "How do I cancel an invoice?")
    calls = next(each["calls"] for each in turn["stages"] if each["name"] == "Agentforce session")
    assert any(after[0] - before[1] >= PAUSE_SECONDS for before, after in itertools.pairwise(calls))
    assert turn["textAfter"] - turn["providers"] >= PAUSE_SECONDS


def test_a_service_that_was_killed_and_started_again_may_fetch_a_token(
    sandbox: Sandbox, phone: Phone
) -> None:
    _answered_turn(phone, "hello")
    for action in ("kill", "start"):
        assert requests.post(f"{phone.url}api/service/{action}", timeout=60).ok
    _answered_turn(phone, "thanks")
    assert len(sandbox.recorder.calls("agentforce", "token")) == 2
    assert sandbox.recorder.violations == []


def _answered_turn(phone: Phone, text: str) -> dict[str, Any]:
    """Write as a user; returns the turn as the page gets it, when the text answer is there."""
    user = f"{phone.url}api/phones/+15550101"
    assert requests.post(f"{user}/text", json={"text": text}, timeout=10).ok
    with requests.get(f"{user}/events", stream=True, timeout=60) as page:
        turn: dict[str, Any] | None
        for turn in read_parts(page, "turn"):
            if turn and turn["textAfter"] is not None and not turn["running"]:
                return turn
    pytest.fail("the page was closed without an answer")
