"""What Prometheus and Grafana are given (docs/monitoring/) fits what the service exposes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import requests
import yaml  # type: ignore[import-untyped]
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "monitoring"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
# Prometheus adds these labels.
ADDED = {"job", "instance"}
# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "5m", "$job": "whatsapp-bridge"}


def panels() -> Iterator[dict[str, Any]]:
    dashboard = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    yield from (panel for panel in dashboard["panels"] if panel["type"] != "row")


def queries() -> dict[str, str]:
    """Each expression of the rules and of the dashboard, by where it stands."""
    found = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found[f"{panel['title']} {target['refId']}"] = expression
    return found


QUERIES = queries()


def selected(expression: str) -> list[tuple[str, dict[str, str]]]:
    """The metrics that an expression selects, with the labels that it compares.

    Raises ``ValueError`` if Prometheus could not read the expression.
    """
    found: list[tuple[str, dict[str, str]]] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            labels = {each.name: each.value for each in node.matchers.matchers}
            found.append((node.name or "", labels))

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


@pytest.fixture(scope="module")
def scrape(shared_deployment: Deployment) -> dict[str, Metric]:
    """What a deployment exposes after one answer, by name."""
    shared_deployment.begin()
    answered = shared_deployment.counter("turns_answered")
    shared_deployment.ask("hello")
    url = shared_deployment.bridge.url

    def read(path: str) -> Any:
        return requests.get(f"{url}{path}", timeout=10).json()

    # The answer is there before its turn has ended.
    wait_until(lambda: shared_deployment.counter("turns_answered") > answered, "it is counted")
    wait_until(lambda: read("/health")["running"] == 0, "it ends")
    text = requests.get(f"{url}/metrics?format=prometheus", timeout=10).text
    return {family.name: family for family in text_string_to_metric_families(text)}


def exposed(scrape: dict[str, Metric], label: str) -> dict[str, set[str]]:
    """The values of a label by the name of the samples that have it."""
    values: dict[str, set[str]] = {}
    for family in scrape.values():
        for sample in family.samples:
            values.setdefault(sample.name, set())
            if label in sample.labels:
                values[sample.name].add(sample.labels[label])
    return values


@pytest.mark.parametrize("place", QUERIES)
def test_each_query_selects_what_the_service_exposes(place: str, scrape: dict[str, Metric]) -> None:
    selectors = selected(QUERIES[place])
    assert selectors
    for name, labels in selectors:
        assert name == "up" or name in exposed(scrape, "")
        for label, value in labels.items():
            if label not in ADDED:
                given = exposed(scrape, label)[name]
                assert all(one in given for one in value.split("|")), (label, given)


@pytest.mark.parametrize(
    "expression", ["sum(rate(bridge_total_seconds_bucket)", "rate(bridge_turns_failed_total)"]
)
def test_a_query_that_prometheus_could_not_read_is_found(expression: str) -> None:
    with pytest.raises(ValueError, match=r"parenthesis|expected type"):
        selected(expression)


def test_each_metric_has_a_sentence_and_the_unit_of_its_kind(scrape: dict[str, Metric]) -> None:
    for family in scrape.values():
        assert re.fullmatch(r"[A-Z].{15,}\.", family.documentation), family.name
        samples = {sample.name for sample in family.samples}
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        else:
            ending = "_total" if family.type == "counter" else ""
            assert samples == {f"{family.name}{ending}"}


def test_gauges_tell_the_state_of_the_deployment(scrape: dict[str, Metric]) -> None:
    values = {
        (sample.name, sample.labels.get("provider", "")): sample.value
        for family in scrape.values()
        if family.type == "gauge"
        for sample in family.samples
    }
    assert {name: values.pop((name, "")) for name, _ in list(values) if (name, "") in values} == {
        "bridge_build_info": 1,
        "bridge_healthy": 1,
        "bridge_database_up": 1,
        "bridge_turns_waiting": 0,
        "bridge_turns_running": 0,
        "bridge_oldest_waiting_seconds": 0,
        "bridge_workers": 1,
    }
    assert {name for name, _ in values} == {"bridge_provider_up"}
    assert set(values.values()) == {1}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "first-bad-day.md").read_text(encoding="utf-8")
    assert rule["annotations"]["runbook"] == f"docs/first-bad-day.md#{rule['alert'].lower()}"
    assert f"\n### {rule['alert']}\n" in page
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_each_panel_says_what_it_shows() -> None:
    shown = list(panels())
    assert len({panel["id"] for panel in shown}) == len(shown)
    assert all(panel["description"].endswith(".") for panel in shown)


def test_each_alert_fires_when_it_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: apt-get install prometheus")
    tested = ROOT / "tests" / "unit" / "alerts.yml"
    assert all(rule["alert"] in tested.read_text(encoding="utf-8") for rule in RULES)
    done = subprocess.run(
        [promtool, "test", "rules", str(tested)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
