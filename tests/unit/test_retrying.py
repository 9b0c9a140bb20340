"""When calls are made again; connections fail on real sockets here."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import tenacity.nap
import trustme
from hypothesis import given
from hypothesis import strategies as st

import retrying
from errors import (
    AgentBusy,
    AgentFailed,
    AgentLocked,
    AgentUnavailable,
    BridgeError,
    SendBusy,
    SpeechBusy,
)
from retrying import LONGEST_WAIT, PATIENT_DELAY, never_sent, parse_retry_after, patiently


class Calls:
    """Raises each of ``errors`` in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0

    def __call__(self, answer: str = "answer") -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return answer


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, which nobody sits out, without their jitter."""
    waits: list[float] = []
    monkeypatch.setattr(retrying, "random", SimpleNamespace(uniform=lambda low, high: low))
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=waits.append))
    return waits


def test_success_is_not_repeated(slept: list[float]) -> None:
    call = Calls()
    assert patiently((1.0, 2.0))(call, "hello") == "hello"
    assert (call.made, slept) == (1, [])


def test_tries_at_once_then_after_each_delay(slept: list[float]) -> None:
    call = Calls(*(AgentUnavailable(str(number)) for number in range(3)))
    assert patiently((0.5, 1.0, 2.0))(call) == "answer"
    assert (call.made, slept) == (4, [0.5, 1.0, 2.0])


def test_the_last_error_is_raised_as_it_is(slept: list[float]) -> None:
    call = Calls(*(AgentUnavailable(str(number)) for number in range(9)))
    with pytest.raises(AgentUnavailable, match="2"):
        patiently((0.5, 1.0))(call)
    assert (call.made, slept) == (3, [0.5, 1.0])


def test_without_delays_there_is_one_try(slept: list[float]) -> None:
    call = Calls(AgentUnavailable())
    with pytest.raises(AgentUnavailable):
        patiently(())(call)
    assert (call.made, slept) == (1, [])


@pytest.mark.parametrize("error", [AgentFailed("acted"), ValueError("bug")])
def test_what_is_not_retryable_is_not_repeated(slept: list[float], error: Exception) -> None:
    call = Calls(error)
    with pytest.raises(type(error)):
        patiently((0.5,))(call)
    assert (call.made, slept) == (1, [])


@pytest.mark.parametrize("error", [SpeechBusy, AgentBusy, AgentLocked])
def test_an_error_is_waited_out_for_as_long_as_its_patience(
    slept: list[float], error: type[BridgeError]
) -> None:
    """A limit passes; a service that is down is not worth the user's time."""
    call = Calls(*(error() for _ in range(99)))
    with pytest.raises(error):
        patiently((0.5, 1.0))(call)
    assert slept[:4] == [0.5, 1.0, PATIENT_DELAY, PATIENT_DELAY]
    assert error.patience <= sum(slept) < error.patience + PATIENT_DELAY
    assert call.made == len(slept) + 1


def test_patience_outlasts_what_holds_a_session() -> None:
    """A question whose process died holds it for 120 s (contracts/agentforce.md §6.3)."""
    assert AgentLocked.patience > 120


def test_patience_ends_with_the_error_that_deserved_it(slept: list[float]) -> None:
    call = Calls(AgentBusy(), AgentBusy(), AgentBusy(), AgentUnavailable())
    with pytest.raises(AgentUnavailable):
        patiently((0.5,))(call)
    assert slept == [0.5, PATIENT_DELAY, PATIENT_DELAY]


def test_those_refused_together_do_not_come_back_together(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=waits.append))
    for _ in range(20):
        patiently((1.0,))(Calls(AgentUnavailable()))
    assert len(set(waits)) > 1
    assert all(1.0 <= wait <= 1.5 for wait in waits)


@pytest.mark.parametrize(
    ("asked", "waited"), [(None, 1.0), (0.0, 1.0), (0.5, 1.0), (3.0, 3.0), (3600.0, LONGEST_WAIT)]
)
def test_retry_after_prolongs_a_wait_within_reason(
    slept: list[float], asked: float | None, waited: float
) -> None:
    patiently((1.0,))(Calls(SendBusy(retry_after=asked)))
    assert slept == [waited]


def test_all_waits_are_times_the_factor(slept: list[float]) -> None:
    """Delays, patience, and the longest wait that a cloud can ask for."""
    hasty = patiently((0.5, 1.0), factor=0.1)
    with pytest.raises(AgentBusy):
        hasty(Calls(*(AgentBusy() for _ in range(99))))
    assert slept[:3] == pytest.approx([0.05, 0.1, PATIENT_DELAY / 10])
    assert AgentBusy.patience / 10 <= sum(slept) < (AgentBusy.patience + PATIENT_DELAY) / 10
    slept.clear()
    hasty(Calls(SendBusy(retry_after=3600.0)))
    assert slept == [LONGEST_WAIT / 10]


def test_a_caller_can_be_used_twice(slept: list[float]) -> None:
    caller = patiently((1.0,))
    for _ in range(2):
        assert caller(Calls(AgentUnavailable())) == "answer"
    assert slept == [1.0, 1.0]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        (" 2 ", 2.0),
        ("-5", 0.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("nan", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_headers(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header) == seconds


@given(st.one_of(st.text(), st.floats().map(str)))
def test_any_retry_after_header_is_read_or_not(header: str) -> None:
    seconds = parse_retry_after(header)
    assert seconds is None or seconds >= 0


Treatment = Callable[[socket.socket], None]


class Peer:
    """Accepts one connection on loopback and treats it as ``treatment`` says."""

    def __init__(self, treatment: Treatment) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._treatment = treatment
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            self._treatment(connection)

    def stop(self) -> None:
        # Wakes an accept that nobody came to.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


StartPeer = Callable[[Treatment], Peer]


@pytest.fixture
def peer() -> Iterator[StartPeer]:
    peers: list[Peer] = []

    def start(treatment: Treatment) -> Peer:
        peers.append(Peer(treatment))
        return peers[-1]

    yield start
    for each in peers:
        each.stop()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def roots(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roots") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def failure(url: str, **options: object) -> requests.RequestException:
    with requests.Session() as session:
        session.trust_env = False
        with pytest.raises(requests.RequestException) as caught:
            session.post(url, data="x", **({"timeout": 5} | options))  # type: ignore[arg-type]
    return caught.value


def hang_up(connection: socket.socket) -> None:
    connection.recv(65536)


def reset(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def talk_nonsense(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"nonsense\r\n\r\n")


def keep_silent(connection: socket.socket) -> None:
    """Until the other side leaves, politely or not."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass


@pytest.mark.parametrize("treatment", [hang_up, reset, cut, talk_nonsense])
def test_a_connection_that_broke_later_may_have_had_an_effect(
    peer: StartPeer, treatment: Treatment
) -> None:
    assert not never_sent(failure(f"http://127.0.0.1:{peer(treatment).port}/"))


def test_silence_may_have_had_an_effect(peer: StartPeer) -> None:
    error = failure(f"http://127.0.0.1:{peer(keep_silent).port}/", timeout=(5, 0.05))
    assert isinstance(error, requests.ReadTimeout)
    assert not never_sent(error)


def test_a_refused_connection_had_none() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert isinstance(error, requests.ConnectionError)
    assert never_sent(error)


def test_an_unknown_host_had_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert never_sent(failure("http://nowhere.invalid/"))


def test_a_connection_that_never_came_about_had_none() -> None:
    """A full backlog swallows the SYN, as a dead host does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        error = failure(f"http://127.0.0.1:{address[1]}/", timeout=(0.2, 5))
        for filler in fillers:
            filler.close()
    assert isinstance(error, requests.ConnectTimeout)
    assert never_sent(error)


def test_an_untrusted_certificate_had_none(peer: StartPeer, authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def shake_hands(connection: socket.socket) -> None:
        with pytest.raises(OSError):
            context.wrap_socket(connection, server_side=True)

    error = failure(f"https://localhost:{peer(shake_hands).port}/")
    assert isinstance(error, requests.exceptions.SSLError)
    assert never_sent(error)


def test_tls_that_breaks_after_the_request_may_have_had_an_effect(
    peer: StartPeer, authority: trustme.CA, roots: Path
) -> None:
    """The same class of error as an untrusted certificate, but the request was read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def read_then_break(connection: socket.socket) -> None:
        secured = context.wrap_socket(connection, server_side=True)
        request = b""
        while not request.endswith(b"\r\n\r\nx"):
            request += secured.recv(65536)
        with socket.socket(fileno=secured.detach()) as plain:
            plain.sendall(b"this is no TLS record")
            keep_silent(plain)

    error = failure(f"https://localhost:{peer(read_then_break).port}/", verify=str(roots))
    assert isinstance(error, requests.exceptions.SSLError)
    assert not never_sent(error)


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError(),
        requests.ConnectionError("text"),
        requests.Timeout(),
        requests.exceptions.SSLError(),
        requests.exceptions.ChunkedEncodingError("broken"),
        ConnectionRefusedError(),
        ValueError(),
    ],
)
def test_an_error_that_does_not_tell_may_have_had_an_effect(error: Exception) -> None:
    assert not never_sent(error)
