"""What outlives a thread, and for how long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import store as store_module
from store import AgentSession, Preferences, Store


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(store_module, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def store(clock: Clock) -> Store:
    return Store(note_lifetime=3600)


def test_a_message_is_admitted_once(store: Store) -> None:
    assert store.admit("SM1")
    assert not store.admit("SM1")
    assert store.admit("SM2")


def test_a_message_stays_known_for_a_day(store: Store, clock: Clock) -> None:
    store.admit("SM1")
    clock.now += store_module.SEEN_LIFETIME - 1
    assert not store.admit("SM1")
    clock.now += 2
    assert store.admit("SM1")


def test_a_dismissed_message_may_come_again(store: Store) -> None:
    store.admit("SM1")
    store.dismiss("SM1")
    store.dismiss("never seen")
    assert store.admit("SM1")


def test_a_flood_of_messages_is_forgotten_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_module, "SEEN_LIMIT", 10)
    store = Store(note_lifetime=1)
    for number in range(1000):
        assert store.admit(f"SM{number}")
    assert not store.admit("SM999")
    assert store.admit("SM0")


def test_one_of_many_threads_gets_the_message(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        admitted = list(pool.map(store.admit, ["SM1"] * 200))
    assert admitted.count(True) == 1


def test_sessions_are_kept_replaced_and_dropped(store: Store) -> None:
    first, second = AgentSession("a", 1.0), AgentSession("b", 2.0)
    assert store.session("ana") is None
    store.save_session("ana", first)
    store.save_session("ben", second)
    assert (store.session("ana"), store.session("ben")) == (first, second)
    store.save_session("ana", second)
    assert store.session("ana") == second
    assert store.drop_session("ana") == second
    assert store.session("ana") is store.drop_session("ana") is None
    assert store.session("ben") == second


def test_the_sessions_used_longest_ago_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SENDER_LIMIT", 3)
    store = Store(note_lifetime=1)
    for sender in "abc":
        store.save_session(sender, AgentSession(sender, 0))
        store.prefer_voice(sender, True)
    store.session("a")
    store.preferences("a")
    store.save_session("d", AgentSession("d", 0))
    store.prefer_voice("d", True)
    assert [store.session(sender) is None for sender in "abcd"] == [False, True, False, False]
    assert store.preferences("b") == Preferences()
    assert store.preferences("a").voice is True


def test_preferences_are_remembered_side_by_side(store: Store) -> None:
    assert store.preferences("ana") == Preferences(voice=None, language=None)
    store.prefer_voice("ana", False)
    store.remember_language("ana", "ar")
    assert store.preferences("ana") == Preferences(voice=False, language="ar")
    store.prefer_voice("ana", True)
    assert store.preferences("ana") == Preferences(voice=True, language="ar")
    assert store.preferences("ben") == Preferences()


def test_a_voice_note_is_found_by_its_token_until_it_expires(store: Store, clock: Clock) -> None:
    token = store.keep_note(b"OggS")
    clock.now += 3599
    assert store.note(token) == b"OggS"
    clock.now += 2
    assert store.note(token) is None


@pytest.mark.parametrize("token", ["", "x", "../x", "0" * 32])
def test_an_unknown_token_has_no_note(store: Store, token: str) -> None:
    store.keep_note(b"OggS")
    assert store.note(token) is None


def test_tokens_cannot_be_guessed_and_fit_an_address(store: Store) -> None:
    tokens = {store.keep_note(b"same") for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) >= 32 and token.isalnum() for token in tokens)


def test_notes_are_bounded_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "NOTE_BYTES", 100)
    store = Store(note_lifetime=1000)
    tokens = [store.keep_note(bytes(30)) for _ in range(5)]
    kept = [store.note(token) is not None for token in tokens]
    assert kept == [False, False, True, True, True]
