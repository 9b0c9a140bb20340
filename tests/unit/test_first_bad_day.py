"""docs/first-bad-day.md has an answer for whatever can go wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml  # type: ignore[import-untyped]

from http_clients.circuit_breakers import CallKind
from metrics import COUNTERS, STAGES
from web.prometheus import KNOWN_ERRORS
from web.prometheus_help import COUNTERS as EXPLAINED_COUNTERS
from web.prometheus_help import STAGES as EXPLAINED_STAGES

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "first-bad-day.md").read_text(encoding="utf-8")
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
# Of headlines that contain a name.
HEADINGS = {
    "Nobody is answered …": "Nobody is answered",
    "… refuses our requests": "A provider refuses our requests",
    "… is down": "A provider is down",
    "Check failed: …": "A check failed",
}
PROVIDERS = ("Twilio", "Salesforce", "ElevenLabs")


def entry(heading: str) -> str:
    """What stands below a heading of the third level."""
    parts = re.split(rf"^### {re.escape(heading)}\n", PAGE, flags=re.MULTILINE)
    assert len(parts) == 2, heading
    return re.split(r"^##", parts[1], flags=re.MULTILINE)[0].strip()


@pytest.mark.parametrize("name", [*ALERTS, *KNOWN_ERRORS, *PROVIDERS])
def test_each_alert_error_and_provider_has_its_anchor(name: str) -> None:
    assert entry(name)


def test_the_errors_are_those_of_the_code_in_alphabetical_order() -> None:
    section = PAGE.partition("\n## Errors\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (.+)$", section, re.MULTILINE) == sorted(KNOWN_ERRORS)


def test_each_headline_of_the_dashboard_has_its_anchor() -> None:
    operating = (DOCS / "operating.md").read_text(encoding="utf-8")
    section = operating.partition("\n## Dashboard\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    headlines = {title for row in rows for title in re.findall(r"`([^`]+)`", row)}
    well = {"Ready", "Messages get answered", "Messages are answered"}
    assert len(headlines) > len(well)
    for headline in headlines - well:
        assert entry(HEADINGS.get(headline, headline))


def test_each_figure_of_prometheus_is_explained() -> None:
    assert not [name for name in STAGES if name not in EXPLAINED_STAGES]
    assert not [name for name in COUNTERS if name not in EXPLAINED_COUNTERS]


def test_the_calls_with_a_breaker_are_those_of_the_documents() -> None:
    operating = (DOCS / "operating.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"`clouds_down` names what.+?(?=\n\n)", operating, re.DOTALL)
    assert set(re.findall(r"`((?:Agentforce|ElevenLabs) \w+)`", named)) == set(get_args(CallKind))
