"""Fixtures of a running stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twilio.rest import Client

from sandbox.call_recorder import CallRecorder
from sandbox.faults import Faults
from sandbox.latency import INSTANT
from sandbox.twilio.standin import TwilioStandIn
from tests.sandbox.bot import Bot
from tests.sandbox.twilio.account import ACCOUNT, TOKEN, recording


@pytest.fixture(scope="module")
def note() -> bytes:
    return recording()


@pytest.fixture
def recorder() -> CallRecorder:
    return CallRecorder()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def bot(recorder: CallRecorder) -> Iterator[Bot]:
    bot = Bot(recorder=recorder)
    bot.start()
    yield bot
    bot.stop()


@pytest.fixture
def twilio(recorder: CallRecorder, faults: Faults, bot: Bot) -> Iterator[TwilioStandIn]:
    standin = TwilioStandIn(
        recorder=recorder, faults=faults, latency=INSTANT, account_sid=ACCOUNT, auth_token=TOKEN
    )
    standin.start()
    standin.webhook_url = f"{bot.url}/"
    yield standin
    standin.stop()


@pytest.fixture
def client(twilio: TwilioStandIn) -> Any:
    """Twilio's own SDK."""
    client = Client(ACCOUNT, TOKEN)
    client.api.base_url = client.messaging.base_url = twilio.url
    return client
