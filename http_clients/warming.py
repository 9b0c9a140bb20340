"""Keeps connections open and the token fresh, so that no turn waits for either."""

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

# In seconds. Servers and load balancers close connections that were idle for 60 s or longer. All
# connections of a route are used, even while the host is busy: pools hand out the connection used
# last, so that the others stay idle.
INTERVAL = 45.0
# The token is checked this often; it is due for minutes before it expires. After a failure this is
# also the time until Salesforce is asked again.
TOKEN_INTERVAL = 30.0

# Returns the routes of one client, which may change once there is a token.
Routes = Callable[[], Iterable[Route]]


class ConnectionWarmer:
    """One thread renews the token; one thread for each of ``clients`` warms its routes in turn."""

    def __init__(
        self, *, token: AccessToken, clients: Sequence[Routes], interval: float = INTERVAL
    ) -> None:
        self._token = token
        self._clients = clients
        self._interval = interval
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        # Whether each host was reached at the last try.
        self._reachable: dict[str, bool] = {}

    def start(self) -> None:
        """Start the threads, each of which begins at once; does not wait for them."""
        self._repeat(self._token.renew, TOKEN_INTERVAL)
        for routes in self._clients:
            self._repeat(partial(self._warm_all, routes), self._interval)

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

    def _warm_all(self, routes: Routes) -> None:
        for route in routes():
            try:
                route.warm()
            except (requests.RequestException, httpx.HTTPError) as error:
                if self._update(route.host, reachable=False) is not False:
                    reason = type(error).__name__
                    log.warning("Host cannot be reached", host=route.host, error=reason)
            else:
                before = self._update(route.host, reachable=True)
                if before is not True:
                    (log.debug if before is None else log.info)("Host reached", host=route.host)

    def _update(self, host: str, *, reachable: bool) -> bool | None:
        """Returns the former value; ``None`` if there was none."""
        with self._lock:
            before = self._reachable.get(host)
            self._reachable[host] = reachable
            return before
