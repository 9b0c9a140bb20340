"""Figures of a service at a public address that nobody guards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.e2e.conftest import StartWorld
from tests.e2e.world import World

WARNING = "/metrics and /dashboard are closed; set METRICS_TOKEN to open them"
PAGES = ("/metrics", "/metrics?format=prometheus", "/dashboard")
DEPLOYED = {"PUBLIC_URL": "https://bot.example.com", "UNSIGNED_LOCAL_WEBHOOKS": "false"}


@pytest.fixture(scope="module")
def unguarded(start_world: StartWorld) -> Iterator[World]:
    with start_world(**DEPLOYED) as world:
        yield world


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
    unguarded: World, path: str, headers: dict[str, str]
) -> None:
    """Not even to this machine, from which a router's requests come too."""
    answer = requests.get(unguarded.bridge.url + path, headers=headers, timeout=10)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("Set METRICS_TOKEN to ")
    assert answer.text.endswith(".\n")
    assert answer.text.count("\n") == 1


def test_the_start_says_so(unguarded: World) -> None:
    assert unguarded.log().count(WARNING) == 1


@pytest.mark.parametrize("path", ["/", "/health"])
def test_who_watches_the_service_still_may(unguarded: World, path: str) -> None:
    assert requests.get(unguarded.bridge.url + path, timeout=10).status_code == 200


def test_a_token_opens_them(start_world: StartWorld) -> None:
    with start_world(METRICS_TOKEN="open-sesame", **DEPLOYED) as world:
        for path in PAGES:
            url = world.bridge.url + path
            assert requests.get(url, timeout=10).status_code == 401
            token = {"Authorization": "Bearer open-sesame"}
            assert requests.get(url, headers=token, timeout=10).status_code == 200
        assert WARNING not in world.log()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_on_this_machine_they_are_open(start_world: StartWorld, host: str) -> None:
    with start_world(PUBLIC_URL=f"http://{host}:8000") as world:
        for path in PAGES:
            assert requests.get(world.bridge.url + path, timeout=10).status_code == 200
        assert WARNING not in world.log()
