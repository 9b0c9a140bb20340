"""A stand-in for Salesforce: the OAuth token endpoint and the Agent API."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider

from sandbox.agentforce import errors
from sandbox.agentforce.errors import API, Refusal
from sandbox.agentforce.events import (
    Stream,
    StreamStyle,
    divide_into_writes,
    end_reason,
    greeting,
    session_ended,
    synchronous_messages,
)
from sandbox.agentforce.helpdesk import Helpdesk, HelpdeskError
from sandbox.agentforce.login import LoginStandIn, Misconfiguration
from sandbox.agentforce.requests import (
    END_REASONS,
    Feedback,
    Send,
    Start,
    check_agent_id,
    check_endpoint,
    check_variables,
    parse_body,
)
from sandbox.agentforce.sessions import Ended, Session, Sessions
from sandbox.agentforce.turn import Question, Turn
from sandbox.call_recorder import CallRecorder
from sandbox.faults import Faults
from sandbox.latency import LatencyProfile

Json = dict[str, Any]

_log = logging.getLogger(__name__)

# The API gives up on a call after this many seconds, with a 500
# (docs/providers/agentforce.md, "Limits").
CALL_SECONDS = 120.0
_NOT_FOUND_PAGE = "<html><head><title>URL No Longer Exists</title></head><body></body></html>"


class AgentforceStandIn(LoginStandIn):
    """My Domain and Agent API of one org with one agent, on one host.

    May be set at any time, beside the attributes of the base class: ``employee_agent``;
    ``session_idle_seconds``; ``settable_variables`` beside ``$Context``; ``stream_style``;
    ``call_seconds``, after which a call ends with a 500. While the event ``may_end`` is cleared,
    streamed answers stop before the event that confirms or takes back their text.
    """

    limited = frozenset({"session", "ask"})

    def __init__(
        self,
        *,
        recorder: CallRecorder,
        faults: Faults,
        latency: LatencyProfile,
        port: int = 0,
        consumer_key: str,
        consumer_secret: str,
        agent_id: str,
        helpdesk: Helpdesk,
    ) -> None:
        super().__init__(
            recorder=recorder,
            faults=faults,
            latency=latency,
            port=port,
            consumer_key=consumer_key,
            consumer_secret=consumer_secret,
        )
        self._agent_id = agent_id
        self._helpdesk = helpdesk
        self._sessions = Sessions()
        self._questions: list[Question] = []
        self.employee_agent = False
        self.settable_variables: set[str] = set()
        self.stream_style = StreamStyle()
        self.call_seconds = CALL_SECONDS
        self.may_end = threading.Event()
        self.may_end.set()
        # Like the real service: UTF-8 without escapes, and keys in the order of the schema.
        self.app.json = _Json(self.app)
        self.app.register_error_handler(HelpdeskError, self._broken_helpdesk)
        self.app.register_error_handler(404, self._no_such_page)
        self.app.register_error_handler(405, self._no_such_page)
        self._add_routes()

    def _add_routes(self) -> None:
        session = f"{API}/sessions/<session_id>"
        turn = functools.partial(
            self.call, "ask", adds_latency=False, hangs=False, methods=["POST"]
        )
        self.call("session", f"{API}/agents/<agent_id>/sessions", methods=["POST"])(self._start)
        turn(f"{session}/messages")(self._ask)
        turn(f"{session}/messages/stream")(self._ask_streamed)
        self.call("end", session, methods=["DELETE"])(self._end)
        self.call("feedback", f"{session}/feedback", methods=["POST"])(self._feedback)
        self.call("status", f"{API}/status", methods=["GET"])(lambda: {"status": "UP"})

    @property
    def session_idle_seconds(self) -> float:
        return self._sessions.idle_seconds

    @session_idle_seconds.setter
    def session_idle_seconds(self, seconds: float) -> None:
        self._sessions.idle_seconds = seconds

    @property
    def sessions(self) -> list[Session]:
        """All sessions that were ever started, the oldest first."""
        return self._sessions.all()

    @property
    def questions(self) -> list[Question]:
        """All questions to the agent, in order of arrival."""
        return list(self._questions)

    @property
    def ended(self) -> list[Ended]:
        return self._sessions.ended()

    @property
    def busy(self) -> set[str]:
        """The ids of the sessions that are locked by a message."""
        return self._sessions.busy()

    def forget_sessions(self, message: str = "") -> None:
        """Let all sessions expire; ``message`` replaces the usual message of the 404."""
        self._sessions.expire_all(message)

    def _broken_helpdesk(self, error: HelpdeskError) -> Response:
        _log.error("The help desk cannot answer: %s", error)
        return errors.agent_failed(str(error)).response()

    def _no_such_page(self, error: Exception) -> Response:
        self.record_violation("none", f"no such call: {request.method} {request.path}")
        return Response(_NOT_FOUND_PAGE, 404, mimetype="text/html")

    def _start(self, agent_id: str) -> Response:
        self.authorise()
        body = parse_body(Start)
        check_agent_id(agent_id, self._agent_id)
        check_endpoint(body.instance_config.endpoint, self.url)
        check_variables(body.variables, self.settable_variables, starting=True)
        if self.misconfiguration is Misconfiguration.AGENT_INACTIVE:
            raise errors.inactive_agent()
        if self.employee_agent and body.bypass_user:
            raise errors.invalid_user()
        session = self._sessions.start(
            external_session_key=body.external_session_key,
            text_chunks=body.wants_text_chunks,
            variables={variable.name: variable.value for variable in body.variables or []},
        )
        self.recorder.notify()
        answer = jsonify(
            sessionId=session.session_id,
            _links=self._links(session.session_id),
            messages=[greeting(self._helpdesk.greeting(body.language))],
        )
        answer.headers["x-session-mode"] = "default"
        return answer

    def _ask(self, session_id: str) -> Response:
        turn = self._begin_turn(session_id, streamed=False)
        try:
            time.sleep(self.latency.ask)
            for message in turn.messages:
                if message.get("envelope") == "bare":
                    raise Refusal(message["httpStatus"], message["error"], message["message"])
            messages = synchronous_messages(turn.messages)
            return jsonify(messages=messages, _links=self._links(session_id))
        finally:
            self._finish_turn(turn)

    def _ask_streamed(self, session_id: str) -> Response:
        if "text/event-stream" not in request.headers.get("Accept", ""):
            self.record_violation("ask", "Accept is not text/event-stream")
        turn = self._begin_turn(session_id, streamed=True)
        style = self.stream_style
        writes = divide_into_writes(self._stream(turn, style), style)
        answer = Response(writes, mimetype="text/event-stream")
        # In case the client disconnects before the generator starts.
        answer.call_on_close(lambda: self._finish_turn(turn))
        return answer

    def _begin_turn(self, session_id: str, *, streamed: bool) -> Turn:
        """Lock the session and let the agent answer. Raises ``Refusal``."""
        self.authorise()
        body = parse_body(Send)
        check_variables(body.variables, self.settable_variables, starting=False)
        sequence_id = int(body.message.sequence_id)
        session = self._sessions.begin(session_id, sequence_id, excused=g.fault is not None)
        try:
            if not streamed:
                self._check_accept()
            text = body.message.text or ""
            self._record_question(session, sequence_id, text, streamed)
            self._wait_out_hang()
            messages = self._helpdesk.answer(session_id, text)
        except BaseException:
            self._sessions.finish(session_id, sequence_id)
            raise
        # The slot is released by ``_finish_turn``, because a view returns before its stream ends.
        cleanup = g.cleanup.pop_all()
        return Turn(session, sequence_id, messages, delivered=g.fault is None, cleanup=cleanup)

    def _check_accept(self) -> None:
        """Refuse the synchronous call to a client that expects events, as the real API does."""
        if "text/event-stream" in request.headers.get("Accept", ""):
            breach = "Accept: text/event-stream on the synchronous call"
            raise errors.agent_failed("Could not find acceptable representation", breach)

    def _record_question(
        self, session: Session, sequence_id: int, text: str, streamed: bool
    ) -> None:
        if not text.strip():
            self.record_violation("ask", "the agent was asked nothing")
        key, at = session.external_session_key, time.monotonic()
        self._questions.append(Question(session.session_id, key, sequence_id, text, at, streamed))
        self.recorder.notify()

    def _wait_out_hang(self) -> None:
        """Wait if the call has a ``hang`` fault; raises a 500 if the call takes too long."""
        hang = g.fault.seconds if g.fault is not None and g.fault.kind == "hang" else 0.0
        if hang:
            self.faults.wait(g.fault, min(hang, self.call_seconds))
        if hang + self.latency.ask > self.call_seconds:
            raise errors.timed_out()

    def _stream(self, turn: Turn, style: StreamStyle) -> Iterator[bytes]:
        session = turn.session
        links = self._links(session.session_id)
        stream = Stream(turn.messages, text_chunks=session.text_chunks, style=style, links=links)
        started = time.monotonic()
        for event, block in stream.blocks():
            due = started + event.due * self.latency.ask + event.after
            time.sleep(max(0.0, due - time.monotonic()))
            if event.is_decisive:
                self.may_end.wait(self.call_seconds)
            if event is stream.events[-1]:
                # Before it is sent, because the client may send its next message at once.
                self._finish_turn(turn)
            yield block

    def _finish_turn(self, turn: Turn) -> None:
        """Release slot and session; does nothing more when called again."""
        session_id = turn.session.session_id
        turn.cleanup.close()
        self._sessions.finish(session_id, turn.sequence_id)
        reason = end_reason(turn.messages)
        if reason is not None:
            self._helpdesk.forget(session_id)
            self._sessions.end_by_agent(session_id, reason, delivered=turn.delivered)
        self.recorder.notify()

    def _end(self, session_id: str) -> Response:
        self.authorise()
        reason = request.headers.get("x-session-end-reason")
        if reason not in END_REASONS:
            raise errors.bad_request(f"x-session-end-reason is missing or unknown: {reason}")
        self._sessions.end(session_id, reason)
        self._helpdesk.forget(session_id)
        self.recorder.notify()
        return jsonify(messages=[session_ended()], _links=self._links(session_id))

    def _feedback(self, session_id: str) -> Response:
        self.authorise()
        parse_body(Feedback)
        self._sessions.check(session_id)
        return Response(status=202)

    def _links(self, session_id: str) -> Json:
        session = f"{self.url}{API}/sessions/{session_id}"
        return {
            "self": None,
            "messages": {"href": f"{session}/messages"},
            "messagesStream": {"href": f"{session}/messages/stream"},
            "session": {"href": f"{self.url}{API}/agents/{self._agent_id}/sessions"},
            "end": {"href": session},
        }


class _Json(DefaultJSONProvider):
    ensure_ascii = False
    sort_keys = False
