"""What is spoken once, who waits for whom, and what goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import imageio_ffmpeg
import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from audio.ffmpeg import Ffmpeg
from core.deadline import Deadline
from core.errors import BridgeError, DeadlineExceeded, SpeechUnavailable
from core.settings import Settings
from http_clients.circuit_breakers import CircuitBreakers
from metrics import Metrics
from sandbox import CREDENTIALS, Sandbox
from sandbox.faults import Fault
from sandbox.speech.fixture import FixtureSpeech
from speech import cache as speech_cache
from speech.cache import SpeechCache
from speech.elevenlabs import Speech
from speech.voice import MP3, OPUS
from storage.database import Database
from storage.speech import SpeechSegment, SpeechTable
from tests.unit.conftest import START, Clock

DAY = 24 * 3600.0


class Account(Speech):
    """Speaks ten bytes for each text, without ElevenLabs."""

    def __init__(self, **changes: str) -> None:
        given = CREDENTIALS | {
            "PUBLIC_URL": "https://bot.example.com",
            "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
        }
        super().__init__(
            settings=Settings(**(given | changes)),  # type: ignore[arg-type]
            ffmpeg=Ffmpeg(path=imageio_ffmpeg.get_ffmpeg_exe(), max_seconds=1),
            metrics=Metrics(),
            breakers=CircuitBreakers(failures=0, seconds=30, metrics=Metrics()),
            connections=1,
        )
        self.spoken: list[str] = []
        self.output_format = OPUS
        self.before: Callable[[], None] = lambda: None

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes:
        self.spoken.append(text)
        self.before()
        return f"{len(self.spoken):10}".encode()

    def synthesis_key(self, text: str, language: str | None) -> tuple[str | None, ...]:
        return (*super().synthesis_key(text, language)[:-1], self.output_format)


class AtOnce(Executor):
    """Does what it is given at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class Broken(SpeechTable):
    """A table in a database that is away."""

    def __init__(self) -> None:
        self.away = True

    def find(self, key: str) -> SpeechSegment | None:
        self._fail()
        return None

    def save(self, key: str, segment: SpeechSegment) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.away:
            raise OperationalError("SELECT", {}, Exception("away"))


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def segments(database: Database, clock: Clock) -> SpeechTable:
    return SpeechTable(database=database, max_bytes=1000)


def cache_of(
    account: Account,
    metrics: Metrics | None = None,
    *,
    max_bytes: int = 1000,
    shared: SpeechTable | None = None,
) -> SpeechCache:
    return SpeechCache(
        speech=account,
        metrics=metrics or Metrics(),
        max_bytes=max_bytes,
        lifetime=DAY,
        shared=shared,
        pool=AtOnce(),
    )


def counted(metrics: Metrics) -> tuple[int, int, int]:
    counters = metrics.snapshot().counters
    names = "speech_cache_hits", "speech_cache_misses", "speech_characters_saved"
    hits, misses, saved = (counters[name] for name in names)
    return hits, misses, saved


def test_the_same_segment_is_spoken_once_whatever_is_around_it(
    account: Account, metrics: Metrics
) -> None:
    cache = cache_of(account, metrics)
    first = cache.synthesize("Hello!", "en", following="How are you?")
    assert cache.synthesize("Hello!", "en", previous="Well.") == first
    assert account.spoken == ["Hello!"]
    assert counted(metrics) == (1, 1, len("Hello!"))


def test_another_text_or_language_is_another_segment(account: Account) -> None:
    cache = cache_of(account)
    segments = [("Hello!", "en"), ("Hello", "en"), ("Hello!", "fr"), ("Hello!", None)]
    assert len({cache.synthesize(text, language) for text, language in segments}) == len(segments)
    # What the model does not take as a language is not told to it.
    assert cache.synthesize("Hello!", "xx") == cache.synthesize("Hello!", None)


@pytest.mark.parametrize(
    "change",
    [
        {"ELEVENLABS_VOICE_ID": "another0000000000001"},
        {"ELEVENLABS_TTS_MODEL": "eleven_turbo_v2_5"},
    ],
    ids=["voice", "model"],
)
def test_another_voice_or_model_is_another_segment(
    account: Account, change: dict[str, str], segments: SpeechTable
) -> None:
    cache_of(account, shared=segments).synthesize("Hello!", "en")
    other = Account(**change)
    cache_of(other, shared=segments).synthesize("Hello!", "en")
    assert other.spoken == ["Hello!"]


def test_a_segment_is_kept_in_the_format_that_the_plan_took(
    account: Account, segments: SpeechTable
) -> None:
    """A process that has not met the refusal yet looks for Opus, one that has finds it."""

    def refuse_opus() -> None:
        account.output_format = MP3

    account.before = refuse_opus
    cache = cache_of(account, shared=segments)
    assert cache.synthesize("Hello!", "en") == cache.synthesize("Hello!", "en")
    unaware, aware = Account(), Account()
    aware.output_format = MP3
    for other in (unaware, aware):
        cache_of(other, shared=segments).synthesize("Hello!", "en")
    assert [len(each.spoken) for each in (account, unaware, aware)] == [1, 1, 0]


def test_the_least_recently_used_go_when_the_bytes_are_used_up(account: Account) -> None:
    cache = cache_of(account, max_bytes=30)
    for text in "abcad":
        cache.synthesize(text, "en")
    assert account.spoken == ["a", "b", "c", "d"]
    for text in "cad":
        cache.synthesize(text, "en")
    assert account.spoken == ["a", "b", "c", "d"]
    cache.synthesize("b", "en")
    assert account.spoken[-1] == "b"


def test_what_is_larger_than_all_bytes_is_spoken_and_not_kept(account: Account) -> None:
    cache = cache_of(account, max_bytes=9)
    assert cache.synthesize("a", "en") != cache.synthesize("a", "en")


def test_who_asks_meanwhile_waits_and_gets_the_same(
    account: Account, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(account, metrics)
    with held_up(account, monkeypatch) as (waiting, release), ThreadPoolExecutor(8) as pool:
        spoken = [pool.submit(cache.synthesize, "Hello!", "en") for _ in range(8)]
        for _ in range(7):
            assert waiting.acquire(timeout=30)
        release.set()
        assert len({each.result() for each in spoken}) == 1
    assert account.spoken == ["Hello!"]
    assert counted(metrics) == (7, 1, 7 * len("Hello!"))


def test_who_waits_shares_a_failure_that_nobody_keeps(
    account: Account, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(account, metrics)
    with held_up(account, monkeypatch) as (waiting, release), ThreadPoolExecutor(4) as pool:
        hold = account.before

        def fail() -> None:
            hold()
            raise SpeechUnavailable

        account.before = fail
        failing = [pool.submit(cache.synthesize, "Hello!", "en") for _ in range(4)]
        for _ in range(3):
            assert waiting.acquire(timeout=30)
        release.set()
        assert {type(each.exception()) for each in failing} == {SpeechUnavailable}
    assert len(account.spoken) == 1
    account.before = lambda: None
    assert cache.synthesize("Hello!", "en")
    assert counted(metrics) == (0, 2, 0)


def cut_short() -> BridgeError:
    """What is left of tries that would have gone on, had there been more time."""
    error = SpeechUnavailable()
    error.cut_short = True
    return error


@pytest.mark.parametrize(
    "failure", [DeadlineExceeded(), cut_short(), SystemExit()], ids=["late", "cut short", "ended"]
)
def test_who_waits_tries_itself_where_only_the_other_one_failed(
    account: Account, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """One of those who waited, and the rest wait for that."""
    cache = cache_of(account)
    with held_up(account, monkeypatch) as (waiting, release), ThreadPoolExecutor(4) as pool:
        hold = account.before

        def fail_once() -> None:
            hold()
            if len(account.spoken) == 1:
                raise failure

        account.before = fail_once
        asking = [pool.submit(cache.synthesize, "Hello!", "en") for _ in range(4)]
        for _ in range(3):
            assert waiting.acquire(timeout=30)
        release.set()
        failed = [each.exception(30) for each in asking]
        assert [error for error in failed if error] == [failure]
        assert len({each.result() for each in asking if not each.exception()}) == 1
    assert len(account.spoken) == 2


def test_who_waits_does_so_until_its_own_deadline(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(account)
    with held_up(account, monkeypatch) as (_, release), ThreadPoolExecutor(1) as pool:
        begun = beginning(account)
        patient = pool.submit(cache.synthesize, "Hello!", "en")
        assert begun.wait(30)
        with Deadline(0.05).applied(), pytest.raises(DeadlineExceeded):
            cache.synthesize("Hello!", "en")
        assert not patient.done()
        release.set()
        spoken = patient.result(30)
    with Deadline(0.0).applied():
        assert cache.synthesize("Hello!", "en") == spoken


def test_who_has_time_left_hears_what_elevenlabs_says_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one's time ends while ElevenLabs hangs."""
    with Sandbox(speech=FixtureSpeech()) as provider, ThreadPoolExecutor(2) as pool:
        account = Account(**provider.environment("http://127.0.0.1:9"))
        with held_up(account, monkeypatch) as (waiting, _):
            monkeypatch.setattr(Account, "synthesize", Speech.synthesize)
            cache = cache_of(account, max_bytes=1_000_000)
            calls = provider.recorder
            provider.faults.add(Fault("elevenlabs", "speak", "hang", seconds=60))

            def hurried() -> bytes:
                with Deadline(1.0).applied():
                    return cache.synthesize("Hello!", "en")

            first = pool.submit(hurried)
            calls.wait_for(lambda: calls.calls("elevenlabs", "speak"))
            second = pool.submit(cache.synthesize, "Hello!", "en")
            assert waiting.acquire(timeout=30)
            assert isinstance(first.exception(30), SpeechUnavailable)
            assert second.result(30).startswith(b"OggS")
        provider.faults.clear()


def test_others_do_not_wait_for_another_segment(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(account)
    cache.synthesize("known", "en")
    with held_up(account, monkeypatch) as (_, release), ThreadPoolExecutor(1) as pool:
        begun = beginning(account)
        slow = pool.submit(cache.synthesize, "slow", "en")
        assert begun.wait(30)
        assert cache.synthesize("known", "en")
        assert not slow.done()
        release.set()


def test_memory_forgets_what_is_too_old(clock: Clock, account: Account) -> None:
    cache = cache_of(account)
    cache.synthesize("Hello!", "en")
    clock.now += DAY - 1
    cache.synthesize("Hello!", "en")
    assert len(account.spoken) == 1
    clock.now += 2
    cache.synthesize("Hello!", "en")
    assert len(account.spoken) == 2


def test_processes_share_what_they_spoke(
    account: Account, metrics: Metrics, segments: SpeechTable
) -> None:
    spoken = cache_of(account, shared=segments).synthesize("Hello!", "en")
    other = Account()
    cache = cache_of(other, metrics, shared=segments)
    assert cache.synthesize("Hello!", "en") == cache.synthesize("Hello!", "en") == spoken
    assert other.spoken == []
    assert counted(metrics) == (2, 0, 2 * len("Hello!"))


def test_what_came_from_another_process_gets_no_older_in_memory(
    account: Account, segments: SpeechTable, clock: Clock
) -> None:
    cache_of(Account(), shared=segments).synthesize("Hello!", "en")
    clock.now += DAY - 1
    cache = cache_of(account, shared=segments)
    cache.synthesize("Hello!", "en")
    segments.purge(before=clock.now)
    cache.synthesize("Hello!", "en")
    assert account.spoken == []
    clock.now += 2
    cache.synthesize("Hello!", "en")
    assert account.spoken == ["Hello!"]


def test_a_database_that_is_away_costs_syntheses_and_one_line(account: Account) -> None:
    shared = Broken()
    cache = cache_of(account, shared=shared)

    def lines() -> int:
        with capture_logs() as logged:
            for text in "abc":
                cache.synthesize(f"{text}{len(account.spoken)}", "en")
        return len(logged)

    assert lines() == 1
    shared.away = False
    assert lines() == 0
    shared.away = True
    assert lines() == 1
    assert len(account.spoken) == 9


def test_memory_does_not_ask_the_database(account: Account) -> None:
    shared = Broken()
    shared.away = False
    cache = cache_of(account, shared=shared)
    cache.synthesize("Hello!", "en")
    shared.away = True
    with capture_logs() as logged:
        cache.synthesize("Hello!", "en")
    assert not logged


def test_the_table_keeps_what_was_used_last_up_to_its_bytes(
    segments: SpeechTable, clock: Clock
) -> None:
    for key in "abc":
        segments.save(key, SpeechSegment(key.encode() * 400, START))
        clock.now += 1
    assert segments.find("a") == SpeechSegment(b"a" * 400, START)
    assert segments.find("x") is None
    segments.purge(before=START - 1)
    assert [bool(segments.find(key)) for key in "abc"] == [True, False, True]


def test_the_table_forgets_what_is_old_however_often_it_is_used(
    segments: SpeechTable, clock: Clock
) -> None:
    segments.save("old", SpeechSegment(b"old", START))
    segments.save("new", SpeechSegment(b"new", START + 10))
    clock.now += 20
    assert segments.find("old")
    segments.purge(before=START + 5)
    assert (segments.find("old"), segments.find("new")) == (None, SpeechSegment(b"new", START + 10))


def test_a_segment_that_two_processes_made_is_kept_once(segments: SpeechTable) -> None:
    segments.save("a", SpeechSegment(b"one", START))
    segments.save("a", SpeechSegment(b"other", START + 1))
    assert segments.find("a") == SpeechSegment(b"one", START)


@contextmanager
def held_up(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[threading.Semaphore, threading.Event]]:
    """The semaphore counts who waits for a synthesis; each waits for the event."""
    waiting, release = threading.Semaphore(0), threading.Event()

    class Watched(Future[bytes]):
        def exception(self, timeout: float | None = None) -> BaseException | None:
            waiting.release()
            return super().exception(timeout)

        def result(self, timeout: float | None = None) -> bytes:
            waiting.release()
            return super().result(timeout)

    def hold() -> None:
        assert release.wait(30)

    monkeypatch.setattr(speech_cache, "Future", Watched)
    account.before = hold
    yield waiting, release


def beginning(account: Account) -> threading.Event:
    """Set once a synthesis begins, whatever it does then."""
    before, begun = account.before, threading.Event()

    def begin() -> None:
        begun.set()
        before()

    account.before = begin
    return begun
