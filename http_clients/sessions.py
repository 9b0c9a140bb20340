"""HTTP connections to the providers: kept alive, wide enough, trusting the operator's roots."""

from __future__ import annotations

import functools
import io
import json
import math
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies
from urllib3 import Timeout
from urllib3.exceptions import DecodeError, HTTPError
from urllib3.poolmanager import PoolManager

from core.deadline import Deadline, clamp
from core.errors import DeadlineExceeded
from core.settings import Settings
from http_clients.unsent_requests import POOLS

# Kept open on each route: a turn uses one, so this is for a few that come at once. A larger burst
# opens its own, which stay open for the next one.
CONNECTIONS = 4
# For there to be a connection, and again for TLS.
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 5.0
CHUNK = 64 * 1024
# An answer in JSON: the largest, Twilio's list of 20 messages, takes a tenth of it. What is larger
# comes from something that is broken, and would fill the memory.
JSON_LIMIT = 1024 * 1024

# What is raised where JSON is none, or has more digits or more depth than Python reads.
UNREADABLE = (ValueError, RecursionError)

# What zlib calls a stream whose header says whether it is gzip's or its own.
_ANY_HEADER = 47
_PACKED = ("gzip", "x-gzip", "deflate")


class BodyTooLarge(requests.RequestException, HTTPError):
    """The body is larger than any that is meant to be read."""


@dataclass(frozen=True)
class Route:
    """The way of ``client`` to the host of ``address``, with so many connections to keep open."""

    client: requests.Session | httpx.Client
    address: str
    number: int = CONNECTIONS

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def warm(self) -> None:
        """Open the connections or, if they are, use them: one request each, that needs no rights.

        Raises ``requests.RequestException`` or ``httpx.HTTPError``.
        """
        with ExitStack() as held:
            # None is given back before all are taken, or all would be the same.
            for _ in range(self.number):
                held.callback(self._probe())

    def _probe(self) -> Callable[[], object]:
        """What gives the connection back, so that it can be used again."""
        door = urljoin(self.address, "/")
        if isinstance(self.client, httpx.Client):
            request = self.client.build_request("HEAD", door, timeout=PROBE_SECONDS)
            return self.client.send(request, stream=True).read
        response = self.client.head(door, stream=True, timeout=PROBE_SECONDS)
        return lambda: response.content


def requests_session(settings: Settings, *, width: int) -> requests.Session:
    """A session that ``width`` threads can share without waiting or re-connecting."""
    session = _Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, build_adapter(settings, width=width))
    return session


def build_adapter(settings: Settings, *, width: int) -> Adapter:
    """What carries out the requests of ``width`` threads."""
    context = _trusting(settings.REQUESTS_CA_BUNDLE or settings.SSL_CERT_FILE)
    patience = settings.PROVIDER_TIMEOUT_FACTOR
    return Adapter(context=context, width=width + CONNECTIONS, timeout_factor=patience)


def read_chunks(
    response: requests.Response, timeout: float, *, most: int = JSON_LIMIT
) -> Iterator[bytes]:
    """A body as it comes in, each chunk within ``timeout``, all within the turn's deadline.

    Raises ``BodyTooLarge`` beyond ``most`` bytes, ``DeadlineExceeded`` or another
    ``requests.RequestException``.
    """
    try:
        # ``iter_content`` would wait until a chunk is full.
        yield from read_body_chunks(response.raw, timeout, most=most)
    except BodyTooLarge:
        raise
    except HTTPError as error:
        raise requests.ConnectionError(error) from error


def read_body_chunks(body: Any, timeout: float, *, most: int) -> Iterator[bytes]:
    """The same of an answer of urllib3, whose ``HTTPError`` it raises."""
    sent = _up_to(most, _sent(body, timeout))
    encoding = body.headers.get("Content-Encoding", "").strip().lower()
    return _up_to(most, _unpacked(sent)) if encoding in _PACKED else sent


def _sent(body: Any, timeout: float) -> Iterator[bytes]:
    while chunk := body.read1(CHUNK, decode_content=False):
        yield chunk
        left = clamp(timeout)
        # A body that has ended has given its connection back.
        if body.connection and body.connection.sock:
            body.connection.sock.settimeout(left)


def _up_to(most: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        most -= len(piece)
        if most < 0:
            raise BodyTooLarge("the answer is too large")
        yield piece


def _unpacked(packed: Iterator[bytes]) -> Iterator[bytes]:
    """In pieces of one chunk at most; urllib3 reads on for as long as nothing is in what comes."""
    unpacking = zlib.decompressobj(_ANY_HEADER)
    try:
        for piece in packed:
            rest = piece
            while rest and not unpacking.eof:
                yield unpacking.decompress(rest, CHUNK)
                rest = unpacking.unconsumed_tail
        yield unpacking.flush()
    except zlib.error as error:
        raise DecodeError("the answer cannot be unpacked") from error


def json_object(body: bytes) -> dict[str, Any]:
    """The object that a body in JSON holds; empty where it is none, or cannot be read."""
    try:
        found = json.loads(body)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def limit_answer_time(seconds: float) -> Callable[..., None]:
    """A response hook of requests: the whole body within ``seconds``, however slowly it comes.

    Raises ``requests.RequestException``, such as ``BodyTooLarge``.
    """

    def read(response: requests.Response, **_: object) -> None:
        try:
            with Deadline(seconds).applied():
                body = b"".join(read_chunks(response, seconds))
        except DeadlineExceeded:
            response.close()
            raise requests.ReadTimeout(f"no whole answer in {seconds:g} s") from None
        except requests.RequestException:
            response.close()
            raise
        response.raw = io.BytesIO(body)

    return read


def proxy_finder() -> Callable[[str], dict[str, str]]:
    """What tells the proxies on the way to an address, and asks the environment once per host."""
    found = functools.lru_cache(maxsize=64)(get_environ_proxies)
    return lambda url: found(urljoin(url, "/"))


class _Session(requests.Session):
    """Takes the environment to stay as it is.

    By itself requests looks through it for every request, and for passwords in a .netrc file,
    which takes longer than sending most of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self._proxies = proxy_finder()

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        known = self._proxies(url) | (proxies or {})
        return super().merge_environment_settings(url, known, stream, verify, cert)


class Adapter(HTTPAdapter):
    """Lets all connections share one TLS context, and gives them ``CONNECT_SECONDS`` to come about.

    By itself requests makes one for each connection and loads the roots into it, which takes most
    of the CPU and memory of opening it (docs/decisions.md, "Ready before it is needed"). All waits
    are times ``patience``.
    """

    def __init__(self, *, context: ssl.SSLContext, width: int, timeout_factor: float = 1.0) -> None:
        self._context = context
        self._connect_seconds = CONNECT_SECONDS * timeout_factor
        super().__init__(pool_connections=8, pool_maxsize=width)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: Any
    ) -> None:
        self.poolmanager = PoolManager(
            num_pools=connections,
            maxsize=maxsize,
            block=block,
            ssl_context=self._context,
            **options,
        )
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        pools = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
        pools.pool_classes_by_scheme = POOLS
        return pools

    def send(
        self, request: Any, stream: bool = False, timeout: Any = None, *rest: Any, **options: Any
    ) -> requests.Response:
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        timeout = self.limits(connect, read)
        return super().send(request, stream, timeout, *rest, **options)

    def limits(self, connect: float | None, read: float | None) -> Timeout:
        """These seconds, but no more than ``CONNECT_SECONDS`` to connect."""
        return Timeout(connect=min(connect or math.inf, self._connect_seconds), read=read)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        # A file of roots named here would be loaded into the context for each connection.
        return super().build_connection_pool_key_attributes(request, True, cert)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context has the roots, and verifies by them."""


@functools.cache
def _trusting(roots: str) -> ssl.SSLContext:
    """One context per file of roots, by default those that requests brings along."""
    return ssl.create_default_context(cafile=roots or DEFAULT_CA_BUNDLE_PATH)
