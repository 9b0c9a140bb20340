"""Requests that anybody may repeat reach the database seldom or never."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.security.planted import planted

# Prints every statement.
PRINTING = """
from sqlalchemy import Engine, event

@event.listens_for(Engine, "before_cursor_execute")
def tell(connection, cursor, statement, *_):
    print("Statement:", " ".join(statement.split()), flush=True)
"""
UNKNOWN_TOKEN = "0" * 32


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(command=planted(PRINTING)) as deployment:
        yield deployment


def test_a_malformed_token_is_not_looked_up(deployment: Deployment) -> None:
    def count_look_ups() -> int:
        return deployment.log().count("FROM voice_notes")

    def fetch(token: str) -> int:
        url = f"{deployment.bridge.url}/media/{token}.ogg"
        return requests.get(url, timeout=10).status_code

    malformed = ("x", UNKNOWN_TOKEN[1:], f"{UNKNOWN_TOKEN}0", UNKNOWN_TOKEN.replace("0", "g", 1))
    assert [fetch(token) for token in malformed] == [404] * len(malformed)
    assert count_look_ups() == 0
    assert fetch(UNKNOWN_TOKEN) == 404
    assert count_look_ups() == 1


def test_health_is_looked_up_about_once_a_second_however_often_it_is_asked_for(
    deployment: Deployment,
) -> None:
    before = deployment.log().count("count(*) FILTER")
    with requests.Session() as session:
        for _ in range(200):
            assert session.get(f"{deployment.bridge.url}/health", timeout=10).status_code == 200
    assert deployment.log().count("count(*) FILTER") - before < 20
