"""The access tokens an org has issued."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass

import jwt

# Clients renew a token at the latest this long before it expires; many renew it in the second half
# of its lifetime (docs/providers/agentforce.md, "Token lifetime").
RENEWAL_SECONDS = 60.0
_SIGNING_KEY = "a stand-in signs with this and nobody verifies it"


@dataclass
class _Token:
    expires: float
    renewable_from: float
    in_use: bool


class Tokens:
    """Issues JWTs and remembers them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._issued: dict[str, _Token] = {}

    def issue(self, *, subject: str, issuer: str, lifetime: float, delivered: bool) -> str:
        """Issue a JWT that is valid for ``lifetime`` seconds.

        ``delivered`` is False if a fault may keep the token from the client.
        """
        now = time.time()
        # The times of a JWT are whole seconds.
        expires = int(now + lifetime)
        claims = {
            "sub": subject,
            "iss": issuer,
            "scope": "sfap_api chatbot_api api",
            "iat": int(now),
            "exp": expires,
            "jti": uuid.uuid4().hex,
        }
        token = jwt.encode(claims, _SIGNING_KEY, algorithm="HS256")
        renewable_from = expires - max(RENEWAL_SECONDS, lifetime / 2)
        with self._lock:
            self._issued[token] = _Token(expires, renewable_from, delivered)
        return token

    def in_use(self) -> int:
        """The number of delivered tokens that were not refused and need no renewal yet."""
        now = time.time()
        with self._lock:
            return sum(
                token.in_use and now < token.renewable_from for token in self._issued.values()
            )

    def valid(self, token: str) -> bool:
        with self._lock:
            known = self._issued.get(token)
        return known is not None and time.time() < known.expires

    def mark_refused(self, token: str) -> None:
        """Note that the client got a 401 with ``token``, so that it may fetch another."""
        with self._lock:
            if token in self._issued:
                self._issued[token].in_use = False

    def forget(self) -> None:
        with self._lock:
            self._issued.clear()
