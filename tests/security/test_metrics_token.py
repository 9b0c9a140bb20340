"""Metrics and dashboard of a service at a public address, with and without a token."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

WARNING = "/metrics and /dashboard are closed; set METRICS_TOKEN to open them"
PAGES = (
    "/metrics",
    "/metrics?format=prometheus",
    "/dashboard",
    "/dashboard/state",
    "/dashboard/history",
)
DEPLOYED = {"PUBLIC_URL": "https://bot.example.com", "UNSIGNED_LOCAL_WEBHOOKS": "false"}


@pytest.fixture(scope="module")
def deployment_without_token(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(**DEPLOYED) as deployment:
        yield deployment


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer any"},
        {"Authorization": "Basic Og=="},
        {"Accept": "text/plain; version=0.0.4"},
        {"Host": "127.0.0.1"},
    ],
    ids=["nothing", "empty token", "any token", "empty password", "Prometheus", "local name"],
)
def test_a_public_address_without_a_token_shows_nothing(
    deployment_without_token: Deployment, path: str, headers: dict[str, str]
) -> None:
    """Not even to a local client, because a router may be one."""
    answer = requests.get(deployment_without_token.bridge.url + path, headers=headers, timeout=10)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("Set METRICS_TOKEN to ")
    assert answer.text.endswith(".\n")
    assert answer.text.count("\n") == 1


def test_the_start_logs_that_they_are_closed(deployment_without_token: Deployment) -> None:
    assert deployment_without_token.log().count(WARNING) == 1


@pytest.mark.parametrize("path", ["/", "/health"])
def test_liveness_and_health_stay_open(deployment_without_token: Deployment, path: str) -> None:
    assert requests.get(deployment_without_token.bridge.url + path, timeout=10).status_code == 200


def test_the_token_opens_metrics_and_dashboard(start_deployment: StartDeployment) -> None:
    with start_deployment(METRICS_TOKEN="open-sesame", **DEPLOYED) as deployment:
        for path in PAGES:
            url = deployment.bridge.url + path
            assert requests.get(url, timeout=10).status_code == 401
            token = {"Authorization": "Bearer open-sesame"}
            assert requests.get(url, headers=token, timeout=10).status_code == 200
        assert WARNING not in deployment.log()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_metrics_and_dashboard_are_open_at_a_local_address(
    start_deployment: StartDeployment, host: str
) -> None:
    with start_deployment(PUBLIC_URL=f"http://{host}:8000") as deployment:
        for path in PAGES:
            assert requests.get(deployment.bridge.url + path, timeout=10).status_code == 200
        assert WARNING not in deployment.log()
