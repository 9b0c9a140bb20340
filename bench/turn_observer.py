"""Measures turns from the providers' side, so that every bot is measured in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.critical_path import Span
from bench.target import Target
from sandbox.call_recorder import Call
from sandbox.twilio.messages import Outbound

# The calls that make up each span of a turn.
_SPAN_CALLS = {
    "session": ("session",),
    "media": ("media", "media_cdn"),
    "transcribe": ("transcribe",),
    "ask": ("ask",),
}


@dataclass(frozen=True)
class TurnTimes:
    """Seconds from the webhook until Twilio accepted the text, and received the voice note.

    ``note`` is None in a turn without a voice note.
    """

    text: float
    note: float | None

    @property
    def note_after_text(self) -> float:
        """Raises ``ValueError`` if the turn has no voice note."""
        if self.note is None:
            raise ValueError("a turn without a voice note")
        return self.note - self.text


@dataclass(frozen=True)
class TurnObserver:
    """Observes turns that began at ``began`` (monotonic seconds), one for each user of ``target``.

    ``notes`` is whether each turn is answered with a voice note too.
    """

    target: Target
    began: float
    notes: bool

    def all_answered(self) -> bool:
        """Whether as many messages were delivered as the turns should produce."""
        return len(self._delivered()) >= len(self.target.users) * (2 if self.notes else 1)

    def times(self) -> list[TurnTimes]:
        """Times of the turns that got a text and, if expected, one voice note."""
        sent_at = {call.detail.get("sid"): call.at for call in self._calls("send")}
        return [
            TurnTimes(
                text=max(text.at for text in texts) - self.began,
                note=sent_at[notes[0].sid] - self.began if notes else None,
            )
            for texts, notes in self._answers()
            if texts and len(notes) == self.notes
        ]

    def wrong(self) -> int:
        """How many turns did not get exactly one text and, if expected, one voice note."""
        right = sum(
            len(texts) == 1 and len(notes) == self.notes for texts, notes in self._answers()
        )
        return len(self.target.users) - right

    def spans(self) -> list[Span]:
        """What each provider did when; meaningful for a single turn only."""
        return [
            Span(name, start - self.began, end - self.began)
            for name, start, end in self._absolute_spans()
        ]

    def _absolute_spans(self) -> Iterator[tuple[str, float, float]]:
        for span, names in _SPAN_CALLS.items():
            calls = [call for name in names for call in self._calls(name)]
            if calls:
                yield span, min(call.at for call in calls), max(map(_end, calls))
        for call in self._calls("speak"):
            yield "speak", call.at, _end(call)
        for span, call in zip(("text", "voice"), self._calls("send"), strict=False):
            yield span, call.at, _end(call)

    def _calls(self, name: str) -> list[Call]:
        return self.target.sandbox.recorder.calls(name=name)

    def _answers(self) -> Iterable[tuple[list[Outbound], list[Outbound]]]:
        """The delivered texts and voice notes of each user."""
        answers: dict[str, tuple[list[Outbound], list[Outbound]]] = {
            user: ([], []) for user in self.target.users
        }
        for message in self._delivered():
            answers[message.to][message.media_url is not None].append(message)
        return answers.values()

    def _delivered(self) -> list[Outbound]:
        """Delivered messages, without late ones to users of an earlier burst."""
        users = set(self.target.users)
        messages = self.target.sandbox.twilio.messages()
        return [each for each in messages if each.status == "delivered" and each.to in users]


def _end(call: Call) -> float:
    return call.ended or call.at
