"""Twilio's REST API: messages, media and the typing indicator."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

from flask import Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from sandbox.call_recorder import CallRecorder
from sandbox.faults import DELIVERY_KINDS, Faults
from sandbox.latency import LatencyProfile
from sandbox.standin import StandIn
from sandbox.twilio.console import Console, SenderSettings
from sandbox.twilio.content import Content
from sandbox.twilio.delivery_simulator import DeliverySimulator
from sandbox.twilio.media import Media, MediaStore, TwilioCdn
from sandbox.twilio.messages import Inbound, Messages, Outbound, resource
from sandbox.twilio.send import SendRefused, find_violations, parse_send
from sandbox.twilio.sid import is_message_sid, new_sid
from sandbox.twilio.webhook import Signer

ACCOUNT = "/2010-04-01/Accounts/<account>"
PAGE_SIZE = 50
# Twilio's error codes, if they are not 20000 + the HTTP status
# (docs/providers/twilio.md, "Error codes").
CODES = {400: 20001, 401: 20003}
MESSAGES = {
    400: "Invalid parameter",
    401: "Authenticate",
    404: "The requested resource was not found",
    429: "Too Many Requests",
    500: "An internal server error has occurred",
    503: "Service Unavailable",
}
TYPING_CHANNEL = {"v2": "whatsapp", "v3": "WHATSAPP"}


class TwilioRest(StandIn):
    """Stands in for api.twilio.com, messaging.twilio.com and the media CDN.

    ``typed`` are the SIDs of messages for which the typing indicator was shown, and ``typed_at``
    says when it last was, in monotonic seconds. ``contents`` are the templates that can be sent, by
    their SID. ``signer`` signs all requests to the bot. ``console`` has the account's set-up.
    """

    webhook_url = ""
    public_webhook_url: str | None = None

    service = "twilio"
    limited = frozenset({"send", "list"})

    def __init__(
        self,
        *,
        recorder: CallRecorder,
        faults: Faults,
        latency: LatencyProfile,
        account_sid: str,
        auth_token: str,
        sender: str = "whatsapp:+14155238886",
        port: int = 0,
        cdn_port: int = 0,
    ) -> None:
        super().__init__(recorder=recorder, faults=faults, latency=latency, port=port)
        self.account_sid = account_sid
        self.sender = sender
        self.typed: list[str] = []
        self.console = Console()
        self.typed_at: dict[str, float] = {}
        self.contents: dict[str, Content] = {}
        self._auth_token = auth_token
        self.signer = Signer(auth_token)
        self._media = MediaStore()
        self._messages = Messages(recorder=recorder)
        self.cdn = TwilioCdn(
            recorder=recorder, faults=faults, latency=latency, store=self._media, port=cdn_port
        )
        self.delivery_simulator = DeliverySimulator(
            recorder=recorder,
            faults=faults,
            messages=self._messages,
            account_sid=account_sid,
            signer=self.signer,
        )
        self._add_routes()
        self.calls |= DELIVERY_KINDS.keys()

    def start(self) -> None:
        self.cdn.start()
        self.delivery_simulator.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self.delivery_simulator.stop()
        self.cdn.stop()

    def error(self, status: int) -> Response:
        return self._error(status, CODES.get(status, 20000 + status), MESSAGES.get(status, "Error"))

    def _add_routes(self) -> None:
        media = f"{ACCOUNT}/Messages/<message>/Media"
        self._route("send", f"{ACCOUNT}/Messages.json", self._send, "POST")
        self._route("list", f"{ACCOUNT}/Messages.json", self._list, "GET")
        self._route("list", f"{ACCOUNT}/Messages/<sid>.json", self._show, "GET")
        self._route("media", f"{media}/<sid>", self._redirect_to_cdn, "GET")
        self._route("media", f"{media}/<sid>.json", self._show_media, "GET")
        self._route("media", f"{media}.json", self._list_media, "GET")
        for address in (f"{media}/<sid>", f"{media}/<sid>.json"):
            self._route("delete_media", address, self._delete_media, "DELETE")
        self._route("account", f"{ACCOUNT}.json", self._show_account, "GET")
        self._route("numbers", f"{ACCOUNT}/IncomingPhoneNumbers.json", self._list_numbers, "GET")
        self._route("senders", "/v2/Channels/Senders", self._list_senders, "GET")
        self._route("typing", "/<version>/Indicators/Typing.json", self._type, "POST")
        self.app.register_error_handler(404, self._not_found)

    def _route(self, name: str, rule: str, view: Callable[..., Any], method: str) -> None:
        """Register a view that needs the account's credentials."""

        def check_credentials(**arguments: str) -> Any:
            own_account = arguments.pop("account", self.account_sid) == self.account_sid
            login = request.authorization
            pair = (login.username, login.password) if login and login.type == "basic" else None
            if not own_account or pair != (self.account_sid, self._auth_token):
                self.record_violation(name, "missing or wrong credentials")
                return self.error(401)
            return view(**arguments)

        self.call(name, rule, methods=[method])(check_credentials)

    def _send(self) -> Response:
        if request.mimetype != "application/x-www-form-urlencoded":
            self.record_violation(
                "send", f"the request is {request.mimetype or 'untyped'}, not a form"
            )
        for rule in find_violations(request.form):
            self.record_violation("send", rule)
        try:
            send = parse_send(request.form, sender=self.sender)
        except SendRefused as refusal:
            self.record_violation("send", str(refusal))
            return self._error(400, refusal.code, refusal.message)
        content = self.contents.get(send.content_sid)
        message = self._accept(
            send.to,
            content.body if content else send.body,
            content=content,
            media_url=send.media_url,
            callback=send.callback,
            is_template=bool(send.content_sid),
        )
        g.call.detail.update(sid=message.sid)
        return self._json(resource(message, self.account_sid), 201)

    def _accept(self, to: str, body: str, *, is_template: bool = False, **more: Any) -> Outbound:
        message = Outbound(
            sid=new_sid("MM" if more.get("media_url") else "SM"),
            to=to,
            body=body,
            **{"sender": self.sender} | more,
        )
        self._messages.accept(message)
        self.delivery_simulator.submit(message, is_template=is_template)
        return message

    def _list(self) -> Response:
        size = request.args.get("PageSize", PAGE_SIZE, int)
        page = request.args.get("Page", 0, int)
        found = [message for message in self._messages.newest_first() if _matches_query(message)]
        start, end = page * size, (page + 1) * size
        next_query = urlencode({**request.args, "Page": page + 1, "PageSize": size})
        return self._json(
            {
                "messages": [resource(each, self.account_sid) for each in found[start:end]],
                "page": page,
                "page_size": size,
                "uri": request.full_path,
                "next_page_uri": f"{request.path}?{next_query}" if len(found) > end else None,
            }
        )

    def _show(self, sid: str) -> Response:
        message = self._messages.find(sid)
        if message is None:
            return self.error(404)
        return self._json(resource(message, self.account_sid))

    def _store_media(self, message_sid: str, media: Media) -> str:
        stored = self._media.add(message_sid, media)
        return f"{self.url}{self._media_path(stored)}"

    def _media_path(self, media: Media) -> str:
        account = ACCOUNT.replace("<account>", self.account_sid)
        return f"{account}/Messages/{media.message_sid}/Media/{media.sid}"

    def _redirect_to_cdn(self, message: str, sid: str) -> Response:
        media = self._media.find(message, sid)
        if media is None:
            return self.error(404)
        address = self.cdn.signed_address(self.account_sid, media)
        body = '<?xml version="1.0" encoding="UTF-8"?>\n<TwilioResponse></TwilioResponse>'
        return Response(body, 307, {"Location": address}, content_type="application/xml")

    def _show_media(self, message: str, sid: str) -> Response:
        media = self._media.find(message, sid)
        return self.error(404) if media is None else self._json(self._media_resource(media))

    def _list_media(self, message: str) -> Response:
        found = [self._media_resource(media) for media in self._media.of_message(message)]
        return self._json({"media_list": found})

    def _delete_media(self, message: str, sid: str) -> Response:
        if self._media.find(message, sid) is None:
            return self.error(404)
        self._media.remove(sid)
        return Response(status=204)

    def _media_resource(self, media: Media) -> dict[str, str]:
        created = formatdate(media.created)
        return {
            "sid": media.sid,
            "account_sid": self.account_sid,
            "parent_sid": media.message_sid,
            "content_type": media.content_type,
            "date_created": created,
            "date_updated": created,
            "uri": f"{self._media_path(media)}.json",
        }

    def _show_account(self) -> Response:
        return self._json(self.console.account(self.account_sid))

    def _list_numbers(self) -> Response:
        numbers = self.console.numbers(self.account_sid)
        return self._json({"incoming_phone_numbers": numbers, "next_page_uri": None})

    def _list_senders(self) -> Response:
        if request.args.get("Channel") != "whatsapp":
            return self._error(400, CODES[400], "Channel must be whatsapp or rcs")
        senders = self.console.senders
        if senders is None:
            senders = [SenderSettings(self.sender, self.public_webhook_url or self.webhook_url)]
        meta = {"key": "senders", "page": 0, "page_size": PAGE_SIZE, "next_page_url": None}
        return self._json({"senders": [each.resource() for each in senders], "meta": meta})

    def _type(self, version: str) -> Response:
        """Show the typing indicator; version v2 takes a form, v3 takes JSON."""
        if version not in TYPING_CHANNEL:
            return self.error(404)
        body = request.form.to_dict() if version == "v2" else request.get_json(silent=True)
        problem = self._typing_problem(body, TYPING_CHANNEL[version])
        if problem or not isinstance(body, dict):
            self.record_violation("typing", problem)
            return self._error(400, CODES[400], problem)
        self.typed.append(body["messageId"])
        self.typed_at[body["messageId"]] = time.monotonic()
        self.recorder.notify()
        return self._json({"success": True})

    def _typing_problem(self, body: Any, channel: str) -> str:
        """Why the request is wrong; empty if it is right."""
        if not isinstance(body, dict) or set(body) != {"channel", "messageId"}:
            return "exactly channel and messageId are wanted"
        if body["channel"] != channel:
            return f"the channel is {body['channel']}, not {channel}"
        sid = str(body["messageId"])
        if not is_message_sid(sid):
            return f"{sid} is not the SID of a message"
        return "" if self._messages.is_inbound(sid) else f"{sid} is not an inbound message"

    def _not_found(self, _: NotFound) -> Response:
        self.record_violation("unknown", f"no such resource: {request.method} {request.path}")
        return self.error(404)

    def _error(self, status: int, code: int, message: str) -> Response:
        more = f"https://www.twilio.com/docs/errors/{code}"
        return self._json(
            {"code": code, "message": message, "more_info": more, "status": status}, status
        )

    def _json(self, content: Any, status: int = 200) -> Response:
        answer = jsonify(content)
        answer.status_code = status
        return answer


def _matches_query(message: Inbound | Outbound) -> bool:
    """Whether a message matches the filters of the current request."""
    filters = request.args
    if filters.get("To", message.to) != message.to:
        return False
    if filters.get("From", message.sender) != message.sender:
        return False
    sent = message.created.replace(microsecond=0)
    since, until, day = (filters.get(f"DateSent{operator}") for operator in (">", "<", ""))
    if (since and sent < _parse_time(since)) or (until and sent > _parse_time(until)):
        return False
    return not day or sent.date() == _parse_time(day).date()


def _parse_time(text: str) -> datetime:
    """Parse an ISO 8601 date or time; the default time zone is UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
