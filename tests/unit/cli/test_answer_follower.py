"""What the command says about answers that no stand-in can be made to give."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import cast

import pytest

from cli.answer_follower import AnswerFollower, Outcome
from cli.progress import Progress
from cli.sent_messages import SentMessage, SentMessages
from cli.service_metrics import Figures, ServiceMetrics
from text.phrases import Phrases

PHRASES = Phrases()
ANSWER = SentMessage("SM1", "It is on its way.", spoken=False, status="sent", code=None)
PATIENCE = replace(ANSWER, sid="SM0", text=PHRASES.translate("still_working", "ar"))
VOICE = SentMessage("MM1", "", spoken=True, status="queued", code=None)


class Sent:
    """Lists the next of ``states`` at each look, and the last one from then on."""

    def __init__(self, states: list[list[SentMessage]]) -> None:
        self._states = states

    def new(self) -> list[SentMessage]:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


class Counted:
    def __init__(self, states: list[Figures | None]) -> None:
        self._figures = states

    def read(self) -> Figures | None:
        return self._figures.pop(0) if len(self._figures) > 1 else self._figures[0]


def again(message: SentMessage) -> SentMessage:
    return replace(message, sid="SM2")


def delivered(message: SentMessage) -> SentMessage:
    return replace(message, status="delivered")


def lost(message: SentMessage, code: int) -> SentMessage:
    return replace(message, status="undelivered", code=code)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.answer_follower.POLL_SECONDS", 0.001)
    monkeypatch.setattr("cli.answer_follower.QUIET_SECONDS", 0.02)


def follow(
    states: list[list[SentMessage]],
    *,
    voice: bool = False,
    seconds: float = 0.05,
    figures: list[Figures | None] | None = None,
) -> tuple[Outcome, str]:
    """The outcome, and all lines before it."""
    lines: list[str] = []
    progress = Progress(
        sent=cast(SentMessages, Sent(states)),
        metrics=cast(ServiceMetrics, Counted(figures or [None])),
        say=lines.append,
    )
    follower = AnswerFollower(progress=progress, expects_voice=voice)
    return follower.follow(seconds), "\n".join(lines)


DELIVERED = delivered(ANSWER)
LOST, LOST_VOICE = lost(ANSWER, 63012), lost(VOICE, 63021)


@pytest.mark.parametrize(
    ("states", "voice"),
    [
        ([[], [PATIENCE], [PATIENCE, ANSWER], [delivered(PATIENCE), DELIVERED]], False),
        ([[ANSWER], [replace(ANSWER, status="read")]], False),
        ([[DELIVERED], [DELIVERED, VOICE], [DELIVERED, delivered(VOICE)]], True),
        # Sent once more after an internal error of WhatsApp, or as MP3.
        ([[LOST], [LOST, again(ANSWER)], [LOST, again(DELIVERED)]], False),
        ([[DELIVERED, LOST_VOICE], [DELIVERED, LOST_VOICE, again(delivered(VOICE))]], True),
    ],
)
def test_an_answer_is_awaited_until_all_of_it_is_delivered(
    states: list[list[SentMessage]], voice: bool
) -> None:
    outcome, _ = follow(states, voice=voice, seconds=60)
    assert outcome.good, outcome
    # Nothing is left that was not waited for.
    assert len(states) == 1


@pytest.mark.parametrize(
    ("messages", "voice", "told"),
    [
        ([], False, "No answer within 0.05 s; the service's log says why."),
        ([delivered(PATIENCE)], False, "No answer within"),
        ([ANSWER], False, "but not delivered within 0.05 s. Is the phone on?"),
        ([DELIVERED, replace(again(ANSWER), text="The rest")], False, "not delivered"),
        ([DELIVERED], True, "but not spoken within 0.05 s."),
        ([LOST], False, "but not delivered within"),
        ([LOST, again(LOST)], False, "text not delivered: an internal error of WhatsApp"),
        ([DELIVERED, lost(VOICE, 63016)], True, "voice note not delivered: this phone"),
        ([lost(ANSWER, 12345)], False, "see https://www.twilio.com/docs/api/errors/12345"),
    ],
)
def test_what_is_not_delivered_is_told(messages: list[SentMessage], voice: bool, told: str) -> None:
    outcome, _ = follow([messages], voice=voice)
    assert not outcome.good
    assert told in outcome.sentence


def test_the_next_part_of_a_long_text_is_waited_for() -> None:
    part = replace(LOST, sid="SM2", text="The rest", code=63016)
    outcome, _ = follow([[DELIVERED], [DELIVERED], [DELIVERED, part]], seconds=60)
    assert not outcome.good
    outcome, _ = follow([[DELIVERED]], seconds=0)
    assert outcome.good, "it may be whole when the time is over"


def test_what_controls_a_terminal_is_not_printed() -> None:
    _, lines = follow([[replace(DELIVERED, text="\x1b]0;mine\x07 It is\x9b31m on its way.")]])
    assert "“]0;mine It is31m on its way.”" in lines


def test_errors_that_another_process_counts_a_little_later_are_told() -> None:
    apology = delivered(replace(ANSWER, text=PHRASES.translate("agent_failed", "en")))
    later = Figures(errors=Counter({"AgentDown": 1}))
    outcome, lines = follow([[apology]], seconds=60, figures=[Figures(), Figures(), later])
    assert not outcome.good
    assert "Failed at: Agentforce. The service counted AgentDown (" in outcome.sentence
    assert "the service counts AgentDown" in lines


def test_times_are_told_only_if_nobody_else_wrote_meanwhile() -> None:
    def counted(messages: int) -> list[Figures | None]:
        times = {"stt_time": (1, 0.84), "total_time": (1, 3.14)}
        return [Figures(), Figures(Counter(messages_received=messages), Counter(), times)]

    alone, lines = follow([[delivered(ANSWER)]], figures=counted(1))
    assert (alone.sentence, "STT took 0.8 s" in lines) == ("Answered in 3.1 s, delivered.", True)
    busy, lines = follow([[delivered(ANSWER)]], figures=counted(2))
    assert (busy.sentence, "STT" in lines) == ("Answered in 0.0 s, delivered.", False)


def test_a_service_that_was_restarted_counts_nothing_negative() -> None:
    before = Figures(Counter(messages_received=90), Counter(AgentDown=3), {"stt_time": (5, 4.0)})
    after = Figures(Counter(messages_received=1), Counter(AgentDown=1), {"stt_time": (1, 1.0)})
    outcome, lines = follow([[delivered(ANSWER)]], figures=[before, after])
    assert outcome.good
    assert "counts" not in lines
