"""My Domain: the OAuth token endpoint of an org, and the check of its tokens."""

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

# The default after the set-up guide (docs/providers/agentforce.md, "Token lifetime").
TOKEN_SECONDS = 1800.0
SCOPES = ("sfap_api", "chatbot_api", "api")
_OPAQUE_TOKEN = "00Dxx0000000000!an.opaque.session.token"


class Misconfiguration(enum.Enum):
    """A mistake of an administrator in the org's set-up.

    docs/providers/agentforce.md, "Setting up the app".
    """

    NO_RUN_AS_USER = "no client credentials user enabled"
    WRONG_DOMAIN = "request not supported on this domain"
    NO_JWT = "the app issues opaque tokens"
    FORBIDDEN = "the user may not use the agent"
    AGENT_INACTIVE = "the agent has no active version"


class LoginStandIn(StandIn):
    """Issues tokens for one app and checks them.

    May be set at any time: ``token_lifetime`` in seconds; ``token_clients``, the number of
    processes that may each have their own token; ``misconfiguration``; ``scopes`` of the app;
    ``instance_url``, if the org has another My Domain than this address.
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
        self.scopes = SCOPES
        self.instance_url: str | None = None
        self.app.register_error_handler(Refusal, self._refuse)
        self.call("token", "/services/oauth2/token", methods=["POST"])(self._token)

    def forget_tokens(self) -> None:
        """Refuse every token issued so far with 401."""
        self._tokens.forget()

    def error(self, status: int) -> Response:
        if g.call.name == "token":
            return errors.login_by_status(status).response()
        if status == 401:
            self._tokens.mark_refused(_bearer_token())
        session_id = (request.view_args or {}).get("session_id", "")
        return errors.by_status(status, session_id).response()

    def authorise(self) -> None:
        """Raises ``Refusal`` if the current request has no valid token."""
        if "Authorization" not in request.headers:
            raise Unrecognised(breach="no bearer token")
        token = _bearer_token()
        if "!" in token or token.count(".") != 2:
            raise Unrecognised
        if not self._tokens.valid(token):
            self._tokens.mark_refused(token)
            raise errors.unauthorized()
        if self.misconfiguration is Misconfiguration.FORBIDDEN:
            raise errors.forbidden()

    def _refuse(self, refusal: Refusal) -> Response:
        if refusal.breach is not None:
            self.record_violation(g.call.name, refusal.breach)
        return refusal.response()

    def _token(self) -> Response:
        self._check_login()
        # A fault may keep the token from the client, who then has to request another.
        delivered = g.fault is None
        if delivered and self._tokens.in_use() >= self.token_clients:
            self.record_violation("token", "a token was fetched while a valid one exists")
        answer = {
            "signature": "c3RhbmQtaW4=",
            "scope": " ".join(self.scopes),
            "instance_url": self.instance_url or self.url,
            "id": f"{self.url}/id/00Dxx0000000000AAA/005xx0000000000AAA",
            "token_type": "Bearer",
            "issued_at": str(int(time.time() * 1000)),
        }
        return jsonify(answer | self._token_fields(delivered))

    def _token_fields(self, delivered: bool) -> Json:
        """The token; only an app that issues JWTs also returns the API's host."""
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
        """Raises ``LoginRefusal``; parameters in the query work too, but are a violation."""
        if request.args:
            self.record_violation("token", "credentials in the query string")
        parameters = request.values
        if parameters.get("grant_type") != "client_credentials":
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
        if parameters.get("client_id") != self._consumer_key:
            raise LoginRefusal(400, "invalid_client_id", "client identifier invalid")
        if parameters.get("client_secret") != self._consumer_secret:
            raise LoginRefusal(400, "invalid_client", "invalid client credentials")


def _bearer_token() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
