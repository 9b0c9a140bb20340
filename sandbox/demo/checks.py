"""Checks that a killed worker changed nothing for the user, the agent and the metrics."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.bridge import ROOT
from sandbox.twilio.messages import Outbound

COUNTERS = {
    "messages_received": "received",
    "turns_answered": "answered",
    "texts_sent": "as text",
    "voice_notes_sent": "as voice",
}


@dataclass(frozen=True)
class Check:
    """An actual and an expected value; ``note`` explains the value to a reader."""

    name: str
    actual: str
    expected: str
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.actual == self.expected


def check_answers(messages: Sequence[Outbound]) -> list[Check]:
    """The user got one text answer and one voice answer; "still working" does not count."""
    texts = [message.body for message in messages if not message.media_url]
    notices = [text for text in texts if text in _still_working_texts()]
    voice_notes = len(messages) - len(texts)
    note = f'and {len(notices)} times "still working"'
    return [
        Check("Answers by text", f"{len(texts) - len(notices)}", "1", note),
        Check("Answers by voice", f"{voice_notes}", "1"),
    ]


def check_questions(count: int) -> Check:
    """The agent was asked twice: by the killed worker and by the one that took over."""
    return Check("Questions to the agent", f"{count}", "2", "because the first answer was lost")


def check_workers(healths: Sequence[dict[str, Any]], expected: Sequence[int]) -> Check:
    """``/health`` reported the expected numbers of workers, and was healthy each time."""
    reports = [(health.get("healthy"), health.get("workers")) for health in healths]
    actual = ", then ".join(f"{number}" if healthy else "unhealthy" for healthy, number in reports)
    return Check("Workers in /health", actual, ", then ".join(map(str, expected)))


def check_counters(web: str, metrics: dict[str, Any]) -> Check:
    """``/metrics`` of a web process counts one message and one answer."""
    counters = metrics.get("counters", {})
    actual = [f"{counters.get(name, 'nothing')} {label}" for name, label in COUNTERS.items()]
    expected = [f"1 {label}" for label in COUNTERS.values()]
    return Check(f"/metrics of {web}", ", ".join(actual), ", ".join(expected))


def _still_working_texts() -> set[str]:
    """The text for a sender whose answer takes long, in all languages."""
    phrases = tomllib.loads((ROOT / "text" / "phrases.toml").read_text(encoding="utf-8"))
    return {language["phrases"]["still_working"] for language in phrases.values()}
