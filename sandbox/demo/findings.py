"""What a killed worker must not change, as the providers and the web processes saw it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.bridge import ROOT
from sandbox.twilio.messages import Outbound

COUNTED = {
    "messages_received": "received",
    "turns_answered": "answered",
    "texts_sent": "as text",
    "voice_notes_sent": "as voice",
}


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what was found there beside what should be; ``why`` explains it."""

    subject: str
    found: str
    expected: str
    why: str = ""

    @property
    def holds(self) -> bool:
        return self.found == self.expected


def sent(messages: Sequence[Outbound]) -> list[Finding]:
    """That a user got one answer, by text and by voice; other lines of ours do not count."""
    texts = [message.body for message in messages if not message.media_url]
    notices = [text for text in texts if text in _notices()]
    voices = len(messages) - len(texts)
    beside = f'and {len(notices)} times "still working"'
    return [
        Finding("Answers by text", f"{len(texts) - len(notices)}", "1", beside),
        Finding("Answers by voice", f"{voices}", "1"),
    ]


def asked(times: int) -> Finding:
    """That the agent was asked by the worker that died and by one that lives."""
    return Finding("Questions to the agent", f"{times}", "2", "for nobody got the first answer")


def workers(healths: Sequence[dict[str, Any]], expected: Sequence[int]) -> Finding:
    """That ``/health`` counted as many workers as lived, and was well with them."""
    found = [(health.get("healthy"), health.get("workers")) for health in healths]
    told = ", then ".join(f"{number}" if healthy else "unwell" for healthy, number in found)
    return Finding("Workers in /health", told, ", then ".join(map(str, expected)))


def counted(web: str, metrics: dict[str, Any]) -> Finding:
    """That ``/metrics`` of a web tells of one message and its one answer."""
    counters = metrics.get("counters", {})
    found = [f"{counters.get(name, 'nothing')} {meaning}" for name, meaning in COUNTED.items()]
    expected = [f"1 {meaning}" for meaning in COUNTED.values()]
    return Finding(f"/metrics of {web}", ", ".join(found), ", ".join(expected))


def _notices() -> set[str]:
    """The line that a sender gets whose answer takes long, in every language."""
    phrases = tomllib.loads((ROOT / "text" / "phrases.toml").read_text(encoding="utf-8"))
    return {language["phrases"]["still_working"] for language in phrases.values()}
