"""The pages that the dashboard links to."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from agentforce import SessionGone
from speech.refusals import FormatRefused
from turns.health import HealthReport
from web.advice import TITLES, error_advice, error_classes
from web.handbook import DOCS, HANDBOOK, PAGES, bad_day, handbook_page
from web.providers import Call, Provider
from web.verdict import Situation, verdict

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    app = Flask(__name__, template_folder=str(ROOT / "web" / "dashboard"))
    app.add_url_rule(f"{HANDBOOK}/<name>.md", view_func=handbook_page)
    return app.test_client()


def leads_somewhere(client: FlaskClient, link: str) -> bool:
    address, _, anchor = link.partition("#")
    response = client.get(address)
    return response.status_code == 200 and f'id="{anchor}"' in response.text


def test_what_the_dashboard_says_links_to_what_to_do(client: FlaskClient) -> None:
    links = [error_advice(name)["link"] for name in error_classes()]
    links += [bad_day(title) for title in TITLES.values()]
    links.append(verdict(Situation(health=HealthReport(database=False))).link)
    links.append(verdict(Situation(health=HealthReport(True), webhooks_refused=True)).link)
    assert [link for link in links if not leads_somewhere(client, link)] == []


def test_an_error_of_another_module_links_to_that_of_its_kind() -> None:
    assert error_advice(FormatRefused.__name__)["link"] == bad_day("SpeechRefused")
    assert error_advice(SessionGone.__name__)["link"] == bad_day("Errors")
    call = Call("salesforce session", "failing", None, 1.0, SessionGone.__name__)
    assert Provider("salesforce", (call,), down=False).link == bad_day("Errors")


@pytest.mark.parametrize("name", PAGES)
def test_links_between_the_pages_work(client: FlaskClient, name: str) -> None:
    page = client.get(f"{HANDBOOK}/{name}.md").text
    assert page.count("<h1") == 1
    for target in re.findall(r'href="([^"]+)"', page.partition("<main>")[2]):
        if not target.startswith("https://"):
            file, _, anchor = target.partition("#")
            address = f"{HANDBOOK}/{file or name + '.md'}"
            assert leads_somewhere(client, f"{address}#{anchor}") or not anchor, target


@pytest.mark.parametrize("name", ["architecture", "..%2fREADME", "nothing"])
def test_other_files_are_not_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"{HANDBOOK}/{name}.md").status_code == 404
