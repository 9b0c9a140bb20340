"""Unsigned webhooks are for programs on this machine: a public deployment that would accept them
does not start, and no web page that its user visits can send them.
"""

from __future__ import annotations

import pytest
import requests

from sandbox.bridge import BridgeDied
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment


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


def test_a_web_page_sends_no_message(deployment: Deployment) -> None:
    """A browser names the page's origin, also after DNS rebinding."""
    user = deployment.user()
    form = deployment.twilio.forms.text(user, "hello")
    for origin in ("https://evil.example", "null", deployment.bridge.url):
        answer = requests.post(
            deployment.bridge.url, data=form, headers={"Origin": origin}, timeout=10
        )
        assert answer.status_code == 403
    assert not deployment.calls()
    deployment.twilio.deliver(form)
    assert len(deployment.answers(user, 1)) == 1


@pytest.mark.parametrize("path", ["/metrics", "/dashboard", "/health"])
def test_a_page_whose_name_leads_to_this_machine_reads_nothing(
    deployment: Deployment, path: str
) -> None:
    """That is DNS rebinding."""
    url = f"{deployment.bridge.url}{path}"
    port = deployment.bridge.port
    for host, status in (("evil.example", 400), ("localhost", 200), ("127.0.0.1", 200)):
        answer = requests.get(url, headers={"Host": f"{host}:{port}"}, timeout=10)
        assert answer.status_code == status
