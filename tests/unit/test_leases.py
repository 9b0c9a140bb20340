"""What one process at a time may do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from leases import Leases
from tests.unit.conftest import Clock


def test_a_lease_is_for_one_until_it_ends(engine: Engine, clock: Clock) -> None:
    ours, theirs = Leases(engine=engine), Leases(engine=engine)
    assert ours.take("tidy", 10)
    assert not theirs.take("tidy", 10)
    assert theirs.take("other", 10)
    clock.now += 11
    assert theirs.take("tidy", 10)
    assert not ours.take("tidy", 10)


def test_a_lease_that_is_given_back_or_void_is_free(engine: Engine) -> None:
    leases = Leases(engine=engine)
    assert leases.take("tidy", 10)
    leases.release("tidy")
    assert leases.take("tidy", 10)
    leases.void()
    assert leases.take("tidy", 10)


def test_a_lease_that_is_extended_lasts_longer(engine: Engine, clock: Clock) -> None:
    leases = Leases(engine=engine)
    assert leases.take("tidy", 10)
    clock.now += 9
    leases.extend("tidy", 10)
    clock.now += 9
    assert not leases.take("tidy", 10)
    clock.now += 2
    assert leases.take("tidy", 10)


def test_one_of_many_gets_it(engine: Engine) -> None:
    leases = Leases(engine=engine)
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: leases.take("tidy", 10), range(100))) == 1


def test_purging_leaves_those_that_last(engine: Engine, clock: Clock) -> None:
    leases = Leases(engine=engine)
    assert leases.take("short", 1)
    assert leases.take("long", 100)
    clock.now += 10
    leases.purge()
    clock.now -= 10
    assert leases.take("short", 1)
    assert not leases.take("long", 1)
