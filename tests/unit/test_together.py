"""Work that many threads want done at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from together import Together

MOST = 3


class Works:
    """Doubles numbers, once it may; remembers which it was given together."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.allowed = threading.Event()

    def __call__(self, pieces: Sequence[int]) -> list[int]:
        self.groups.append(list(pieces))
        self.begun.release()
        self.allowed.wait()
        if 13 in pieces:
            raise ValueError("13")
        if 666 in pieces:
            raise OSError("666")
        return [2 * piece for piece in pieces]


@pytest.fixture
def works() -> Works:
    return Works()


@pytest.fixture
def together(works: Works) -> Together[int, int]:
    return Together(works, most=MOST, any_would=(OSError,))


@pytest.fixture
def pool(works: Works) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool
        works.allowed.set()


@pytest.fixture
def hand_in(pool: ThreadPoolExecutor, arrivals: threading.Semaphore) -> HandIn:
    """Hand in a piece; it is under way or waits in line when this returns."""

    def hand_in(together: Together[int, int], piece: int, *, rank: int = 0) -> Future[int]:
        future = pool.submit(lambda: together.run(piece, rank=rank))
        arrivals.acquire()
        return future

    return hand_in


HandIn = Callable[..., "Future[int]"]


def test_what_comes_alone_is_done_at_once(works: Works, together: Together[int, int]) -> None:
    works.allowed.set()
    assert [together.run(piece) for piece in range(5)] == [0, 2, 4, 6, 8]
    assert works.groups == [[0], [1], [2], [3], [4]]


def test_what_waits_is_done_in_groups_in_order(
    works: Works, together: Together[int, int], hand_in: HandIn
) -> None:
    futures = [hand_in(together, piece) for piece in range(6)]
    works.allowed.set()
    assert [future.result() for future in futures] == [0, 2, 4, 6, 8, 10]
    assert works.groups == [[0], [1, 2, 3], [4, 5]]


def test_so_many_groups_are_under_way(works: Works, hand_in: HandIn) -> None:
    together = Together(works, most=MOST, at_once=2)
    futures = [hand_in(together, piece) for piece in range(8)]
    for _ in range(2):
        works.begun.acquire()
    assert sorted(works.groups) == [[0], [1]]
    works.allowed.set()
    assert [future.result() for future in futures] == [2 * piece for piece in range(8)]


def test_a_lower_rank_comes_first(
    works: Works, together: Together[int, int], hand_in: HandIn
) -> None:
    futures = [hand_in(together, piece, rank=-piece // 10) for piece in (1, 21, 12, 23, 14, 5)]
    works.allowed.set()
    for future in futures:
        future.result()
    assert works.groups == [[1], [21, 23, 12], [14, 5]]


def test_what_fails_takes_nothing_else_along(
    works: Works, together: Together[int, int], hand_in: HandIn
) -> None:
    _, good, bad, later = (hand_in(together, piece) for piece in (0, 1, 13, 2))
    works.allowed.set()
    assert (good.result(), later.result()) == (2, 4)
    with pytest.raises(ValueError, match="13"):
        bad.result()
    assert works.groups == [[0], [1, 13, 2], [1], [13], [2]]


def test_what_any_would_fail_of_is_tried_once(
    works: Works, together: Together[int, int], hand_in: HandIn
) -> None:
    _, *failing = (hand_in(together, piece) for piece in (0, 1, 666, 2))
    works.allowed.set()
    for future in failing:
        with pytest.raises(OSError, match="666"):
            future.result()
    assert works.groups == [[0], [1, 666, 2]]
    assert together.run(3) == 6


def test_many_threads_get_what_is_theirs(works: Works, pool: ThreadPoolExecutor) -> None:
    works.allowed.set()
    together = Together(works, most=MOST, at_once=2)

    def doubled(piece: int) -> int:
        return together.run(piece, rank=piece % 3)

    pieces = [piece for piece in range(2000) if piece not in (13, 666)]
    assert list(pool.map(doubled, pieces)) == [2 * piece for piece in pieces]
    assert max(map(len, works.groups)) <= MOST
