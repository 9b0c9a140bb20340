"""Codes of undelivered messages, with advice (docs/providers/twilio.md, "Error codes")."""

from __future__ import annotations

# Twilio could not fetch the voice note, or WhatsApp refused its format. As MP3 it may be delivered.
UNPLAYABLE = (63019, 63021)
# Sending again later may succeed: a rate limit, or an internal error of Twilio or of WhatsApp.
TRANSIENT = (30500, 63009, 63010, 63012, 63018)

ADVICE = {
    11751: "the recording is larger than WhatsApp allows",
    21610: "the user stopped messages from this number; only they can change that",
    30001: "Twilio's queue is full; ask Twilio for more throughput",
    30002: "Twilio has suspended the account; see Twilio's console",
    30007: "Twilio or the carrier filtered the message out; ask Twilio's support why",
    30019: "the recording is larger than WhatsApp allows",
    30500: "an internal error of Twilio; if it happens often, see status.twilio.com",
    63003: "the user is not on WhatsApp any more",
    63005: "WhatsApp refused the content; look at what the agent answers",
    63007: "the sender is not set up; look at TWILIO_WHATSAPP_FROM and Twilio's console",
    63009: "WhatsApp failed; if it happens often, see metastatus.com",
    63010: "an internal error of Twilio; if it happens often, see status.twilio.com",
    63012: "an internal error of WhatsApp; if it happens often, see metastatus.com",
    63013: "WhatsApp refused the content as against its policy; look at what the agent answers",
    63014: "the user blocked this number or opted out; only they can change that",
    63015: "the user must send the sandbox its join code again, it lasts three days",
    63016: "the user last wrote over 24 h ago, so only templates arrive; why so late?",
    63017: "WhatsApp did not take the message; look it up in the message logs of Twilio's console",
    63018: "the sender or the user gets too many messages; slow down, or ask Twilio for more",
    63019: "Twilio could not use the voice note; see that PUBLIC_URL can be reached from outside",
    63020: "the sender's Business Manager has not accepted Twilio; see Twilio's console",
    63021: "WhatsApp refused the voice note's format",
    63024: "the user is not on WhatsApp any more",
    63031: "the user is our own sender; look at TWILIO_WHATSAPP_FROM",
    63032: "WhatsApp does not let businesses write to this user for now; nothing to do",
    63033: "the user blocked this number; only they can change that",
    63038: "the account's messages of the day are used up; a trial account has 100",
    63050: "the user does not want messages from this number; only they can change that",
    63051: "Meta has locked the sender; unlock it in WhatsApp Manager, or ask Twilio's support",
}


def advice(code: int | None) -> str:
    """Advice for the operator about a message that was not delivered, as half a sentence."""
    if code is None:
        return "Twilio gave no reason"
    return ADVICE.get(code, f"see https://www.twilio.com/docs/api/errors/{code}")
