"""The command that measures what forged requests cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import flood, hostile
from bench.flood import measure_during_expensive, measure_forged
from bench.load_generator import LoadGenerator
from bench.target import Target
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

pytestmark = pytest.mark.slow


@pytest.fixture
def load_generator() -> Iterator[LoadGenerator]:
    load_generator = LoadGenerator()
    yield load_generator
    load_generator.close()


@pytest.fixture
def deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """A service of its own, because the measurement writes as many users."""
    with start_deployment() as deployment:
        yield deployment


def test_signed_texts_are_taken_and_forged_ones_refused(
    deployment: Deployment, load_generator: LoadGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rates themselves need a quiet machine and are not checked."""
    monkeypatch.setattr(flood, "FORGED_RATE", 200)
    refused = deployment.counter("signatures_rejected")
    target = Target(deployment.sandbox, deployment.bridge.url, [deployment.bridge])
    found = measure_forged(target, load_generator, 0.5)
    for p50, *_ in found.rows.values():
        assert 0 < p50 < float("inf")
    alone, *beside = (row[-1] for row in found.rows.values())
    assert alone == 0
    assert all(rate > 0 for rate in beside)
    assert deployment.counter("signatures_rejected") > refused
    assert deployment.log().count("Webhook refused") < deployment.counter("signatures_rejected")


def test_signed_texts_are_timed_beside_costly_requests(
    deployment: Deployment, load_generator: LoadGenerator
) -> None:
    """The service of this test can refuse all of these at once."""
    target = Target(deployment.sandbox, deployment.bridge.url, [deployment.bridge])
    times = measure_during_expensive(target, load_generator, hostile.ODD_LENGTHS, 0.5)
    assert 0 < times[0] <= times[1] <= times[2] < float("inf")
    for user in target.users[:10]:
        deployment.answers(user, 1)
