"""Fault injection: what the bridge's HTTP clients see of each kind."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import requests
from flask import Response, request

from sandbox.call_recorder import CallRecorder
from sandbox.faults import Fault, Faults, Kind
from sandbox.latency import INSTANT, LatencyProfile
from sandbox.standin import StandIn
from tests.sandbox.waiting import wait_until

TEXT = "0123456789" * 10


class EchoStandIn(StandIn):
    """Answers with a fixed text, whole or streamed, and records which views ran."""

    service = "echo"

    def __init__(
        self, *, recorder: CallRecorder, faults: Faults, latency: LatencyProfile = INSTANT
    ) -> None:
        super().__init__(recorder=recorder, faults=faults, latency=latency)
        self.worked: list[str] = []
        self.call("ask", "/ask", methods=["POST"])(self._ask)
        self.call("stream", "/stream", methods=["POST"])(self._stream)

    def error(self, status: int) -> Response:
        return Response(f"no {status}", status)

    def _ask(self) -> Response:
        self.worked.append("ask")
        return Response(TEXT)

    def _stream(self) -> Response:
        self.worked.append("stream")
        return Response(iter([TEXT[:50].encode(), TEXT[50:].encode()]))


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def echo(faults: Faults) -> Iterator[EchoStandIn]:
    standin = EchoStandIn(recorder=CallRecorder(), faults=faults)
    standin.start()
    yield standin
    standin.stop()


def by_requests(url: str) -> tuple[int, str]:
    answer = requests.post(url, data=b"x" * 10_000, timeout=5)
    return answer.status_code, answer.text


def by_httpx(url: str) -> tuple[int, str]:
    answer = httpx.post(url, content=b"x" * 10_000, timeout=5)
    return answer.status_code, answer.text


Client = Callable[[str], tuple[int, str]]
BROKEN = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, httpx.TransportError)
clients = pytest.mark.parametrize("client", [by_requests, by_httpx])


@clients
@pytest.mark.parametrize("path", ["ask", "stream"])
def test_without_a_fault_the_answer_is_complete(
    echo: EchoStandIn, client: Client, path: str
) -> None:
    """Streamed or not."""
    assert client(f"{echo.url}/{path}") == (200, TEXT)


@clients
@pytest.mark.parametrize("path", ["ask", "stream"])
@pytest.mark.parametrize("kind", ["reset", "vanish", "cut"])
def test_broken_connections_are_connection_errors(
    echo: EchoStandIn, faults: Faults, client: Client, path: str, kind: Kind
) -> None:
    """The client gets no answer, and its next call succeeds."""
    faults.add(Fault("echo", path, kind))
    with pytest.raises(BROKEN):
        client(f"{echo.url}/{path}")
    assert client(f"{echo.url}/{path}") == (200, TEXT)


def test_only_reset_prevents_the_work(echo: EchoStandIn, faults: Faults) -> None:
    """The call is not executed with reset, but it is with vanish and cut."""
    kinds: list[Kind] = ["reset", "vanish", "cut"]
    worked = []
    for kind in kinds:
        faults.add(Fault("echo", "ask", kind))
        with pytest.raises(BROKEN):
            by_requests(f"{echo.url}/ask")
        worked.append(len(echo.worked))
    assert worked == [0, 1, 2]


def test_broken_connections_end_with_a_reset(echo: EchoStandIn, faults: Faults) -> None:
    """The client gets RST, not an orderly close."""
    faults.add(Fault("echo", "ask", "reset"))
    with socket.create_connection(("127.0.0.1", echo.port), timeout=5) as client:
        client.sendall(b"POST /ask HTTP/1.1\r\nHost: echo\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_half_of_a_cut_answer_arrives(echo: EchoStandIn, faults: Faults) -> None:
    """The first half of a cut answer reaches the client before the connection breaks."""
    faults.add(Fault("echo", "stream", "cut"))
    read = b""
    with (
        pytest.raises(httpx.TransportError),
        httpx.stream("POST", f"{echo.url}/stream", timeout=5) as answer,
    ):
        for chunk in answer.iter_raw():
            read += chunk
    assert read.decode() == TEXT[:50]


@clients
def test_a_trickled_answer_is_slow_but_complete(
    echo: EchoStandIn, faults: Faults, client: Client
) -> None:
    faults.add(Fault("echo", "ask", "trickle", seconds=0.002))
    started = time.monotonic()
    assert client(f"{echo.url}/ask") == (200, TEXT)
    assert time.monotonic() - started >= 0.002 * len(TEXT)


def test_a_hang_outlasts_a_read_timeout(echo: EchoStandIn, faults: Faults) -> None:
    faults.add(Fault("echo", "ask", "hang", seconds=0.5))
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{echo.url}/ask", timeout=0.1)


def test_an_injected_error_has_the_services_format(echo: EchoStandIn, faults: Faults) -> None:
    """With the headers of the fault."""
    faults.add(Fault("echo", "ask", status=429, headers={"Retry-After": "3"}))
    answer = requests.post(f"{echo.url}/ask", timeout=5)
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (429, "no 429", "3")


def test_faults_count_their_calls(echo: EchoStandIn, faults: Faults) -> None:
    """``after`` calls succeed, ``times`` calls fail, and then calls succeed again."""
    faults.add(Fault("echo", "ask", status=503, times=2, after=1))
    answers = [by_requests(f"{echo.url}/ask")[0] for _ in range(5)]
    assert answers == [200, 503, 503, 200, 200]


def test_a_fault_with_about_applies_to_matching_requests_only(
    echo: EchoStandIn, faults: Faults
) -> None:
    """Other requests do not count for ``after`` and ``times``."""
    faults.add(Fault("echo", "ask", status=503, after=1, about="Anna"))
    names = ["Anna", "Ben", "Anna", "Ben", "Anna"]
    answers = [requests.post(f"{echo.url}/ask", data=name, timeout=5) for name in names]
    assert [answer.status_code for answer in answers] == [200, 200, 503, 200, 200]


def test_removing_a_fault_returns_when_it_was_applied(echo: EchoStandIn, faults: Faults) -> None:
    """An equal fault stays switched on."""
    first, second = (Fault("echo", "ask", status=503, times=1) for _ in range(2))
    faults.add(first)
    faults.add(second)
    began = time.monotonic()
    by_requests(f"{echo.url}/ask")
    (applied_at,) = faults.remove(first)
    assert began <= applied_at <= time.monotonic()
    assert by_requests(f"{echo.url}/ask")[0] == 503


@pytest.mark.parametrize(("kind", "fails"), [("hang", False), ("trickle", False), ("vanish", True)])
def test_removing_a_fault_ends_its_wait(
    echo: EchoStandIn, faults: Faults, kind: Kind, fails: bool
) -> None:
    fault = Fault("echo", "ask", kind, seconds=60)
    faults.add(fault)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.post, f"{echo.url}/ask", timeout=30)
        wait_until(lambda: not faults.active(), "the call")
        faults.remove(fault)
        assert isinstance(answer.exception(20), requests.ConnectionError) == fails


def test_connections_are_kept_alive(echo: EchoStandIn) -> None:
    """Even if the view did not read the request's body."""
    echo.app.add_url_rule("/port", view_func=lambda: str(request.environ["REMOTE_PORT"]))
    with requests.Session() as session:
        session.post(f"{echo.url}/ask", data=b"x" * 100_000, timeout=5)
        ports = {session.get(f"{echo.url}/port", timeout=5).text for _ in range(3)}
        session.post(f"{echo.url}/stream", data=iter([b"x" * 1000, b"y"]), timeout=5)
        ports.add(session.get(f"{echo.url}/port", timeout=5).text)
    assert len(ports) == 1


def test_a_stopped_server_is_unreachable_until_it_starts_again(echo: EchoStandIn) -> None:
    """Stopping closes idle connections too; it starts again on the same port."""
    with requests.Session() as session:
        assert session.post(f"{echo.url}/ask", timeout=5).text == TEXT
        echo.stop()
        with pytest.raises(requests.ConnectionError):
            session.post(f"{echo.url}/ask", timeout=5)
        echo.start()
        assert session.post(f"{echo.url}/ask", timeout=5).text == TEXT


def test_two_hundred_calls_at_once(echo: EchoStandIn) -> None:
    """All are served, and their threads end."""
    before = set(threading.enumerate())
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(by_requests, [f"{echo.url}/ask"] * 200))
    assert answers == [(200, TEXT)] * 200
    for thread in set(threading.enumerate()) - before:
        if "process_request_thread" in thread.name:
            thread.join(5)
            assert not thread.is_alive()
    assert len(echo.recorder.calls("echo", "ask")) == 200


@pytest.mark.parametrize("kind", ["reset", "vanish", "cut"])
def test_broken_connections_print_nothing(
    echo: EchoStandIn, faults: Faults, kind: Kind, capfd: pytest.CaptureFixture[str]
) -> None:
    """Faults are not errors of the stand-in, so nothing is written to stderr."""
    faults.add(Fault("echo", "ask", kind))
    with pytest.raises(BROKEN):
        by_requests(f"{echo.url}/ask")
    by_requests(f"{echo.url}/ask")
    assert capfd.readouterr().err == ""
