"""An Agentforce stand-in, with shortcuts for its calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import requests
from sseclient import SSEClient

from sandbox.agentforce.helpdesk import Helpdesk
from sandbox.agentforce.standin import AgentforceStandIn
from sandbox.call_recorder import CallRecorder
from sandbox.faults import Fault, Faults
from sandbox.latency import INSTANT, LatencyProfile

AGENT = "0XxTEST00000001AAA"
QUESTION = "How do I register an electronic invoice?"
ARABIC = "كيف أسجل فاتورة إلكترونية؟"
LOGIN = {"grant_type": "client_credentials", "client_id": "key", "client_secret": "secret"}
API = "/einstein/ai-agent/v1"


class Provider:
    """A running stand-in, with shortcuts for its calls."""

    def __init__(
        self, *, latency: LatencyProfile = INSTANT, helpdesk: Helpdesk | None = None
    ) -> None:
        self.recorder, self.faults = CallRecorder(), Faults()
        self.standin = AgentforceStandIn(
            recorder=self.recorder,
            faults=self.faults,
            latency=latency,
            consumer_key="key",
            consumer_secret="secret",
            agent_id=AGENT,
            helpdesk=helpdesk or Helpdesk(),
        )
        self.standin.start()
        self.token = ""

    @property
    def rules(self) -> list[str]:
        return [violation.rule for violation in self.recorder.violations]

    def log_in(self, **fields: str) -> requests.Response:
        url = f"{self.standin.url}/services/oauth2/token"
        return requests.post(url, data=LOGIN | fields, timeout=10)

    def fetch_token(self) -> str:
        self.token = str(self.log_in().json()["access_token"])
        return self.token

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        token = options.pop("token", None) or self.token or self.fetch_token()
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        url = f"{self.standin.url}{API}/{path}"
        return requests.request(method, url, **({"timeout": 10} | options), headers=headers)

    def start(self, agent_id: str = AGENT, **changes: Any) -> requests.Response:
        body: dict[str, Any] = {
            "externalSessionKey": "6c1f6a8e",
            "instanceConfig": {"endpoint": self.standin.url},
            "streamingCapabilities": {"chunkTypes": ["Text"]},
            "bypassUser": True,
        }
        given = {key: value for key, value in (body | changes).items() if value is not None}
        return self.call("POST", f"agents/{agent_id}/sessions", json=given)

    def session(self, **changes: Any) -> str:
        return str(self.start(**changes).json()["sessionId"])

    def ask(self, session: str, text: str = QUESTION, number: int = 1, **options: Any) -> Any:
        message = {"type": "Text", "sequenceId": number, "text": text}
        path = f"sessions/{session}/messages"
        return self.call("POST", path, **({"json": {"message": message}} | options))

    def stream(self, session: str, text: str = QUESTION, number: int = 1, **options: Any) -> Any:
        message = {"type": "Text", "sequenceId": number, "text": text}
        return self.call(
            "POST",
            f"sessions/{session}/messages/stream",
            json={"message": message},
            headers={"Accept": "text/event-stream"},
            stream=True,
            **options,
        )

    def events(self, session: str, text: str = QUESTION, number: int = 1) -> list[Any]:
        """The events of a streamed answer, each as (name, id, data)."""
        answer = self.stream(session, text, number)
        return [
            (event.event, event.id, json.loads(event.data)) for event in SSEClient(answer).events()
        ]

    def end(self, session: str, reason: str | None = "UserRequest") -> requests.Response:
        headers = {} if reason is None else {"x-session-end-reason": reason}
        return self.call("DELETE", f"sessions/{session}", headers=headers)

    def fail(self, call: str, **how: Any) -> None:
        self.faults.add(Fault("agentforce", call, **how))


Start = Callable[..., Provider]


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]
