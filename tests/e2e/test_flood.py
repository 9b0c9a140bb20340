"""The command that measures what forged requests cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import flood, hostile
from bench.arrivals import Arrivals
from bench.flood import slowdown
from bench.site import Site
from tests.e2e.conftest import StartWorld
from tests.e2e.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def arrivals() -> Iterator[Arrivals]:
    arrivals = Arrivals()
    yield arrivals
    arrivals.close()


@pytest.fixture
def world(start_world: StartWorld) -> Iterator[World]:
    """Its users are those whom others count from, too."""
    with start_world() as world:
        yield world


def test_signed_texts_are_taken_and_forged_ones_refused(
    world: World, arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How fast is for a quiet machine to say."""
    monkeypatch.setattr(flood, "FORGED_RATE", 200)
    refused = world.counter("signatures_rejected")
    found = slowdown(Site(world.sandbox, world.bridge.url, [world.bridge]), arrivals, 0.5)
    for p50, *_ in found.rows.values():
        assert 0 < p50 < float("inf")
    alone, *beside = (row[-1] for row in found.rows.values())
    assert alone == 0
    assert all(rate > 0 for rate in beside)
    assert world.counter("signatures_rejected") > refused
    assert world.log().count("Webhook refused") < world.counter("signatures_rejected")


def test_signed_texts_are_timed_beside_costly_requests(world: World, arrivals: Arrivals) -> None:
    """Of which the service here can refuse all at once."""
    site = Site(world.sandbox, world.bridge.url, [world.bridge])
    times = flood.beside_costly(site, arrivals, hostile.ODD_LENGTHS, 0.5)
    assert 0 < times[0] <= times[1] <= times[2] < float("inf")
    for user in site.users[:10]:
        world.answers(user, 1)
