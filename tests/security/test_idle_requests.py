"""What strangers may ask for as often as they like reaches the database seldom, or never."""

from __future__ import annotations

import requests

from tests.e2e.conftest import StartDeployment
from tests.security.planted import planted

# Says of each statement that it is one.
TALKATIVE = """
from sqlalchemy import Engine, event

@event.listens_for(Engine, "before_cursor_execute")
def tell(connection, cursor, statement, *_):
    print("Statement:", " ".join(statement.split()), flush=True)
"""
NOBODYS = "0" * 32


def test_a_token_that_can_be_none_is_not_looked_up(start_deployment: StartDeployment) -> None:
    with start_deployment(command=planted(TALKATIVE)) as deployment:

        def looked_up() -> int:
            return deployment.log().count("FROM voice_notes")

        for token in ("x", NOBODYS[1:], f"{NOBODYS}0", NOBODYS.replace("0", "g", 1)):
            answer = requests.get(f"{deployment.bridge.url}/media/{token}.ogg", timeout=10)
            assert (answer.status_code, looked_up()) == (404, 0)
        assert (
            requests.get(f"{deployment.bridge.url}/media/{NOBODYS}.ogg", timeout=10).status_code
            == 404
        )
        assert looked_up() == 1


def test_health_is_looked_up_once_a_second_whoever_asks(start_deployment: StartDeployment) -> None:
    with start_deployment(command=planted(TALKATIVE)) as deployment, requests.Session() as session:
        for _ in range(200):
            assert session.get(f"{deployment.bridge.url}/health", timeout=10).status_code == 200
        assert deployment.log().count("count(*) FILTER") < 20
