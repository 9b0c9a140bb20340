"""Twilio with the WhatsApp users behind it (docs/providers/twilio.md)."""

from __future__ import annotations

import functools

from sandbox.twilio.forms import InboundForms
from sandbox.twilio.media import READY, Ready
from sandbox.twilio.messages import Outbound
from sandbox.twilio.rest import TwilioRest
from sandbox.twilio.webhook import ANSWER_SECONDS, Delivery, Fields, deliver


class TwilioStandIn(TwilioRest):
    """The REST API, and users who write to the bot and read its answers.

    ``webhook_url`` is where messages are posted, ``public_webhook_url`` the address they are signed
    for (the same when ``None``).
    """

    webhook_url = ""
    public_webhook_url: str | None = None

    @functools.cached_property
    def forms(self) -> InboundForms:
        """Builds every kind of message for :meth:`deliver`."""
        return InboundForms(
            account_sid=self.account_sid, sender=self.sender, store_media=self._store_media
        )

    def say(self, user: str, text: str) -> Delivery:
        """``user`` writes ``text``."""
        return self.deliver(self.forms.text(user, text))

    def speak(
        self,
        user: str,
        audio: bytes,
        *,
        content_type: str = "audio/ogg",
        not_ready: Ready = READY,
    ) -> Delivery:
        """``user`` records a voice note; ``not_ready`` says how long fetching it fails."""
        return self.deliver(
            self.forms.voice(user, audio, content_type=content_type, ready=not_ready)
        )

    def deliver(
        self,
        form: Fields,
        *,
        signed: bool = True,
        url: str | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Delivery:
        """Post an inbound message to the webhook; breaches in the answer become violations.

        The signature is for ``public_webhook_url``, or for ``url`` when that is given. Unsigned it
        is somebody else's: it opens no window, its SID is unknown here, and it is not judged.
        """
        target = url or self.webhook_url
        if not signed:
            return deliver(target, form, signed={}, timeout=timeout)[0]
        self.register_inbound(form)
        headers = self.signer.headers(url or self.public_webhook_url or target, form)
        delivery, verdict = deliver(target, form, signed=headers, timeout=timeout)
        for error in verdict.errors:
            self.record_violation("webhook", error)
        for text in verdict.texts:
            self.answer_by_twiml(str(form["From"]), text)
        return delivery

    def register_inbound(self, form: Fields) -> None:
        """Know an inbound message that is posted by something else than :meth:`deliver`."""
        self._messages.receive({k: v for k, v in form.items() if isinstance(v, str)})

    def send_as(
        self, sender: str, to: str, body: str = "", *, media_url: str | None = None
    ) -> Outbound:
        """As if another program of the account had sent a message, from a sender of its own."""
        return self._accept(to, body, media_url=media_url, sender=sender)

    def answer_by_twiml(self, to: str, body: str) -> Outbound:
        """As if the bot had answered a webhook of ``to`` with that text."""
        return self._accept(to, body, direction="outbound-reply")

    def open_window(self, user: str) -> None:
        """As if ``user`` had just written, for messages that do not pass through here."""
        self._messages.open_window(user)

    def close_window(self, user: str) -> None:
        """As if ``user`` had not written for 24 hours."""
        self._messages.close_window(user)

    def messages(self, to: str | None = None) -> list[Outbound]:
        """What the bot sent, in order of acceptance."""
        return self._messages.outbound(to)

    def forget_messages(self) -> None:
        """Forget what the bot sent so far; all of it must have been delivered."""
        self._messages.forget_outbound()

    def wait_for_messages(self, to: str, count: int, timeout: float = 20.0) -> list[Outbound]:
        """All messages to a user once there are ``count``; raises ``TimeoutError``."""

        def enough() -> list[Outbound]:
            found = self.messages(to)
            return found if len(found) >= count else []

        return self.recorder.wait_for(enough, timeout)

    def wait_for_voice(self, to: str, timeout: float = 20.0, *, count: int = 1) -> Outbound:
        """The ``count``-th message to a user whose recording arrived; raises ``TimeoutError``."""

        def voices() -> list[Outbound]:
            return [message for message in self.messages(to) if message.audio is not None]

        return self.recorder.wait_for(lambda: voices()[count - 1 : count], timeout)[0]
