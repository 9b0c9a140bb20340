"""The control server: inspect the sandbox, switch faults on, and write as a WhatsApp user."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask, Response, jsonify, request
from pydantic import TypeAdapter, ValidationError

from sandbox.call_recorder import CallRecorder
from sandbox.faults import Fault, Faults, kinds_of
from sandbox.json_api import InvalidRequest, json_object, protect
from sandbox.loopback import LoopbackServer
from sandbox.standin import StandIn
from sandbox.twilio.messages import Outbound
from sandbox.twilio.standin import TwilioStandIn

# The names of each service's calls.
CallNames = Mapping[str, set[str]]

FAULT = TypeAdapter(Fault)
FIELDS = tuple(field.name for field in dataclasses.fields(Fault))


class ControlServer:
    """A JSON API on loopback. It refuses requests from other hosts, and with other host names."""

    def __init__(
        self,
        *,
        recorder: CallRecorder,
        faults: Faults,
        twilio: TwilioStandIn,
        providers: Sequence[StandIn],
        port: int = 0,
    ) -> None:
        self._recorder = recorder
        self._faults = faults
        self._twilio = twilio
        self._providers = providers
        self.app = Flask("sandbox.control")
        self._server = LoopbackServer(app=self.app, name="control", port=port)
        protect(self.app)
        self._add_routes()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a trailing slash."""
        return f"http://127.0.0.1:{self._server.port}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def _add_routes(self) -> None:
        for method, rule, view in (
            ("GET", "/", self._overview),
            ("GET", "/faults", self._list_faults),
            ("POST", "/faults", self._add_fault),
            ("DELETE", "/faults", self._clear_faults),
            ("GET", "/calls", self._list_calls),
            ("POST", "/say", self._say),
            ("POST", "/speak", self._speak),
            ("GET", "/messages", self._list_messages),
            ("GET", "/messages/<sid>/audio", self._get_audio),
            ("GET", "/answers/<int:number>", self._get_voice_answer),
        ):
            self.app.add_url_rule(rule, f"{method} {rule}", view, methods=[method])

    def _overview(self) -> Response:
        return jsonify(
            providers={provider.service: provider.url for provider in self._providers},
            cdn=self._twilio.cdn.url,
            webhook=self._twilio.webhook_url,
            calls={service: sorted(names) for service, names in self._call_names().items()},
            faults=self._faults.active(),
        )

    def _list_faults(self) -> Response:
        return jsonify(self._faults.active())

    def _add_fault(self) -> tuple[Response, int]:
        fault = parse_fault(json_object(), self._call_names())
        self._faults.add(fault)
        return jsonify(fault), 201

    def _clear_faults(self) -> tuple[str, int]:
        self._faults.clear()
        return "", 204

    def _list_calls(self) -> Response:
        """All calls and violations, without the calls' headers, which contain credentials."""
        calls = [
            {"service": call.service, "name": call.name, "at": call.at, "detail": call.detail}
            for call in self._recorder.calls()
        ]
        return jsonify(calls=calls, violations=self._recorder.violations)

    def _say(self) -> Response:
        body = json_object()
        text = body.get("text")
        if not isinstance(text, str) or not text:
            raise InvalidRequest("text must say what the user writes.")
        return jsonify(self._connected_twilio().say(_whatsapp_address(body.get("from")), text))

    def _speak(self) -> Response:
        audio = request.get_data()
        if not audio:
            raise InvalidRequest("The body must be the recording.")
        content_type = request.content_type or "audio/ogg"
        user = _whatsapp_address(request.args.get("from"))
        return jsonify(self._connected_twilio().speak(user, audio, content_type=content_type))

    def _list_messages(self) -> Response:
        to = request.args.get("to")
        messages = self._twilio.messages(_whatsapp_address(to) if to else None)
        return jsonify([_message_json(message) for message in messages])

    def _get_audio(self, sid: str) -> Response:
        for message in self._twilio.messages():
            if message.sid == sid and message.audio is not None:
                return Response(message.audio, content_type=message.audio_type)
        return Response("No such recording.\n", 404, content_type="text/plain")

    def _get_voice_answer(self, number: int) -> Response:
        """The ``number``-th voice note that the bot sent, from 1: an address that can be typed."""
        voices = [message for message in self._twilio.messages() if message.media_url]
        found = voices[number - 1 : number] if number else []
        return self._get_audio(found[0].sid if found else "")

    def _connected_twilio(self) -> TwilioStandIn:
        if not self._twilio.webhook_url:
            raise InvalidRequest("No bridge is connected; start the sandbox with --bridge URL.")
        return self._twilio

    def _call_names(self) -> dict[str, set[str]]:
        """The calls of each service that can be made to fail."""
        calls = {provider.service: set(provider.calls) for provider in self._providers}
        calls[self._twilio.service] = self._twilio.calls | self._twilio.cdn.calls
        return calls


def parse_fault(fields: Mapping[str, Any], calls: CallNames) -> Fault:
    """A ``Fault`` from its JSON fields. Raises ``InvalidRequest``."""
    if unknown := sorted(set(fields) - set(FIELDS)):
        raise InvalidRequest(f"There is no field {unknown[0]}; a fault has {', '.join(FIELDS)}.")
    try:
        fault = FAULT.validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    if fault.call not in calls.get(fault.service, ()):
        known = [f"{service} {name}" for service, names in calls.items() for name in sorted(names)]
        raise InvalidRequest(f"There is no such call; there are {', '.join(known)}.")
    if fault.seconds < 0 or fault.after < 0 or (fault.times is not None and fault.times < 1):
        raise InvalidRequest(
            "seconds and after must not be negative, and times must be at least 1."
        )
    if not 200 <= fault.status <= 599:
        raise InvalidRequest("status must be an HTTP status from 200 to 599.")
    if fault.kind not in kinds_of(fault.call):
        raise InvalidRequest(f"{fault.call} knows {', '.join(kinds_of(fault.call))} only.")
    return fault


def _whatsapp_address(address: object) -> str:
    """``whatsapp:+…`` for a full address or for a number with or without its plus sign."""
    if not isinstance(address, str) or not address:
        raise InvalidRequest("from must be the user's address, like whatsapp:+14155550100.")
    # An unescaped plus sign in a query is decoded as a space.
    address = address.strip().replace(" ", "+")
    if address.startswith("whatsapp:"):
        return address
    return f"whatsapp:+{address.lstrip('+')}"


def _message_json(message: Outbound) -> dict[str, Any]:
    return {
        "sid": message.sid,
        "to": message.to,
        "body": message.body,
        "media_url": message.media_url,
        "audio_bytes": None if message.audio is None else len(message.audio),
        "status": message.status,
        "error_code": message.error_code,
        "at": message.at,
    }
