"""The phone's button that kills the service and starts it again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox import Sandbox
from sandbox.bridge import Bridge
from sandbox.phone import Phone
from sandbox.speech.fixture import FixtureSpeech
from tests.sandbox.phone_events import read_parts
from tests.sandbox.stub import COMMAND

# The page hears of a change much sooner, and of nothing else for longer.
SECONDS = 8


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    bridge = Bridge(log_file=tmp_path / "web.log", command=[*COMMAND, "web"])
    bridge.start()
    yield bridge
    bridge.kill()


@pytest.fixture
def phone(sandbox: Sandbox, bridge: Bridge) -> Iterator[Phone]:
    with Phone(sandbox=sandbox, bridge=bridge, speech=FixtureSpeech()) as phone:
        yield phone


def test_the_page_shows_a_service_that_others_kill_and_start(phone: Phone, bridge: Bridge) -> None:
    """It does not start a second one then."""
    with requests.get(_url(phone, "phones/+15550101/events"), stream=True, timeout=SECONDS) as page:
        states = _states(page)
        assert next(states) == "running"
        os.kill(bridge.pid, signal.SIGKILL)
        assert next(states) == "killed"
        bridge.start()
        while (state := next(states)) != "running":
            assert state == "starting"
    pid = bridge.pid
    assert requests.post(_url(phone, "service/start"), timeout=SECONDS).ok
    assert bridge.pid == pid


def test_a_service_that_others_killed_can_be_started_on_the_page(
    phone: Phone, bridge: Bridge
) -> None:
    killed = bridge.pid
    os.kill(killed, signal.SIGKILL)
    with requests.get(_url(phone, "phones/+15550101/events"), stream=True, timeout=SECONDS) as page:
        states = _states(page)
        while next(states) != "killed":
            pass
    assert requests.post(_url(phone, "service/start"), timeout=60).ok
    assert bridge.is_running()
    assert bridge.pid != killed


def _states(page: requests.Response) -> Iterator[str]:
    """The states of the service in the page's events."""
    return (service["state"] for service in read_parts(page, "service"))


def _url(phone: Phone, path: str) -> str:
    return f"{phone.url}api/{path}"
