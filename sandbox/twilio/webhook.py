"""Posts to the bot's webhook as Twilio does, and evaluates the answers."""

from __future__ import annotations

import base64
import hmac
import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from xml.etree import ElementTree

import requests
from requests.adapters import HTTPAdapter

# Twilio's limits for one webhook, in seconds and bytes
# (docs/providers/twilio.md, "Waiting and retrying").
ANSWER_SECONDS = 15.0
CONNECT_SECONDS = 5.0
TWIML_BYTES = 64 * 1024
SIGNATURE = "X-Twilio-Signature"
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"
TWIML_TYPES = ("text/xml", "application/xml")
# A TwiML text of this length is dropped, although the REST API accepts it.
TWIML_TEXT_LIMIT = 1600

Fields = Mapping[str, str | list[str]]


@dataclass(frozen=True)
class Delivery:
    """The bot's answer; ``status`` is 0 if it was unreachable or did not answer in time."""

    status: int
    body: str
    seconds: float
    sid: str = ""


@dataclass(frozen=True)
class Verdict:
    """Twilio's interpretation of an answer: errors for its debugger, and texts to send."""

    errors: list[str]
    texts: list[str]


class Signer:
    """Signs with the auth token or, if it is set, with the secret ``shared_key``.

    Shared keys are a public beta of 2026 (docs/providers/twilio.md, "Signatures").
    """

    def __init__(self, auth_token: str) -> None:
        self._auth_token = auth_token
        self.shared_key = ""

    def headers(self, url: str, fields: Fields) -> dict[str, str]:
        """The headers that prove that a form posted to ``url`` is Twilio's."""
        if not self.shared_key:
            return {SIGNATURE: sign(url, fields, self._auth_token)}
        return {
            SIGNATURE: sign(url, fields, self.shared_key, "sha256"),
            SETTINGS: "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
        }


def sign(url: str, fields: Fields, token: str, digest: str = "sha1") -> str:
    """``X-Twilio-Signature`` of a form posted to ``url``.

    docs/providers/twilio.md, "Signatures".
    """
    signed = url.partition("#")[0]
    for name in sorted(fields):
        value = fields[name]
        for one in sorted(set(value)) if isinstance(value, list) else [value]:
            signed += name + one
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(), digest)).decode()


def open_session(connections: int = 1) -> requests.Session:
    """A session with Twilio's headers that keeps up to ``connections`` connections open.

    It behaves like the router of the bot's platform, which keeps its connections to the bot.
    """
    session = requests.Session()
    session.trust_env = False
    session.headers.clear()
    session.headers["User-Agent"] = "TwilioProxy/1.1"
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def post(
    url: str,
    fields: Fields,
    *,
    signature: Mapping[str, str],
    timeout: float = ANSWER_SECONDS,
    session: requests.Session | None = None,
) -> requests.Response:
    """Post with Twilio's headers and those of ``signature``, by default on a new connection.

    A failed attempt to connect is repeated once. Raises ``requests.RequestException``.
    """
    headers = {
        "Accept": "*/*",
        "Accept-Encoding": "gzip",
        "I-Twilio-Idempotency-Token": str(uuid.uuid4()),
        "X-Home-Region": "us1",
        **signature,
    }
    timeouts = (min(CONNECT_SECONDS, timeout), timeout)
    with nullcontext(session) if session else open_session() as client:
        try:
            return client.post(url, data=fields, headers=headers, timeout=timeouts)
        except requests.ConnectionError as error:
            if not _never_connected(error):
                raise
            return client.post(url, data=fields, headers=headers, timeout=timeouts)


def deliver(
    url: str, fields: Fields, *, signature: Mapping[str, str], timeout: float
) -> tuple[Delivery, Verdict]:
    """Post an inbound message and evaluate the answer.

    The rules are in docs/providers/twilio.md, "Answers to the webhook". A bot that is down is not
    a violation: it gives status 0 and an empty verdict.
    """
    sid = str(fields.get("MessageSid", ""))
    started = time.monotonic()
    try:
        answer = post(url, fields, signature=signature, timeout=timeout)
    except requests.Timeout:
        late = f"11205 total timeout triggered: no answer within {timeout:g} s"
        return Delivery(0, "", time.monotonic() - started, sid), Verdict([late], [])
    except requests.RequestException:
        return Delivery(0, "", time.monotonic() - started, sid), Verdict([], [])
    seconds = time.monotonic() - started
    verdict = evaluate(answer)
    if seconds > timeout:
        verdict.errors.append(f"11205 total timeout triggered: {seconds:.1f} s")
    return Delivery(answer.status_code, answer.text, seconds, sid), verdict


def evaluate(answer: requests.Response) -> Verdict:
    """The errors and texts of an answer; unlike Twilio, it does not accept ``text/html``."""
    if not answer.ok:
        return Verdict([f"11200 the webhook answered {answer.status_code}"], [])
    errors = []
    if "Set-Cookie" in answer.headers:
        errors.append("the webhook sets a cookie, which Twilio would keep for four hours")
    if len(answer.content) > TWIML_BYTES:
        return Verdict([*errors, "11750 the answer is larger than 64 kB"], [])
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/plain" and answer.text.strip():
        return Verdict([*errors, "text/plain is sent to the user as a message"], [answer.text])
    if kind not in TWIML_TYPES:
        return Verdict([*errors, f"12300 invalid content type {kind or '(none)'}"], [])
    return _evaluate_twiml(answer.content, errors)


def _evaluate_twiml(document: bytes, errors: list[str]) -> Verdict:
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        return Verdict([*errors, f"12100 document parse failure: {error}"], [])
    if root.tag != "Response":
        return Verdict([*errors, f"12100 the root element is {root.tag}, not Response"], [])
    texts = [_text(message) for message in root.iter("Message")]
    valid = [text for text in texts if text and len(text) < TWIML_TEXT_LIMIT]
    errors += ["14103 a message is empty or too long"] * (len(texts) - len(valid))
    return Verdict(errors, valid)


def _text(message: ElementTree.Element) -> str:
    bodies = [body.text or "" for body in message.findall("Body")]
    return ((message.text or "").strip() + "".join(bodies)).strip()


def _never_connected(error: requests.ConnectionError) -> bool:
    return isinstance(error, requests.ConnectTimeout) or "NewConnectionError" in repr(error)
