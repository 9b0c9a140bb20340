"""My Domain: the OAuth token endpoint of an org, and who may call its API."""

from __future__ import annotations

import enum
import time

from flask import Response, g, jsonify, request

from sandbox.agentforce import errors
from sandbox.agentforce.errors import Json, LoginRefusal, Refusal, Unrecognised
from sandbox.agentforce.tokens import Tokens
from sandbox.call_recorder import CallRecorder
from sandbox.faults import Faults
from sandbox.latency import LatencyProfile
from sandbox.standin import StandIn

# What the set-up guide leaves it at (docs/providers/agentforce.md, "Token lifetime").
TOKEN_SECONDS = 1800.0
_OPAQUE_TOKEN = "00Dxx0000000000!an.opaque.session.token"


class Misconfiguration(enum.Enum):
    """What an administrator may have got wrong in the org.

    docs/providers/agentforce.md, "Setting up the app".
    """

    NO_RUN_AS_USER = "no client credentials user enabled"
    WRONG_DOMAIN = "request not supported on this domain"
    NO_JWT = "the app issues opaque tokens"
    FORBIDDEN = "the user may not use the agent"
    AGENT_INACTIVE = "the agent has no active version"


class LoginStandIn(StandIn):
    """Issues tokens for one app and knows them again.

    Switches, to be set at any time: ``token_lifetime`` in seconds; ``token_clients``, how many
    processes may each hold a token of their own; ``misconfiguration``.
    """

    service = "agentforce"

    def __init__(
        self,
        *,
        recorder: CallRecorder,
        faults: Faults,
        latency: LatencyProfile,
        port: int = 0,
        consumer_key: str,
        consumer_secret: str,
    ) -> None:
        super().__init__(recorder=recorder, faults=faults, latency=latency, port=port)
        self._consumer_key = consumer_key
        self._consumer_secret = consumer_secret
        self._tokens = Tokens()
        self.token_lifetime = TOKEN_SECONDS
        self.token_clients = 1
        self.misconfiguration: Misconfiguration | None = None
        self.app.register_error_handler(Refusal, self._refused)
        self.call("token", "/services/oauth2/token", methods=["POST"])(self._token)

    def forget_tokens(self) -> None:
        """Refuse every token issued so far with 401."""
        self._tokens.forget()

    def error(self, status: int) -> Response:
        if g.call.name == "token":
            return errors.login_by_status(status).response()
        if status == 401:
            self._tokens.refused(_bearer())
        session_id = (request.view_args or {}).get("session_id", "")
        return errors.by_status(status, session_id).response()

    def authorise(self) -> None:
        """Raises what a request without a valid token gets."""
        if "Authorization" not in request.headers:
            raise Unrecognised(breach="no bearer token")
        token = _bearer()
        if "!" in token or token.count(".") != 2:
            raise Unrecognised
        if not self._tokens.valid(token):
            self._tokens.refused(token)
            raise errors.unauthorized()
        if self.misconfiguration is Misconfiguration.FORBIDDEN:
            raise errors.forbidden()

    def _refused(self, refusal: Refusal) -> Response:
        if refusal.breach is not None:
            self.record_violation(g.call.name, refusal.breach)
        return refusal.response()

    def _token(self) -> Response:
        self._check_login()
        # A fault may keep the token from the client, who is then right to ask again.
        delivered = g.fault is None
        if delivered and self._tokens.in_use() >= self.token_clients:
            self.record_violation("token", "a token was fetched while a valid one exists")
        answer = {
            "signature": "c3RhbmQtaW4=",
            "scope": "sfap_api chatbot_api api",
            "instance_url": self.url,
            "id": f"{self.url}/id/00Dxx0000000000AAA/005xx0000000000AAA",
            "token_type": "Bearer",
            "issued_at": str(int(time.time() * 1000)),
        }
        return jsonify(answer | self._access(delivered))

    def _access(self, delivered: bool) -> Json:
        """The token, which only a JWT-capable app pairs with an API host."""
        if self.misconfiguration is Misconfiguration.NO_JWT:
            return {"access_token": _OPAQUE_TOKEN}
        token = self._tokens.issue(
            subject=self._consumer_key,
            issuer=self.url,
            lifetime=self.token_lifetime,
            delivered=delivered,
        )
        return {"access_token": token, "token_format": "jwt", "api_instance_url": self.url}

    def _check_login(self) -> None:
        """Raises the token's errors; parameters may stand in the query too, which is a breach."""
        if request.args:
            self.record_violation("token", "credentials in the query string")
        given = request.values
        if given.get("grant_type") != "client_credentials":
            raise LoginRefusal(
                400,
                "unsupported_grant_type",
                "grant type not supported",
                breach="grant_type is not client_credentials",
            )
        if self.misconfiguration in (
            Misconfiguration.NO_RUN_AS_USER,
            Misconfiguration.WRONG_DOMAIN,
        ):
            raise LoginRefusal(400, "invalid_grant", self.misconfiguration.value)
        if given.get("client_id") != self._consumer_key:
            raise LoginRefusal(400, "invalid_client_id", "client identifier invalid")
        if given.get("client_secret") != self._consumer_secret:
            raise LoginRefusal(400, "invalid_client", "invalid client credentials")


def _bearer() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
