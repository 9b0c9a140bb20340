"""Twilio: the account, the WhatsApp sender, its webhook, and whether messages arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from checks.report import Check, hint_for
from core.errors import SendError
from core.models import CheckResult
from core.settings import WHERE, Settings
from whatsapp.account import SANDBOX, Sender, TwilioAccount
from whatsapp.error_codes import advice

ACCOUNT = Check("twilio_account", "Twilio account")
SENDER = Check("twilio_sender", "WhatsApp sender")
WEBHOOK = Check("twilio_webhook", "Twilio's webhook")
MESSAGES = Check("twilio_messages", "Recent messages")

# docs/providers/twilio.md, "Error codes".
HINTS = {
    "error 20003": (
        "TWILIO_AUTH_TOKEN must be the primary token of the account TWILIO_ACCOUNT_SID "
        f"({WHERE['TWILIO_AUTH_TOKEN']})"
    ),
    "error 20404": f"look at TWILIO_ACCOUNT_SID ({WHERE['TWILIO_ACCOUNT_SID']})",
    "error 20429": "try again in a minute: too many requests at once",
}
STATUS_PAGE = "status.twilio.com"
SANDBOX_PAGE = "Twilio Console > Messaging > Try it out > Send a WhatsApp message"
SENDERS_PAGE = "Twilio Console > Messaging > Senders > WhatsApp senders"


class Twilio:
    """``reads_messages``: whether the last messages arrived is looked up, too."""

    def __init__(self, settings: Settings, *, reads_messages: bool) -> None:
        self._account = TwilioAccount(settings)
        self._reads_messages = reads_messages
        self._address = settings.TWILIO_WHATSAPP_FROM
        self._webhook = f"{settings.PUBLIC_URL}/" if settings.PUBLIC_URL else ""

    def check(self) -> Iterator[CheckResult]:
        try:
            account = self._account.fetch()
        except SendError as error:
            yield ACCOUNT.fail(f"cannot be used: {error.reason}", _hint(error))
            others = (SENDER, WEBHOOK, MESSAGES) if self._reads_messages else (SENDER, WEBHOOK)
            yield from (each.skip("the account cannot be used") for each in others)
            return
        if account.status != "active":
            yield ACCOUNT.fail(f"is {account.status}", "ask Twilio's support")
        elif account.is_trial:
            yield ACCOUNT.warn(
                "is a trial account: few messages a day, to verified numbers", "upgrade it"
            )
        else:
            yield ACCOUNT.ok("active")
        yield from self._check_sender()
        if self._reads_messages:
            yield self._check_messages()

    def _check_sender(self) -> Iterator[CheckResult]:
        if self._address == SANDBOX:
            yield from self._describe_sandbox()
            return
        try:
            senders = self._account.senders()
        except SendError as error:
            yield SENDER.fail(f"cannot be read: {error.reason}", _hint(error))
            yield WEBHOOK.skip("the senders cannot be read")
            return
        ours = next((each for each in senders if each.address == self._address), None)
        if ours is None:
            yield SENDER.fail(
                "TWILIO_WHATSAPP_FROM is no WhatsApp sender of this account",
                f"copy the number from {SENDERS_PAGE}",
            )
        elif not ours.is_online:
            yield SENDER.fail(f"its status is {ours.status}", f"see why in {SENDERS_PAGE}")
        else:
            yield SENDER.ok("online")
        try:
            yield self._check_webhook(ours, senders)
        except SendError as error:
            yield WEBHOOK.fail(
                f"cannot be read from the phone numbers: {error.reason}", _hint(error)
            )

    def _describe_sandbox(self) -> Iterator[CheckResult]:
        yield SENDER.warn(
            "is Twilio's sandbox, for trying only: each phone must send it the join code, which "
            "lasts three days",
            f"the join code: {SANDBOX_PAGE}",
        )
        yield WEBHOOK.warn(
            "cannot be read, for Twilio has no interface for the sandbox's",
            f"see that “When a message comes in” is {self._webhook or 'our address'}, method POST: "
            f"{SANDBOX_PAGE} > Sandbox settings",
        )

    def _check_webhook(self, ours: Sender | None, senders: list[Sender]) -> CheckResult:
        """Raises ``SendError``."""
        if not self._webhook:
            return WEBHOOK.skip("without PUBLIC_URL there is nothing to compare it with")
        hint = (
            f"set “When a message comes in” to {self._webhook}, method POST: {SENDERS_PAGE} > the "
            "sender"
        )
        if ours and _is(ours.url, self._webhook):
            if ours.method == "POST":
                return WEBHOOK.ok("is our address, with POST")
            return WEBHOOK.fail(f"has the method {ours.method}", hint)
        if wrong := self._find_elsewhere(senders):
            return WEBHOOK.fail(f"is set on {wrong} instead of the sender", hint)
        if ours and ours.url:
            return WEBHOOK.fail(f"is another address, at {urlsplit(ours.url).hostname}", hint)
        if ours:
            return WEBHOOK.fail("is not set", hint)
        return WEBHOOK.skip("there is no such sender")

    def _find_elsewhere(self, senders: list[Sender]) -> str:
        """Where else the webhook is set; empty if nowhere. Raises ``SendError``."""
        others = [each.address for each in senders if _is(each.url, self._webhook)]
        if others:
            return f"the sender that ends in {others[0][-4:]}"
        return "a phone number for SMS" if self._account.numbers_with(self._webhook) else ""

    def _check_messages(self) -> CheckResult:
        try:
            results = self._account.recent_results()
        except SendError as error:
            return MESSAGES.fail(f"cannot be read: {error.reason}", _hint(error))
        errors = Counter(code for code in results if code)
        if not errors:
            return MESSAGES.ok(f"none of the last {len(results)} failed" if results else "none yet")
        code, _ = errors.most_common(1)[0]
        return MESSAGES.warn(
            f"{errors.total()} of the last {len(results)} failed, most with error {code}",
            advice(code),
        )


def _is(url: str, webhook: str) -> bool:
    """Whether Twilio posts to our webhook; options behind # are Twilio's own."""
    return url.partition("#")[0].rstrip("/") == webhook.rstrip("/")


def _hint(error: SendError) -> str:
    return hint_for(error, HINTS, STATUS_PAGE)
