"""What is done ahead of turns, so that none waits for it: connections are open, the token fresh."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import httpx
import requests
import structlog

from http_clients.oauth_token import AccessToken
from http_clients.routes import Route

log = structlog.get_logger(__name__)

# Servers and load balancers hang up on connections that were idle for 60 s, some for longer.
# All are used each time, also while the host is busy: pools hand out the one used last, so that
# the others idle even then.
INTERVAL = 45.0
# How often it is looked whether the token is due, which it is for minutes before it ends; where
# Salesforce gives none, it is asked as often.
TOKEN_INTERVAL = 30.0

Routes = Callable[[], Iterable[Route]]


class ConnectionWarmer:
    """Threads of their own; ``clients`` name the routes of one client each, touched in turn."""

    def __init__(
        self, *, token: AccessToken, clients: Sequence[Routes], interval: float = INTERVAL
    ) -> None:
        self._token = token
        self._clients = clients
        self._interval = interval
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        # Whether each host was reached when it was last tried.
        self._reached: dict[str, bool] = {}

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
                route.warm()
            except (requests.RequestException, httpx.HTTPError) as error:
                if self._noted(route.host, reached=False) is not False:
                    reason = type(error).__name__
                    log.warning("Host cannot be reached", host=route.host, error=reason)
            else:
                before = self._noted(route.host, reached=True)
                if before is not True:
                    (log.debug if before is None else log.info)("Host reached", host=route.host)

    def _noted(self, host: str, *, reached: bool) -> bool | None:
        """What was noted before, if anything."""
        with self._lock:
            before = self._reached.get(host)
            self._reached[host] = reached
            return before
