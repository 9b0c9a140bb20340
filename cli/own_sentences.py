"""The service's own sentences, as signs of what happened to a message."""

from __future__ import annotations

from text.phrases import Phrases

PHRASES = Phrases()
STILL_WORKING = "still_working"
# What failed, for each sentence that comes instead of an answer.
STAGES = {
    "failed": "the service itself",
    "resend": "the service itself, which was away",
    "media_missing": "fetching the recording",
    "media_gone": "fetching the recording",
    "audio_unreadable": "converting the recording",
    "audio_too_long": "converting the recording, which is longer than VOICE_NOTE_MAX_SECONDS",
    "nothing_heard": "transcription: no words were recognised",
    "speech_failed": "transcription by ElevenLabs",
    "agent_failed": "Agentforce",
    "agent_busy": "Agentforce, at its limit or at work on another question",
    "no_answer": "Agentforce, whose reply has no text",
    "action_failed": "Agentforce, in an action of the agent",
}
# Why a message is not accepted.
REFUSALS = {
    "limit_minute": "SENDER_TURNS_PER_MINUTE is used up",
    "limit_day": "SENDER_TURNS_PER_DAY is used up",
    "not_allowed": "ALLOWED_SENDERS does not have this phone",
    "busy": "INBOX_LIMIT or TURNS_PER_MINUTE is used up, or the database fails",
}


def failed_stage(text: str) -> str | None:
    """The stage that a message of the service apologises for; ``None`` if it is an answer."""
    return STAGES.get(PHRASES.find_key(text) or "")


def refusal(text: str) -> str:
    """Why a message was not accepted, by what the customer would read."""
    reason = REFUSALS.get(PHRASES.find_key(text) or "")
    return f"{reason}. A customer would read: “{text}”" if reason else f"“{text}”"


def is_interim(text: str) -> bool:
    """Whether the message only asks for patience."""
    return PHRASES.find_key(text) == STILL_WORKING
