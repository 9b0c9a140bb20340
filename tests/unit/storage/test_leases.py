"""Leases that one holder has at a time, among several processes or the threads of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.database import Database
from storage.leases import LEASE_SECONDS, DatabaseLeases, InMemoryLeases, Leases
from tests.unit.conftest import Clock

TwoHolders = tuple[Leases, Leases]


@pytest.fixture(params=["own", "shared"])
def two(request: pytest.FixtureRequest, database: Database) -> TwoHolders:
    """Two holders of leases: two threads of one process, or two processes."""
    if request.param == "own":
        own = InMemoryLeases()
        return own, own
    return DatabaseLeases(database=database), DatabaseLeases(database=database)


def test_a_lease_has_one_holder_until_it_ends(two: TwoHolders, clock: Clock) -> None:
    ours, theirs = two
    assert ours.acquire("tidy", 10)
    assert not theirs.acquire("tidy", 10)
    assert theirs.acquire("other", 10)
    clock.now += 11
    assert theirs.acquire("tidy", 10)
    assert not ours.acquire("tidy", 10)


def test_a_held_lease_is_released_at_the_end_of_the_block(two: TwoHolders) -> None:
    ours, theirs = two
    with ours.hold("tidy") as held:
        assert held
        with theirs.hold("tidy") as also, theirs.hold("other") as other:
            assert (also, other) == (False, True)
    with theirs.hold("tidy") as held:
        assert held


def test_a_lease_lasts_for_as_long_as_it_is_renewed(two: TwoHolders, clock: Clock) -> None:
    ours, theirs = two
    with ours.hold("tidy") as held:
        assert held
        for _ in range(4):
            clock.now += LEASE_SECONDS - 1
            ours.renew()
        with theirs.hold("tidy") as also:
            assert not also


def test_a_former_holder_does_not_affect_the_present_one(database: Database, clock: Clock) -> None:
    """Neither by renewing it nor by releasing it."""
    ours, theirs, others = (DatabaseLeases(database=database) for _ in range(3))
    with ours.hold("tidy"):
        clock.now += LEASE_SECONDS + 1
        with theirs.hold("tidy") as held:
            assert held
            ours.renew()
            clock.now += LEASE_SECONDS - 1
            theirs.renew()
            clock.now += LEASE_SECONDS - 1
    with theirs.hold("tidy"), ours.hold("tidy"), others.hold("tidy") as held:
        assert not held


def test_one_of_many_threads_gets_the_lease(two: TwoHolders) -> None:
    ours, _ = two
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: ours.acquire("tidy", 10), range(100))) == 1


def test_purging_deletes_only_expired_leases(two: TwoHolders, clock: Clock) -> None:
    ours, theirs = two
    assert ours.acquire("short", 1)
    assert ours.acquire("long", 100)
    clock.now += 10
    ours.purge()
    clock.now -= 10
    assert theirs.acquire("short", 1)
    assert not theirs.acquire("long", 1)
