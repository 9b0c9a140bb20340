"""HTTP connections to the clouds: kept alive, wide enough, trusting the operator's roots."""

from __future__ import annotations

import ssl
from http.cookiejar import DefaultCookiePolicy

import httpx
import requests
from requests.adapters import HTTPAdapter

from settings import Settings

# Keep idle connections for longer than a typical pause between two turns; httpx' default of 5 s
# costs a TLS handshake per turn (contracts/elevenlabs.md §7.3).
KEEPALIVE_SECONDS = 90


def requests_session(settings: Settings, *, width: int) -> requests.Session:
    """A session that ``width`` threads can share without waiting or re-connecting."""
    session = requests.Session()
    prepare_session(session, settings, width=width)
    return session


def prepare_session(session: requests.Session, settings: Settings, *, width: int) -> None:
    """Give an existing session, such as the Twilio client's, the pool and roots of ours."""
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.verify = settings.REQUESTS_CA_BUNDLE or settings.SSL_CERT_FILE or True
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=8, pool_maxsize=width))


def httpx_client(settings: Settings, *, width: int) -> httpx.Client:
    """The same for libraries built on httpx, which by itself ignores REQUESTS_CA_BUNDLE."""
    roots = settings.SSL_CERT_FILE or settings.REQUESTS_CA_BUNDLE or None
    return httpx.Client(
        verify=ssl.create_default_context(cafile=roots) if roots else True,
        limits=httpx.Limits(
            max_connections=None,
            max_keepalive_connections=width,
            keepalive_expiry=KEEPALIVE_SECONDS,
        ),
    )
