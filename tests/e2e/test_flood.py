"""The command that measures what forged requests cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import flood, hostile
from bench.arrivals import Arrivals
from bench.flood import slowdown
from bench.site import Site
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

pytestmark = pytest.mark.slow


@pytest.fixture
def arrivals() -> Iterator[Arrivals]:
    arrivals = Arrivals()
    yield arrivals
    arrivals.close()


@pytest.fixture
def deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """A service of its own, because the measurement writes as many users."""
    with start_deployment() as deployment:
        yield deployment


def test_signed_texts_are_taken_and_forged_ones_refused(
    deployment: Deployment, arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rates themselves need a quiet machine and are not checked."""
    monkeypatch.setattr(flood, "FORGED_RATE", 200)
    refused = deployment.counter("signatures_rejected")
    found = slowdown(
        Site(deployment.sandbox, deployment.bridge.url, [deployment.bridge]), arrivals, 0.5
    )
    for p50, *_ in found.rows.values():
        assert 0 < p50 < float("inf")
    alone, *beside = (row[-1] for row in found.rows.values())
    assert alone == 0
    assert all(rate > 0 for rate in beside)
    assert deployment.counter("signatures_rejected") > refused
    assert deployment.log().count("Webhook refused") < deployment.counter("signatures_rejected")


def test_signed_texts_are_timed_beside_costly_requests(
    deployment: Deployment, arrivals: Arrivals
) -> None:
    """The service of this test can refuse all of these at once."""
    site = Site(deployment.sandbox, deployment.bridge.url, [deployment.bridge])
    times = flood.beside_costly(site, arrivals, hostile.ODD_LENGTHS, 0.5)
    assert 0 < times[0] <= times[1] <= times[2] < float("inf")
    for user in site.users[:10]:
        deployment.answers(user, 1)
