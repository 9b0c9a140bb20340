"""One line of the report: what is checked, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.errors import BridgeError
from core.models import CheckResult, CheckState

# A group of checks, which yields each result as soon as it is known.
Checks = Callable[[], Iterator[CheckResult]]


@dataclass(frozen=True)
class Check:
    """``name`` never changes, as ``twilio_webhook``; ``title`` is for people."""

    name: str
    title: str

    def ok(self, finding: str) -> CheckResult:
        return CheckResult(self.name, self.title, CheckState.OK, finding)

    def warn(self, finding: str, hint: str) -> CheckResult:
        return CheckResult(self.name, self.title, CheckState.WARNING, finding, hint)

    def fail(self, finding: str, hint: str) -> CheckResult:
        return CheckResult(self.name, self.title, CheckState.FAILED, finding, hint)

    def skip(self, finding: str) -> CheckResult:
        """The result if it was not tried."""
        return CheckResult(self.name, self.title, CheckState.SKIPPED, finding)


def hint_for(error: BridgeError, hints: dict[str, str], status_page: str) -> str:
    """What to do about a provider's error, by the words of it that are keys of ``hints``."""
    known = (hint for words, hint in hints.items() if words in str(error))
    otherwise = f"if {status_page} shows no trouble: docs/going-live.md, “Errors on the way”"
    return next(known, error.hint or otherwise)
