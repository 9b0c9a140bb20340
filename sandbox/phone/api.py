"""The JSON API of the page; a phone is named by its number."""

from __future__ import annotations

import itertools
import re
import threading
from typing import Any

from flask import Flask, Response, abort, jsonify, request

from sandbox.json_api import InvalidRequest, json_object
from sandbox.phone import recordings
from sandbox.phone.conversation import Conversations
from sandbox.phone.live import events
from sandbox.phone.outbox import PLACES, Outbox
from sandbox.phone.recordings import Recordings
from sandbox.phone.switches import KillSwitch, Switches
from sandbox.phone.turns import Turns
from sandbox.twilio.standin import TwilioStandIn
from sandbox.twilio.webhook import Delivery

# The numbers of phones are reserved for fiction. The first is that of the demo in the terminal.
NUMBER = re.compile(r"\+155501[0-9]{2}")
NUMBERS = [f"+155501{number:02}" for number in range(1, 100)]
MESSAGE = "/api/phones/<number>/messages/<sid>"


class PhoneApi:
    """``stopped`` ends the streams of events. ``kill_switch`` is None if nothing can be killed."""

    def __init__(
        self,
        *,
        twilio: TwilioStandIn,
        conversations: Conversations,
        recordings: Recordings,
        turns: Turns,
        switches: Switches,
        kill_switch: KillSwitch | None,
        stopped: threading.Event,
    ) -> None:
        self._twilio = twilio
        self._conversations = conversations
        self._recordings = recordings
        self._turns = turns
        self._switches = switches
        self._kill_switch = kill_switch
        self._stopped = stopped
        self._outbox = Outbox(
            twilio=twilio, conversations=conversations, recordings=recordings, switches=switches
        )
        self._lock = threading.Lock()
        self._numbers = itertools.cycle(NUMBERS)
        # The numbers of pages that were here. A page of the last run brings its number along.
        self._seen: set[str] = set()

    def add_to(self, app: Flask) -> None:
        for method, rule, view in (
            ("POST", "/api/phones", self._assign_number),
            ("GET", "/api/offers", self._list_offers),
            ("GET", "/api/phones/<number>/events", self._stream),
            ("POST", "/api/phones/<number>/<kind>", self._send),
            ("POST", f"{MESSAGE}/read", self._read),
            ("GET", f"{MESSAGE}/file", self._get_file),
            ("GET", f"{MESSAGE}/wav", self._get_wav),
            ("GET", f"{MESSAGE}/transcript", self._get_transcript),
            ("PUT", "/api/switches/<name>", self._switch),
            ("POST", "/api/service/<action>", self._change_service),
        ):
            app.add_url_rule(rule, f"{method} {rule}", view, methods=[method])

    def _assign_number(self) -> Response:
        """A number that nobody uses; if there is none, one that was not given for long."""
        with self._lock:
            candidates = itertools.islice(self._numbers, len(NUMBERS))
            free = (number for number in candidates if not self._is_used(number))
            return jsonify(number=next(free, None) or next(self._numbers))

    def _is_used(self, number: str) -> bool:
        user = _address(number)
        return bool(
            number in self._seen or self._conversations.sent(user) or self._twilio.messages(user)
        )

    def _list_offers(self) -> Response:
        """What can be sent from a menu."""
        places = [place.label or f"{place.latitude}, {place.longitude}" for place in PLACES]
        return jsonify(
            samples=recordings.samples(), places=places, note=self._recordings.speech_note
        )

    def _stream(self, number: str) -> Response:
        user = _address(number)
        self._seen.add(number)

        def parts() -> dict[str, Any]:
            return {
                "chat": self._conversations.view(user),
                "turn": self._turns.view(user),
                "switches": self._switches.view(),
                "service": self._kill_switch.view() if self._kill_switch else None,
            }

        stream = events(parts, recorder=self._twilio.recorder, stopped=self._stopped)
        return Response(stream, content_type="text/event-stream; charset=utf-8")

    def _send(self, number: str, kind: str) -> Response:
        user, outbox = _address(number), self._outbox
        delivery: Delivery
        if kind == "recording":
            delivery = outbox.recording(user, request.get_data())
        elif kind == "picture":
            delivery = outbox.picture(user, request.get_data(), request.args.get("caption", ""))
        elif kind == "text":
            delivery = outbox.text(user, json_object().get("text"))
        elif kind == "sample":
            delivery = outbox.sample(user, json_object().get("name"))
        elif kind == "place":
            delivery = outbox.place(user, json_object().get("place"))
        elif kind == "choice":
            body = json_object()
            delivery = outbox.choice(user, body.get("message"), body.get("choice"))
        else:
            raise InvalidRequest("There is no such kind of message.")
        return jsonify(sid=delivery.sid, status=delivery.status)

    def _read(self, number: str, sid: str) -> tuple[str, int]:
        if any(each.sid == sid for each in self._twilio.messages(_address(number))):
            self._twilio.read(sid)
        return "", 204

    def _get_file(self, number: str, sid: str) -> Response:
        content, content_type = self._file(number, sid)
        return _playable(content, content_type)

    def _get_wav(self, number: str, sid: str) -> Response:
        return _playable(self._recordings.wav(self._file(number, sid)[0]), "audio/wav")

    def _get_transcript(self, number: str, sid: str) -> Response:
        return jsonify(text=self._recordings.transcript(self._file(number, sid)[0]))

    def _file(self, number: str, sid: str) -> tuple[bytes, str]:
        found = self._conversations.file(_address(number), sid)
        if found is None:
            abort(404)
        return found

    def _switch(self, name: str) -> tuple[str, int]:
        self._switches.set(name, json_object().get("on"))
        return "", 204

    def _change_service(self, action: str) -> tuple[str, int]:
        switch = self._kill_switch
        if switch is None or action not in ("kill", "start"):
            raise InvalidRequest("There is nothing to kill or to start.")
        switch.kill() if action == "kill" else switch.start()
        return "", 204


def _address(number: str) -> str:
    """The WhatsApp address of a phone. Raises ``InvalidRequest``."""
    if not NUMBER.fullmatch(number):
        raise InvalidRequest("The number of a phone is like +15550101.")
    return f"whatsapp:{number}"


def _playable(content: bytes, content_type: str) -> Response:
    """With ranges, without which some browsers cannot move within a recording."""
    answer = Response(content, content_type=content_type)
    answer.make_conditional(request, accept_ranges=True, complete_length=len(content))
    return answer
