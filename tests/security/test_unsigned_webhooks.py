"""A deployment that would accept unsigned webhooks does not start."""

from __future__ import annotations

import pytest

from sandbox.bridge import BridgeDied
from tests.e2e.conftest import StartDeployment


@pytest.mark.parametrize(
    "address", ["https://bot.example.com", "http://bot.example.com", "https://localhost"]
)
def test_unsigned_webhooks_and_a_public_address_stop_the_start(
    start_deployment: StartDeployment, address: str
) -> None:
    """The process logs one sentence that names the setting."""
    with (
        pytest.raises(
            BridgeDied, match=r"Cannot start: UNSIGNED_LOCAL_WEBHOOKS is for .*\."
        ) as died,
        start_deployment(PUBLIC_URL=address, UNSIGNED_LOCAL_WEBHOOKS="true"),
    ):
        pass
    assert "Traceback" not in str(died.value)


def test_an_address_from_heroku_stops_the_start_too(start_deployment: StartDeployment) -> None:
    with (
        pytest.raises(BridgeDied, match="UNSIGNED_LOCAL_WEBHOOKS"),
        start_deployment(
            PUBLIC_URL="",
            HEROKU_APP_DEFAULT_DOMAIN_NAME="bot-1a2b.herokuapp.com",
            UNSIGNED_LOCAL_WEBHOOKS="true",
        ),
    ):
        pass
