"""What one at a time may do, of several processes or of the threads of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from database import Database
from leases import Leases, OwnLeases, SharedLeases
from tests.unit.conftest import Clock

Two = tuple[Leases, Leases]


@pytest.fixture(params=["own", "shared"])
def two(request: pytest.FixtureRequest, database: Database) -> Two:
    """What two who might do the same know of each other."""
    if request.param == "own":
        own = OwnLeases()
        return own, own
    return SharedLeases(database=database), SharedLeases(database=database)


def test_a_lease_is_for_one_until_it_ends(two: Two, clock: Clock) -> None:
    ours, theirs = two
    assert ours.take("tidy", 10)
    assert not theirs.take("tidy", 10)
    assert theirs.take("other", 10)
    clock.now += 11
    assert theirs.take("tidy", 10)
    assert not ours.take("tidy", 10)


def test_a_lease_that_is_given_back_is_free(two: Two) -> None:
    ours, theirs = two
    assert ours.take("tidy", 10)
    ours.release("tidy")
    ours.release("what nobody has")
    assert theirs.take("tidy", 10)


def test_a_lease_that_is_extended_lasts_longer(two: Two, clock: Clock) -> None:
    ours, theirs = two
    assert ours.take("tidy", 10)
    clock.now += 9
    ours.extend("tidy", 10)
    clock.now += 9
    assert not theirs.take("tidy", 10)
    clock.now += 2
    assert theirs.take("tidy", 10)


def test_one_of_many_gets_it(two: Two) -> None:
    ours, _ = two
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: ours.take("tidy", 10), range(100))) == 1


def test_purging_leaves_those_that_last(two: Two, clock: Clock) -> None:
    ours, theirs = two
    assert ours.take("short", 1)
    assert ours.take("long", 100)
    clock.now += 10
    ours.purge()
    clock.now -= 10
    assert theirs.take("short", 1)
    assert not theirs.take("long", 1)
