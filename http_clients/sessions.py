"""Sessions of requests, which keep connections and honour the operator's roots and proxies."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests

from core.settings import Settings
from http_clients.adapters import build_adapter, proxy_finder


def requests_session(settings: Settings, *, connections: int) -> requests.Session:
    """A session that ``connections`` threads can share without waiting or re-connecting."""
    session = _Session()
    # No cookie of a provider is ever sent back.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, build_adapter(settings, connections=connections))
    return session


class _Session(requests.Session):
    """Reads the proxies from the environment once per host.

    Without this, requests searches the environment for each request, and a .netrc file for
    passwords, which takes longer than sending most requests.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self._find_proxies = proxy_finder()

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        merged = self._find_proxies(url) | (proxies or {})
        return super().merge_environment_settings(url, merged, stream, verify, cert)
