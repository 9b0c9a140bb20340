"""What is done ahead of turns, so that none waits for it: connections are open, the token fresh."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import httpx
import requests
import structlog

from access_token import AccessToken
from connections import Route

log = structlog.get_logger(__name__)

# Servers and load balancers hang up on connections that were idle for 60 s, some for longer.
# All are used each time, also while the host is busy: pools hand out the one used last, so that
# the others idle even then.
INTERVAL = 45.0
# How often it is looked whether the token is due; those of an hour are for minutes before.
TOKEN_INTERVAL = 10.0

Routes = Callable[[], Iterable[Route]]


class Warmer:
    """Threads of their own; ``clients`` name the routes of one client each, touched in turn."""

    def __init__(
        self, *, token: AccessToken, clients: Sequence[Routes], interval: float = INTERVAL
    ) -> None:
        self._token = token
        self._clients = clients
        self._interval = interval
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._lost: set[str] = set()

    def start(self) -> None:
        """Begin at once, without waiting for any of it."""
        self._repeat(self._token.renew, TOKEN_INTERVAL)
        for routes in self._clients:
            self._repeat(partial(self._touch_all, routes), self._interval)

    def stop(self) -> None:
        self._stopped.set()

    def _repeat(self, step: Callable[[], None], seconds: float) -> None:
        def run() -> None:
            while True:
                try:
                    step()
                except Exception:
                    log.exception("Warming failed; trying again")
                if self._stopped.wait(seconds):
                    return

        threading.Thread(target=run, name="warm", daemon=True).start()

    def _touch_all(self, routes: Routes) -> None:
        for route in routes():
            try:
                route.touch()
            except (requests.RequestException, httpx.HTTPError) as error:
                self._note_lost(route.host, error)
            else:
                self._note_reached(route.host)

    def _note_lost(self, host: str, error: Exception) -> None:
        with self._lock:
            known = host in self._lost
            self._lost.add(host)
        if not known:
            log.warning("Host cannot be reached", host=host, error=type(error).__name__)

    def _note_reached(self, host: str) -> None:
        with self._lock:
            known = host in self._lost
            self._lost.discard(host)
        if known:
            log.info("Host reached again", host=host)
