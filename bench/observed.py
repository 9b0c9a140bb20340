"""Turns as the providers saw them, so that any bot is measured in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.limit import Span
from bench.site import Site
from sandbox.call_recorder import Call
from sandbox.twilio.messages import Outbound

# Calls by the name of their span; those of one span are one step.
_STEPS = {
    "session": ("session",),
    "media": ("media", "media_cdn"),
    "transcribe": ("transcribe",),
    "ask": ("ask",),
}


@dataclass(frozen=True)
class Times:
    """Seconds from the webhook until Twilio had taken the text, and was handed the voice note.

    ``note`` is None in a turn without one.
    """

    text: float
    note: float | None

    @property
    def note_after_text(self) -> float:
        """Raises ``ValueError`` where there is no note."""
        if self.note is None:
            raise ValueError("a turn without a voice note")
        return self.note - self.text


@dataclass(frozen=True)
class Observed:
    """What became of turns that began at ``began``, in monotonic seconds; a user had one each."""

    site: Site
    began: float
    notes: bool

    def all_done(self) -> bool:
        """Whether everybody has got as much as is to come."""
        return len(self._delivered()) >= len(self.site.users) * (2 if self.notes else 1)

    def times(self) -> list[Times]:
        """Of the turns that were answered as they should be."""
        arrivals = {call.detail.get("sid"): call.at for call in self._calls("send")}
        return [
            Times(
                text=max(text.at for text in texts) - self.began,
                note=arrivals[notes[0].sid] - self.began if notes else None,
            )
            for texts, notes in self._answers()
            if texts and len(notes) == self.notes
        ]

    def wrong(self) -> int:
        """How many turns were not answered, or with more or less than one text and its note."""
        right = sum(
            len(texts) == 1 and len(notes) == self.notes for texts, notes in self._answers()
        )
        return len(self.site.users) - right

    def spans(self) -> list[Span]:
        """Where there was one turn: what each provider did when."""
        return [
            Span(name, start - self.began, end - self.began) for name, start, end in self._steps()
        ]

    def _steps(self) -> Iterator[tuple[str, float, float]]:
        for name, calls in _STEPS.items():
            found = [call for each in calls for call in self._calls(each)]
            if found:
                yield name, min(call.at for call in found), max(map(_end, found))
        for call in self._calls("speak"):
            yield "speak", call.at, _end(call)
        for name, call in zip(("text", "voice"), self._calls("send"), strict=False):
            yield name, call.at, _end(call)

    def _calls(self, name: str) -> list[Call]:
        return self.site.sandbox.recorder.calls(name=name)

    def _answers(self) -> Iterable[tuple[list[Outbound], list[Outbound]]]:
        """Texts and voice notes of each user that were delivered."""
        answers: dict[str, tuple[list[Outbound], list[Outbound]]] = {
            user: ([], []) for user in self.site.users
        }
        for message in self._delivered():
            answers[message.to][message.media_url is not None].append(message)
        return answers.values()

    def _delivered(self) -> list[Outbound]:
        """Not what comes late to somebody who wrote before."""
        users = set(self.site.users)
        messages = self.site.sandbox.twilio.messages()
        return [each for each in messages if each.status == "delivered" and each.to in users]


def _end(call: Call) -> float:
    return call.ended or call.at
