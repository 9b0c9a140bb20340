"""What one at a time may do, of several processes or of the threads of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.database import Database
from storage.leases import LEASE_SECONDS, DatabaseLeases, InMemoryLeases, Leases
from tests.unit.conftest import Clock

Two = tuple[Leases, Leases]


@pytest.fixture(params=["own", "shared"])
def two(request: pytest.FixtureRequest, database: Database) -> Two:
    """What two who might do the same know of each other."""
    if request.param == "own":
        own = InMemoryLeases()
        return own, own
    return DatabaseLeases(database=database), DatabaseLeases(database=database)


def test_a_lease_is_for_one_until_it_ends(two: Two, clock: Clock) -> None:
    ours, theirs = two
    assert ours.acquire("tidy", 10)
    assert not theirs.acquire("tidy", 10)
    assert theirs.acquire("other", 10)
    clock.now += 11
    assert theirs.acquire("tidy", 10)
    assert not ours.acquire("tidy", 10)


def test_what_one_at_a_time_may_do_is_free_when_it_is_done(two: Two) -> None:
    ours, theirs = two
    with ours.hold("tidy") as held:
        assert held
        with theirs.hold("tidy") as also, theirs.hold("other") as other:
            assert (also, other) == (False, True)
    with theirs.hold("tidy") as held:
        assert held


def test_what_is_held_is_ours_for_as_long_as_it_is_renewed(two: Two, clock: Clock) -> None:
    ours, theirs = two
    with ours.hold("tidy") as held:
        assert held
        for _ in range(4):
            clock.now += LEASE_SECONDS - 1
            ours.renew()
        with theirs.hold("tidy") as also:
            assert not also


def test_who_let_a_lease_end_takes_nothing_from_whoever_has_it_then(
    database: Database, clock: Clock
) -> None:
    """Neither by renewing it nor by giving it back."""
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


def test_one_of_many_gets_it(two: Two) -> None:
    ours, _ = two
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: ours.acquire("tidy", 10), range(100))) == 1


def test_purging_leaves_those_that_last(two: Two, clock: Clock) -> None:
    ours, theirs = two
    assert ours.acquire("short", 1)
    assert ours.acquire("long", 100)
    clock.now += 10
    ours.purge()
    clock.now -= 10
    assert theirs.acquire("short", 1)
    assert not theirs.acquire("long", 1)
