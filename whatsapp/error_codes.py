"""Why a message did not arrive, and what is done (docs/providers/twilio.md, "Error codes")."""

from __future__ import annotations

# The recording could not be fetched, or its format was refused: the same as MP3 may pass.
UNPLAYABLE = (63019, 63021)
RATE_LIMITED = 63018

ADVICE = {
    11751: "the recording is larger than WhatsApp allows",
    21610: "the user stopped messages from this number; only they can change that",
    30001: "Twilio's queue is full; ask Twilio for more throughput",
    30019: "the recording is larger than WhatsApp allows",
    63003: "the user is not on WhatsApp any more",
    63005: "WhatsApp refused the content; look at what the agent answers",
    63007: "the sender is not set up; look at TWILIO_WHATSAPP_FROM and Twilio's console",
    63013: "WhatsApp refused the content as against its policy; look at what the agent answers",
    63015: "the user must send the sandbox its join code again, it lasts three days",
    63016: "the user last wrote over 24 h ago, so only templates arrive; why so late?",
    63018: "the sender or the user gets too many messages; slow down, or ask Twilio for more",
    63019: "Twilio could not use the voice note; see that PUBLIC_URL can be reached from outside",
    63020: "the sender's Business Manager has not accepted Twilio; see Twilio's console",
    63021: "WhatsApp refused the voice note's format",
    63024: "the user is not on WhatsApp any more",
    63031: "the user is our own sender; look at TWILIO_WHATSAPP_FROM",
    63033: "the user blocked this number; only they can change that",
    63038: "the account's messages of the day are used up; a trial account has 100",
    63050: "the user does not want messages from this number; only they can change that",
}


def advice(code: int | None) -> str:
    """What an operator can do about a message that did not arrive; half a sentence."""
    if code is None:
        return "Twilio gave no reason"
    return ADVICE.get(code, f"see https://www.twilio.com/docs/api/errors/{code}")
