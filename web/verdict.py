"""What an operator must know first: whether messages are answered, and if not, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from core.models import CheckResult, CheckState
from turns.health import HealthReport
from web.advice import error_advice
from web.handbook import bad_day
from web.providers import NEEDED, Provider

# An answer that is this late is worth a warning, in seconds.
LATE_SECONDS = 10.0
# So many failures, and such a part of all turns, are worth a warning.
MANY_FAILURES, MANY_PART = 3, 5


@dataclass(frozen=True)
class Verdict:
    """``level`` is ``good``, ``warn`` or ``bad``; ``detail`` and ``link`` may be empty."""

    level: str
    title: str
    detail: str = ""
    link: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Situation:
    """All that the verdict depends on; times are epoch seconds, or 0 if it never happened.

    ``failed`` and ``answered`` are turns of the last hour. Those that failed because of what the
    sender sent are not among them, and only answers of the agent count as answered.
    """

    health: HealthReport
    providers: Sequence[Provider] = ()
    checks: Sequence[CheckResult] = ()
    answered: int = 0
    failed: int = 0
    last_answer_at: float = 0.0
    last_failed_turn_at: float = 0.0
    webhooks_refused: bool = False
    expected_url: str = ""
    has_messages: bool = False


def verdict(now: Situation) -> Verdict:
    """The worst that is so; what stops all answers comes first."""
    found = (
        _database(now)
        or _workers(now)
        or _nobody_answered(now)
        or _refused(now)
        or _webhooks(now)
        or _down(now)
        or _late(now)
        or _many_failures(now)
        or _last_failed(now)
        or _checks(now)
    )
    if found:
        return found if found.link else replace(found, link=bad_day(found.title))
    if not now.has_messages:
        return Verdict("good", "Ready", "No message has come yet. Write one from your phone.")
    return Verdict("good", "Messages are answered")


def _database(now: Situation) -> Verdict | None:
    if now.health.database:
        return None
    return Verdict(
        "bad",
        "The database does not answer",
        "Messages are refused until it does. See DATABASE_URL, or the disk of STATE_DIR, and "
        "the log.",
    )


def _workers(now: Situation) -> Verdict | None:
    if now.health.healthy:
        return None
    return Verdict(
        "bad",
        "Turns wait and no worker runs them",
        "On Heroku: heroku ps:scale worker=1. If there are workers, their log says why they stand "
        "still.",
    )


def _nobody_answered(now: Situation) -> Verdict | None:
    """A turn has failed since the last answer, and no other one could succeed."""
    if now.last_failed_turn_at <= now.last_answer_at:
        return None
    broken = [
        provider
        for provider in now.providers
        if provider.state in ("refused", "down") and _is_needed(provider)
    ]
    if broken:
        if any(provider.state == "down" for provider in broken):
            problem = _said_of(broken, "does not answer", "do not answer")
        else:
            problem = _said_of(broken, "refuses our requests", "refuse our requests")
        return Verdict("bad", f"Nobody is answered: {problem}", *_mend(broken[0]))
    if now.failed >= MANY_FAILURES and not now.answered:
        return Verdict(
            "bad", "Nobody is answered", f"{now.failed} messages failed in the last hour."
        )
    return None


def _is_needed(provider: Provider) -> bool:
    """Whether what fails is needed for every answer."""
    failing = {call.name for call in provider.calls if call.state in ("refused", "failing")}
    return bool(failing & NEEDED)


def _refused(now: Situation) -> Verdict | None:
    refusing = [provider for provider in now.providers if provider.state == "refused"]
    if not refusing:
        return None
    title = _said_of(refusing, "refuses our requests", "refuse our requests")
    return Verdict("warn", title, *_mend(refusing[0]))


def _said_of(providers: Sequence[Provider], one: str, many: str) -> str:
    """A sentence about the providers; ``one`` is what it says of a single one."""
    names = " and ".join(provider.title for provider in providers)
    return f"{names} {one if len(providers) == 1 else many}"


def _mend(provider: Provider) -> tuple[str, str]:
    """The detail and the link."""
    if not provider.error:
        return f"The next message for {provider.title} shows whether it is back.", provider.link
    return f"{provider.title}: {error_advice(provider.error)['advice']}.", provider.link


def _webhooks(now: Situation) -> Verdict | None:
    if not now.webhooks_refused:
        return None
    return Verdict(
        "warn",
        "Webhooks are refused",
        f"They are not signed for {now.expected_url} with TWILIO_AUTH_TOKEN. In Twilio's console, "
        "the sender's webhook must be exactly that address, by POST.",
    )


def _down(now: Situation) -> Verdict | None:
    down = [provider for provider in now.providers if provider.state == "down"]
    if not down:
        return None
    return Verdict("warn", _said_of(down, "is down", "are down"), *_mend(down[0]))


def _late(now: Situation) -> Verdict | None:
    if now.health.oldest_waiting < LATE_SECONDS:
        return None
    return Verdict(
        "warn",
        "Answers are late",
        f"The oldest message waits for {now.health.oldest_waiting:.0f} s. See which stage is slow, "
        "or add workers.",
    )


def _many_failures(now: Situation) -> Verdict | None:
    all_turns = now.failed + now.answered
    if now.failed < MANY_FAILURES or now.failed * MANY_PART < all_turns:
        return None
    return Verdict(
        "warn",
        "Many messages are not answered",
        f"{now.failed} of {all_turns} failed in the last hour. The errors below say why.",
    )


def _last_failed(now: Situation) -> Verdict | None:
    if now.last_failed_turn_at <= now.last_answer_at:
        return None
    return Verdict(
        "warn",
        "The last message was not answered",
        "Write one from your phone: it shows whether the reason is gone.",
    )


def _checks(now: Situation) -> Verdict | None:
    failed = [check for check in now.checks if check.state is CheckState.FAILED]
    if not failed:
        return None
    first = failed[0]
    title = f"Check failed: {first.title}"
    return Verdict("warn", title, first.hint or first.finding, bad_day("A check failed"))
