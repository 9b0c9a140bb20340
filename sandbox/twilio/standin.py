"""Twilio, and the WhatsApp users who write to the bot (docs/providers/twilio.md)."""

from __future__ import annotations

import functools

from sandbox.call_recorder import WAIT_SECONDS
from sandbox.twilio.forms import InboundForms
from sandbox.twilio.media import READY, Ready
from sandbox.twilio.messages import Outbound
from sandbox.twilio.rest import TwilioRest
from sandbox.twilio.webhook import ANSWER_SECONDS, Delivery, Fields, deliver


class TwilioStandIn(TwilioRest):
    """The REST API, and users who write to the bot and read its answers.

    Messages are posted to ``webhook_url`` and signed for ``public_webhook_url``, if that is set.
    """

    @functools.cached_property
    def forms(self) -> InboundForms:
        """Builds the forms of all kinds of messages for :meth:`deliver`."""
        return InboundForms(
            account_sid=self.account_sid, sender=self.sender, store_media=self._store_media
        )

    def say(self, user: str, text: str) -> Delivery:
        """Send ``text`` to the bot as ``user``."""
        return self.deliver(self.forms.text(user, text))

    def speak(
        self,
        user: str,
        audio: bytes,
        *,
        content_type: str = "audio/ogg",
        not_ready: Ready = READY,
    ) -> Delivery:
        """Send a voice note as ``user``; ``not_ready`` says for how long its media gives 404."""
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
        """Post an inbound message to the webhook, and record violations in the answer.

        If ``url`` is given, it replaces ``webhook_url`` and ``public_webhook_url``. An unsigned
        message is not Twilio's: it is not registered, opens no window, and its answer is not
        checked.
        """
        target = url or self.webhook_url
        if not signed:
            return deliver(target, form, signature={}, timeout=timeout)[0]
        self.register_inbound(form)
        headers = self.signer.headers(url or self.public_webhook_url or target, form)
        delivery, verdict = deliver(target, form, signature=headers, timeout=timeout)
        for error in verdict.errors:
            self.record_violation("webhook", error)
        for text in verdict.texts:
            self.answer_by_twiml(str(form["From"]), text)
        return delivery

    def register_inbound(self, form: Fields) -> None:
        """Register an inbound message that is not posted by :meth:`deliver`."""
        self._messages.receive({k: v for k, v in form.items() if isinstance(v, str)})

    def send_as(
        self, sender: str, to: str, body: str = "", *, media_url: str | None = None
    ) -> Outbound:
        """Send a message like another program of the account, from another sender."""
        return self._accept(to, body, media_url=media_url, sender=sender)

    def answer_by_twiml(self, to: str, body: str) -> Outbound:
        """Send a text to ``to`` like a bot that answers a webhook with TwiML."""
        return self._accept(to, body, direction="outbound-reply")

    def send_content(self, to: str, content_sid: str) -> Outbound:
        """Send a template of ``contents`` to ``to``, with its buttons or its list."""
        content = self.contents[content_sid]
        return self._accept(to, content.body, content=content, is_template=True)

    def read(self, sid: str) -> None:
        """Let the user read a message; its sender gets the status callback ``read``."""
        if any(each.sid == sid and each.status == "delivered" for each in self.messages()):
            self.delivery_simulator.read(sid)

    def open_window(self, user: str) -> None:
        """Open the 24-hour window of ``user``, as if they had just written."""
        self._messages.open_window(user)

    def close_window(self, user: str) -> None:
        """Close the 24-hour window of ``user``."""
        self._messages.close_window(user)

    def messages(self, to: str | None = None) -> list[Outbound]:
        """All messages that the bot sent, or those to one user, in order of acceptance."""
        return self._messages.outbound(to)

    def forget_messages(self) -> None:
        """Remove all messages that the bot sent; their delivery must have ended."""
        self._messages.forget_outbound()

    def wait_for_messages(
        self, to: str, count: int, timeout: float = WAIT_SECONDS
    ) -> list[Outbound]:
        """Wait for at least ``count`` messages to a user; raises ``TimeoutError``."""

        def enough() -> list[Outbound]:
            found = self.messages(to)
            return found if len(found) >= count else []

        return self.recorder.wait_for(enough, timeout)

    def wait_for_voice(self, to: str, timeout: float = WAIT_SECONDS, *, count: int = 1) -> Outbound:
        """Wait for a user's ``count``-th delivered recording; raises ``TimeoutError``."""

        def voices() -> list[Outbound]:
            return [message for message in self.messages(to) if message.audio is not None]

        return self.recorder.wait_for(lambda: voices()[count - 1 : count], timeout)[0]
