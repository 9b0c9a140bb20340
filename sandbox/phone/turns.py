"""The newest turn of a phone as it happens: its stages, its calls to providers, its log."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sandbox.call_recorder import Call, CallRecorder
from sandbox.demo.timeline import Stage, stages_of
from sandbox.demo.turn import Turn
from sandbox.phone.conversation import Conversations, Sent
from sandbox.phone.redaction import outline
from sandbox.phone.service_log import ServiceLog
from sandbox.twilio.messages import Outbound
from sandbox.twilio.standin import TwilioStandIn

# The service logs it when the agent's answer is complete.
AGENT_ANSWERED = "Agentforce time"
# The service logs it when the text is sent or the turn has failed.
ANSWERED = "Total processing time"
# A turn that says nothing for so long is over.
SILENT_SECONDS = 150.0
# What follows the newest answer, such as its delivery, takes no longer.
SETTLING_SECONDS = 3.0
# What the service itself does; the other stages are the providers'.
OWN_STAGES = ("Webhook acknowledged", "Convert")
# Nothing waits for it.
BESIDE_STAGES = ("Typing shown",)


class Turns:
    """Reads what the stand-ins have recorded."""

    def __init__(
        self, *, twilio: TwilioStandIn, conversations: Conversations, log: ServiceLog
    ) -> None:
        self._twilio = twilio
        self._recorder: CallRecorder = twilio.recorder
        self._conversations = conversations
        self._log = log

    def view(self, user: str) -> dict[str, Any] | None:
        """The newest turn as JSON; None before the first one."""
        taken = [each for each in self._conversations.sent(user) if each.delivery]
        if not taken:
            return None
        newest = taken[-1]
        log = self._log.of_turn(newest.sid)
        turn = self._turn(newest)
        running = self._is_running(newest, turn, log)
        stages = stages_of(_until_now(turn, log) if running else _until_answered(turn))
        return {
            "sid": newest.sid,
            "running": running,
            "spoken": newest.kind == "voice",
            "shared": self._is_shared(newest, turn),
            "stages": [_stage_json(stage) for stage in stages],
            **_times(turn, stages),
            "calls": [_call_json(call, turn.sent) for call in turn.calls],
            "log": log,
        }

    def at(self, moment: float) -> list[Sent]:
        """The messages, at most one of each user, whose turns ran at that moment."""
        newest: dict[str, Sent] = {}
        for sent in self._conversations.sent():
            if sent.at <= moment < sent.at + SILENT_SECONDS:
                newest[sent.user] = sent
        return [sent for sent in newest.values() if moment < self._end(sent)]

    def _end(self, sent: Sent) -> float:
        """When the newest turn of a user was over, as far as is known now."""
        answers = [each.at for each in self._twilio.messages(sent.user) if each.at >= sent.at]
        return max(answers) + SETTLING_SECONDS if answers else math.inf

    def _turn(self, sent: Sent) -> Turn:
        assert sent.delivery is not None
        answers = [each for each in self._twilio.messages(sent.user) if each.at >= sent.at]
        voices = [each for each in answers if each.media_url]
        texts = [each for each in answers if not each.media_url]
        calls = [call for call in self._recorder.calls() if call.at >= sent.at]
        return Turn(
            sent=sent.at,
            acknowledged=sent.at + sent.delivery.seconds,
            calls=[call for call in calls if self._user_of(call) in ("", sent.user)],
            texts=texts,
            voice=voices[0] if voices else None,
            fetched=voices[0].fetched_at if voices else None,
        )

    def _user_of(self, call: Call) -> str:
        """Whom a call of Twilio is about; empty if that cannot be told."""
        if call.name == "send":
            accepted = (
                each.to for each in self._twilio.messages() if each.sid == call.detail.get("sid")
            )
            return next(accepted, "")
        if call.name == "typing" and call.sent is not None:
            named = call.sent.content.decode(errors="replace")
            return next((each.user for each in self._conversations.sent() if each.sid in named), "")
        return ""

    def _is_running(self, sent: Sent, turn: Turn, log: Sequence[dict[str, str]]) -> bool:
        if sent.delivery is None or sent.delivery.status != 200:
            return False
        now = time.monotonic()
        silent = now - max([turn.sent, *(call.ended or now for call in turn.calls)])
        if not any(ANSWERED in line["text"] for line in log):
            return silent < SILENT_SECONDS
        failed = any(line["level"] == "error" for line in log)
        # The voice note follows the text, unless there is nothing to be spoken.
        unspoken = sent.kind == "voice" and not failed and not _is_final(turn.voice)
        return unspoken and silent < SETTLING_SECONDS

    def _is_shared(self, sent: Sent, turn: Turn) -> bool:
        """Whether another phone wrote meanwhile, so that some calls may be about its message."""
        end = max((message.at for message in turn.texts), default=time.monotonic())
        others = (each for each in self._conversations.sent() if each.user != sent.user)
        return any(sent.at <= other.at <= end for other in others)


def _is_final(voice: Outbound | None) -> bool:
    return voice is not None and (voice.audio is not None or voice.error_code is not None)


def _until_now(turn: Turn, log: Sequence[dict[str, str]]) -> Turn:
    """The turn with calls that are still being answered ending now."""
    now = time.monotonic()
    # An event stream is recorded as ended when it begins.
    has_answer = any(AGENT_ANSWERED in line["text"] for line in log)

    def end(call: Call) -> float:
        streams = call.name == "ask" and call.status == 200 and not has_answer
        return now if streams or call.ended is None else call.ended

    return replace(turn, calls=[replace(call, ended=end(call)) for call in turn.calls])


def _until_answered(turn: Turn) -> Turn:
    """The turn without what the service prepared for the next one after it had answered."""
    ends = [message.at for message in (*turn.texts, turn.voice) if message]
    if not ends:
        return turn
    return replace(turn, calls=[call for call in turn.calls if call.at <= max(ends)])


def _times(turn: Turn, stages: Sequence[Stage]) -> dict[str, float | None]:
    """Seconds until each answer; how many of those until the text providers were at work."""
    text_after = turn.texts[-1].at - turn.sent if turn.texts else None
    ends = [stage.start + stage.seconds for stage in stages if stage.name.startswith("Text sent")]
    until = max(ends, default=None)
    providers = [call for stage in stages if _kind(stage) == "provider" for call in stage.calls]
    return {
        "textAfter": text_after if until is None else until,
        "voiceAfter": turn.fetched - turn.sent if turn.fetched else None,
        "providers": None if until is None else _covered(providers, until),
    }


def _covered(calls: Iterable[tuple[float, float]], until: float) -> float:
    """Seconds before ``until`` in which at least one of the calls, with start and end, ran."""
    total = reached = 0.0
    for start, last in sorted(calls):
        end = min(last, until)
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def _kind(stage: Stage) -> str:
    if stage.name in OWN_STAGES:
        return "own"
    return "beside" if stage.name in BESIDE_STAGES else "provider"


def _stage_json(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "start": round(stage.start, 3),
        "seconds": round(stage.seconds, 3),
        "kind": _kind(stage),
        "calls": [[round(start, 3), round(end, 3)] for start, end in stage.calls],
    }


def _call_json(call: Call, since: float) -> dict[str, Any]:
    return {
        "id": f"{call.service} {call.at}",
        "service": call.service,
        "rule": call.rule,
        "at": round(call.at - since, 3),
        "seconds": None if call.ended is None else round(call.ended - call.at, 3),
        "status": call.status,
        "sent": outline(call.sent),
        "received": outline(call.received),
    }
