"""Everything that can go wrong, as one tree.

::

    BridgeError
    ├── SettingsError            a setting is missing or wrong; stops the start
    ├── TurnSuperseded           another process has taken the turn over
    ├── DeadlineExceeded         the turn has no time left
    ├── InboundError             a request to our webhook that is not served
    │   ├── ForgedRequest        no valid signature
    │   └── MalformedRequest     signed, but not a message of ours
    ├── MediaError               the sender's recording could not be fetched
    │   ├── MediaForbidden       its address is not one of Twilio's
    │   ├── MediaMissing         still not there after the last retry
    │   └── MediaTooLarge
    ├── AudioError               the recording cannot be used
    │   ├── AudioUnreadable
    │   ├── AudioTooShort
    │   ├── AudioSilent
    │   └── AudioTooLong
    ├── SpeechError              ElevenLabs did not do its part
    │   ├── SpeechUnavailable    down or slow; worth another try
    │   ├── SpeechBusy           the plan allows no more requests at once
    │   ├── SpeechRefused        key, plan, voice or model; only the operator can mend it
    │   └── NothingHeard         no words, or too unsure of them
    ├── AgentError               Agentforce did not answer
    │   ├── AgentUnavailable     down; nothing was asked yet
    │   ├── AgentBusy            a limit, after patient retries
    │   ├── AgentLocked          the session is at work on another question
    │   ├── AgentFailed          it was asked and broke; asking again could act twice
    │   │   └── AgentDown        no answer came, or none that says why
    │   ├── AgentMisconfigured   only the operator can mend it
    │   └── AnswerTruncated      the event stream ended before the turn did
    └── SendError                Twilio did not take a message
        ├── SendBusy             a limit; nothing was sent
        ├── SendUnreachable      no connection; nothing was sent
        ├── SendRefused          it said no
        └── SendUncertain        nobody knows whether it was sent

Each leaf says whether the same call may be made again (``retryable``), for how many seconds that
is tried where the usual delays end sooner (``patience``), whether fewer calls at once would have
helped (``limited``), whether the cloud may be down for everybody (``outage``), what the WhatsApp
user is told (``phrase``, a key of ``phrases.toml``), and what is logged (its message).
"""

from __future__ import annotations


class BridgeError(Exception):
    """Root of all errors this service raises itself."""

    retryable = False
    patience = 0.0
    limited = False
    outage = False
    phrase = "failed"

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message or (self.__doc__ or type(self).__name__).strip())
        self.retry_after = retry_after


class SettingsError(BridgeError):
    """A setting is missing or wrong."""


class TurnSuperseded(BridgeError):
    """Another process has taken the turn over, or ended it."""


class DeadlineExceeded(BridgeError):
    """The turn has taken as long as TURN_DEADLINE allows."""

    phrase = "agent_failed"


class InboundError(BridgeError):
    """A request to the webhook is not served."""


class ForgedRequest(InboundError):
    """The request carries no valid signature of this Twilio account."""


class MalformedRequest(InboundError):
    """The request is signed but is not a message this service can take."""


class MediaError(BridgeError):
    """The recording could not be fetched."""

    phrase = "media_missing"


class MediaForbidden(MediaError):
    """The recording's address is not one of Twilio's."""


class MediaMissing(MediaError):
    """The recording was still not there after the last retry."""

    retryable = True


class MediaTooLarge(MediaError):
    """The recording is larger than WhatsApp allows."""

    phrase = "audio_too_long"


class AudioError(BridgeError):
    """The recording cannot be used."""

    phrase = "audio_unreadable"


class AudioUnreadable(AudioError):
    """The recording is in no format that can be decoded."""


class AudioTooShort(AudioError):
    """The recording is too short to hold a word."""

    phrase = "nothing_heard"


class AudioSilent(AudioError):
    """The recording holds no sound."""

    phrase = "nothing_heard"


class AudioTooLong(AudioError):
    """The recording is longer than VOICE_NOTE_MAX_SECONDS."""

    phrase = "audio_too_long"


class SpeechError(BridgeError):
    """ElevenLabs did not do its part."""

    phrase = "speech_failed"


class SpeechUnavailable(SpeechError):
    """ElevenLabs is down or too slow."""

    retryable = True
    outage = True


class SpeechBusy(SpeechError):
    """ElevenLabs takes no more requests at once."""

    # A 429 says nothing of when to come back (contracts/elevenlabs.md §4.3): under load voice
    # notes come later rather than never.
    retryable = True
    patience = 60.0
    limited = True


class SpeechRefused(SpeechError):
    """ElevenLabs refuses this key, plan, voice or model."""


class NothingHeard(SpeechError):
    """The recording holds no words, or none that were understood with confidence."""

    phrase = "nothing_heard"


class AgentError(BridgeError):
    """Agentforce did not answer."""

    phrase = "agent_failed"


class AgentUnavailable(AgentError):
    """Agentforce cannot be reached."""

    retryable = True
    outage = True


class AgentBusy(AgentError):
    """Agentforce refuses more requests for now."""

    retryable = True
    patience = 60.0
    limited = True
    phrase = "agent_busy"


class AgentLocked(AgentError):
    """The session is at work on another question."""

    # A question that its process did not survive holds the session until Agentforce gives up on
    # it, after 120 s (contracts/agentforce.md §6.3).
    retryable = True
    patience = 130.0
    phrase = "agent_busy"


class AgentFailed(AgentError):
    """Agentforce broke while it worked on the question."""


class AgentDown(AgentFailed):
    """Agentforce was asked and did not answer."""

    outage = True


class AgentMisconfigured(AgentError):
    """Agentforce or its app in Salesforce is not set up for this service."""


class AnswerTruncated(AgentError):
    """The answer broke off before its end."""

    outage = True


class SendError(BridgeError):
    """Twilio did not take a message."""


class SendBusy(SendError):
    """Twilio takes no more messages for now."""

    retryable = True
    limited = True


class SendUnreachable(SendError):
    """Twilio could not be reached."""

    retryable = True


class SendRefused(SendError):
    """Twilio refused the message."""


class SendUncertain(SendError):
    """The connection to Twilio broke before it said whether the message was taken."""
