"""What the bridge did in a turn beside answering, in one sentence each."""

from __future__ import annotations

from sandbox.demo.turn import Turn


def notes_on(turn: Turn) -> list[str]:
    """Sentences about the agent's session and the speech of a turn that has ended."""
    return [*_session_notes(turn), *_speech_notes(turn)]


def _session_notes(turn: Turn) -> list[str]:
    if not turn.asked_in:
        ended = any(call.name == "end" for call in turn.calls)
        return ["The agent's session was ended: the next question starts a new one."] * ended
    if not turn.asked_before_in:
        return ["New session: this is the first question."]
    if turn.asked_in == turn.asked_before_in:
        return ["Session kept: the agent still knows what was said before."]
    return ["New session: the agent no longer knows what was said before."]


def _speech_notes(turn: Turn) -> list[str]:
    """Only if the answer was spoken."""
    if turn.voice is None:
        return []
    calls = [call for call in turn.calls if call.name == "speak"]
    if not calls:
        return ["Speech from the cache: ElevenLabs was not asked."]
    characters = sum(len(call.detail.get("body", {}).get("text", "")) for call in calls)
    times = "once" if len(calls) == 1 else f"{len(calls)} times"
    return [f"New speech: ElevenLabs was asked {times}, for {characters:,} characters."]
