"""All errors that this service raises itself, as one tree.

::

    BridgeError
    ├── SettingsError            a setting is missing or wrong; stops the start
    ├── TurnSuperseded           another process has taken the turn over
    ├── DeadlineExceeded         the turn has no time left
    ├── InboundError             a request to our webhook is refused
    │   ├── ForgedRequest        no valid signature
    │   └── MalformedRequest     signed, but not a message that we can read
    ├── MediaError               the sender's recording could not be downloaded
    │   ├── MediaForbidden       its address is not one of Twilio's
    │   ├── MediaRefused         Twilio refuses our credentials
    │   ├── MediaMissing         still not there after the last retry
    │   └── MediaTooLarge
    ├── AudioError               the recording cannot be used
    │   ├── AudioUnreadable
    │   ├── AudioTooShort
    │   ├── AudioSilent
    │   └── AudioTooLong
    ├── SpeechError              ElevenLabs did not transcribe or speak
    │   ├── SpeechUnavailable    down or slow; worth another try
    │   ├── SpeechBusy           the plan allows no more requests at once
    │   ├── SpeechRefused        key, plan, voice or model; only the operator can fix it
    │   └── NothingHeard         no words, or too uncertain ones
    ├── AgentError               Agentforce did not answer
    │   ├── AgentUnavailable     down; nothing was asked yet
    │   ├── AgentBusy            a rate limit, after all retries
    │   ├── AgentLocked          the session is busy with another question
    │   ├── AgentFailed          failed after the question arrived; asking again could act twice
    │   │   └── AgentDown        no answer came, or none that says why
    │   ├── AgentMisconfigured   only the operator can fix it
    │   │   └── LoginRefused     Salesforce refuses the app's credentials
    │   ├── AnswerEmpty          the agent said nothing
    │   └── AnswerTruncated      the event stream ended before the turn
    └── SendError                Twilio did not accept a message
        ├── SendBusy             a rate limit; nothing was sent
        ├── SendUnreachable      no connection; nothing was sent
        ├── SendRefused          Twilio refused it
        │   └── SendUnauthorized Twilio refuses our credentials
        └── SendUncertain        it is unknown whether it was sent

Other modules have leaves that their callers handle, such as ``SessionGone`` in agentforce.py.
"""

from __future__ import annotations

from collections.abc import Mapping


class BridgeError(Exception):
    """Root of all errors this service raises itself."""

    # Whether the same call may be repeated.
    retryable = False
    # For how many seconds the call is repeated, if the caller's delays are used up sooner.
    retry_seconds = 0.0
    # Whether fewer calls at once would have avoided the error.
    rate_limited = False
    # Whether the provider may be down for everybody; counts for its circuit breaker.
    outage = False
    # What it says about the provider: "failing"; "refused", which only the operator can end; or
    # nothing, as an error of the sender's own.
    provider_state = ""
    # Whether the sender's message is the reason, so that nobody has to mend anything.
    by_sender = False
    # The key of the sentence in text/phrases.toml that the sender gets.
    phrase = "failed"
    # Advice for the operator, as half a sentence for the dashboard.
    advice = "the log says why"

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, hint: str = ""
    ) -> None:
        """``message`` is logged, with ``hint`` behind a colon; neither must quote anybody.

        ``retry_after`` is in seconds. ``hint`` says what the operator can do.
        """
        message = message or (self.__doc__ or type(self).__name__).strip()
        super().__init__(f"{message}: {hint}" if hint else message)
        self.retry_after = retry_after
        self.reason = message
        self.hint = hint
        # Set if the turn's deadline prevented more retries.
        self.cut_short = False
        # Set once ``Metrics.watch`` has noted it as the failure of a call.
        self.is_noted = False


class SettingsError(BridgeError):
    """A setting is missing or wrong.

    The message has no full stop, because whoever shows it puts it into a sentence. ``faults`` says
    what is wrong with each wrong setting; it is empty if the message is about something else.
    """

    def __init__(
        self, message: str = "", *, hint: str = "", faults: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.faults = dict(faults or {})


class TurnSuperseded(BridgeError):
    """Another process has taken the turn over, or ended it."""


class DeadlineExceeded(BridgeError):
    """The turn has taken as long as TURN_DEADLINE allows."""

    phrase = "agent_failed"
    advice = "a provider hangs; the times of the stages show which"


class InboundError(BridgeError):
    """A request to the webhook is refused."""


class ForgedRequest(InboundError):
    """The request carries no valid signature of this Twilio account."""


class MalformedRequest(InboundError):
    """The request is signed but is not a message that this service can read."""


class MediaError(BridgeError):
    """The recording could not be downloaded."""

    phrase = "media_missing"
    advice = "the log says why; at HTTP 401, TWILIO_AUTH_TOKEN is not the account's primary token"


class MediaForbidden(MediaError):
    """The recording's address is not one of Twilio's."""

    advice = "the log says why; TWILIO_MEDIA_HOSTS lists the hosts that are allowed"


class MediaRefused(MediaError):
    """Twilio refuses our credentials for the recording."""

    provider_state = "refused"
    advice = "TWILIO_AUTH_TOKEN must be the account's primary token"


class MediaMissing(MediaError):
    """The recording was still not there after the last retry."""

    provider_state = "failing"
    retryable = True
    advice = "Twilio is slow or down; it passes by itself"


class MediaTooLarge(MediaError):
    """The recording is larger than WhatsApp allows."""

    by_sender = True
    phrase = "audio_too_long"
    advice = "nothing: that is WhatsApp's limit, and the sender was informed"


class AudioError(BridgeError):
    """The recording cannot be used."""

    by_sender = True
    phrase = "audio_unreadable"


class AudioUnreadable(AudioError):
    """The recording is in no format that can be decoded."""

    advice = "the sender's file is broken; if all are, look at FFMPEG_PATH"


class AudioTooShort(AudioError):
    """The recording is too short for a word."""

    phrase = "nothing_heard"
    advice = "nothing: the sender was asked to repeat it"


class AudioSilent(AudioError):
    """The recording is silent."""

    phrase = "nothing_heard"
    advice = "nothing: the sender was asked to repeat it"


class AudioTooLong(AudioError):
    """The recording is longer than VOICE_NOTE_MAX_SECONDS."""

    phrase = "audio_too_long"
    advice = "VOICE_NOTE_MAX_SECONDS allows more"


class SpeechError(BridgeError):
    """ElevenLabs did not transcribe or speak."""

    phrase = "speech_failed"


class SpeechUnavailable(SpeechError):
    """ElevenLabs is down or too slow."""

    provider_state = "failing"
    retryable = True
    outage = True
    advice = "ElevenLabs is slow or down; it passes by itself"


class SpeechBusy(SpeechError):
    """ElevenLabs accepts no more requests at once."""

    provider_state = "failing"
    # A 429 does not say when to come back (docs/providers/elevenlabs.md, "Limits"). Under load a
    # late voice note is better than none.
    retryable = True
    retry_seconds = 60.0
    rate_limited = True
    advice = "the ElevenLabs plan allows no more at once; a larger one does"


class SpeechRefused(SpeechError):
    """ElevenLabs refuses this key, plan, voice or model."""

    provider_state = "refused"
    advice = "the key, its permissions, the credits or the voice; the log says which"


class NothingHeard(SpeechError):
    """The recording has no words, or none that were understood with confidence."""

    by_sender = True
    phrase = "nothing_heard"
    advice = "nothing: the sender was asked to repeat it; STT_MIN_CONFIDENCE says how sure is sure"


class AgentError(BridgeError):
    """Agentforce did not answer."""

    phrase = "agent_failed"


class AgentUnavailable(AgentError):
    """Agentforce cannot be reached."""

    provider_state = "failing"
    retryable = True
    outage = True
    advice = "Salesforce is down, or SALESFORCE_INSTANCE_URL is wrong"


class AgentBusy(AgentError):
    """Agentforce refuses more requests for now."""

    provider_state = "failing"
    retryable = True
    retry_seconds = 60.0
    rate_limited = True
    phrase = "agent_busy"
    advice = "Agentforce's limits; ask Salesforce for more"


class AgentLocked(AgentError):
    """The session is busy with another question."""

    # A question whose process died locks the session until Agentforce gives up on the question,
    # after 120 s (docs/providers/agentforce.md, "Limits").
    retryable = True
    retry_seconds = 130.0
    phrase = "agent_busy"
    advice = "nothing: the session was still at work on the question before"


class AgentFailed(AgentError):
    """Agentforce failed while it worked on the question."""

    provider_state = "failing"
    advice = "look at what the agent says of itself in Salesforce"


class AgentDown(AgentFailed):
    """Agentforce got the question and did not answer."""

    outage = True


class AgentMisconfigured(AgentError):
    """Agentforce or its app in Salesforce is not set up for this service."""

    provider_state = "refused"
    advice = "activate the agent, check its id, its licence and the app; the log says more"


class LoginRefused(AgentMisconfigured):
    """Salesforce gives no token, or Agentforce refuses it."""

    advice = (
        "check SALESFORCE_CONSUMER_KEY, SALESFORCE_CONSUMER_SECRET and the External Client App; "
        "the log says more"
    )


class AnswerEmpty(AgentError):
    """The agent ended the turn without a word; counted, and never raised."""

    advice = "look at what the agent says of itself in Salesforce; an action of it may have failed"


class AnswerTruncated(AgentError):
    """The answer ended before the turn did."""

    provider_state = "failing"
    outage = True
    advice = "if it is frequent, try AGENTFORCE_STREAMING=false"


class SendError(BridgeError):
    """Twilio did not accept a message."""


class SendBusy(SendError):
    """Twilio accepts no more messages for now."""

    provider_state = "failing"
    retryable = True
    rate_limited = True
    advice = "Twilio's limits; ask Twilio for more throughput"


class SendUnreachable(SendError):
    """Twilio could not be reached."""

    provider_state = "failing"
    retryable = True
    advice = "Twilio is down, or a firewall or proxy is in between"


class SendRefused(SendError):
    """Twilio refused the message."""

    advice = "the log has Twilio's code, which Twilio's documentation explains"


class SendUnauthorized(SendRefused):
    """Twilio refuses our credentials."""

    provider_state = "refused"
    advice = "TWILIO_AUTH_TOKEN must be the primary token of the account TWILIO_ACCOUNT_SID"


class SendUncertain(SendError):
    """The connection to Twilio broke before it said whether it accepted the message."""

    provider_state = "failing"
    advice = "nothing: whether it was sent is looked up in Twilio's list"
